"""Run the cells: compile, score on test through one ledger an experiment, record in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import dspy
import mlflow

from optimizers import compile_with
from pld_dspy.errors import PLDError
from pld_dspy.local.connect import resolve_lm
from pld_dspy.rules import MicroRule
from pld_dspy.run.result import versions
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.task.checks import check_disjoint
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task

from .config import Cell, Experiment
from .effort import Effort
from .figures import figures_on_test
from .table import ERROR, newest_run

logger = logging.getLogger(__name__)

ERROR_CHARACTERS = 300


def run_experiment(experiment: Experiment) -> list[Cell]:
    """Run every cell that has no finished MLflow run; one that fails is recorded with its error, and the rest go on.

    DSPy's own cache is off meanwhile: a cached answer would cost one optimizer nothing and another one seconds.

    Returns:
        The cells that failed; they are tried again next time.

    Raises:
        DataError: data, rationales or program cannot be had; raised before the model is loaded.
        ModelError: the model cannot be had.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    mlflow.set_experiment(experiment.name)
    cells = list(experiment.cells())
    waiting = [cell for cell in cells if newest_run(cell) is None]
    logger.info("%d of %d cells are finished", len(cells) - len(waiting), len(cells))
    if not waiting:
        return []
    micro_rules = experiment.micro_rules()
    splits = {seed: experiment.splits(micro_rules, seed) for seed in dict.fromkeys(cell.seed for cell in waiting)}
    lm = resolve_lm(experiment.student)
    adapter = LabelAdapter() if experiment.adapter == "label" else dspy.ChatAdapter()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    failed = []
    with dspy.context(lm=lm, adapter=adapter):
        for number, cell in enumerate(waiting, start=1):
            logger.info("%d of %d: %s", number, len(waiting), cell)
            if not _recorded(cell, splits[cell.seed], micro_rules):
                failed.append(cell)
    return failed


def _recorded(cell: Cell, splits: Splits, micro_rules: Sequence[MicroRule]) -> bool:
    """Run a cell as an MLflow run; return whether it finished."""
    settings = cell.experiment.model_dump(mode="json", exclude={"optimizers", "seeds", "tracking", "folder"})
    with mlflow.start_run(run_name=f"{cell.optimizer}-{cell.seed}"):
        mlflow.set_tags({"cell": cell.key, "optimizer": cell.optimizer, "program": cell.experiment.program})
        mlflow.log_params({"seed": cell.seed, **settings})
        mlflow.log_params({f"version_{name}": value for name, value in versions().items()})
        try:
            metrics = _run_cell(cell, splits, micro_rules)
        except Exception as error:  # an optimizer may raise anything, and must not cost the others their results
            line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:ERROR_CHARACTERS]
            logger.error("%s failed: %s", cell, line, exc_info=not isinstance(error, PLDError))
            mlflow.set_tag(ERROR, line)
            mlflow.end_run("FAILED")
            return False
        mlflow.log_metrics(metrics)
    return True


def _run_cell(cell: Cell, splits: Splits, micro_rules: Sequence[MicroRule]) -> dict[str, float]:
    student = cell.experiment.module.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    cell.folder.mkdir(parents=True, exist_ok=True)
    work = cell.folder / "compile"
    effort = Effort(cell.folder / "calls.txt", resumed=work.is_dir())
    with dspy.context(callbacks=[*dspy.settings.callbacks, effort]):
        program = compile_with(
            cell.optimizer,
            student,
            splits.train,
            splits.val,
            cell.experiment.budget,
            cell.seed,
            objective=cell.experiment.objective,
            rationales=micro_rules,
            folder=work,
        )
    compiling = {"compile_calls": effort.calls, "compile_seconds": effort.seconds}
    logger.info("%s: compiled with %d calls in %.0f s", cell, effort.calls, effort.seconds)
    return {**compiling, **figures_on_test(cell, program, task, splits.test)}
