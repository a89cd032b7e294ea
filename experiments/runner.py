"""Run the cells: compile, score on test through one ledger a cell, record in MLflow."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import dspy
import mlflow
import numpy as np
from dspy.utils.callback import BaseCallback

from optimizers import compile_with
from pld_dspy.adapter import LabelAdapter
from pld_dspy.evaluation import Evaluation, Evaluator
from pld_dspy.ledger import Ledger
from pld_dspy.local import resolve_lm
from pld_dspy.result import versions
from pld_dspy.rules import MicroRule
from pld_dspy.splits import Splits, check_disjoint
from pld_dspy.task import Task

from .config import Cell, Experiment
from .table import newest_run

logger = logging.getLogger(__name__)


class CallCounter(BaseCallback):
    """Counts every LM call in its context, whoever makes it: the same count for every optimizer."""

    def __init__(self) -> None:
        self.calls = 0

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count one call."""
        self.calls += 1


def run_experiment(experiment: Experiment) -> None:
    """Run every cell that has no finished MLflow run.

    DSPy's own cache is off meanwhile: a cached answer would cost one optimizer nothing and another one seconds.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    mlflow.set_experiment(experiment.name)
    open_cells = [cell for cell in experiment.cells() if newest_run(cell) is None]
    if not open_cells:
        return
    micro_rules = experiment.micro_rules()
    lm = resolve_lm(experiment.student)
    adapter = LabelAdapter() if experiment.adapter == "label" else dspy.ChatAdapter()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=lm, adapter=adapter):
        for cell in open_cells:
            logger.info("%s, seed %d", cell.optimizer, cell.seed)
            splits = experiment.module.load(experiment.data, rationales=micro_rules, seed=cell.seed)
            _run_cell(cell, splits, micro_rules)


def _run_cell(cell: Cell, splits: Splits, micro_rules: Sequence[MicroRule]) -> None:
    student = cell.experiment.module.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    cell.folder.mkdir(parents=True, exist_ok=True)
    counter = CallCounter()
    with mlflow.start_run(run_name=f"{cell.optimizer}-{cell.seed}"):
        mlflow.set_tags({"cell": cell.key, "optimizer": cell.optimizer, "program": cell.experiment.program})
        mlflow.log_params({"seed": cell.seed, **cell.experiment.model_dump(mode="json", exclude={"optimizers"})})
        mlflow.log_params({f"version_{name}": value for name, value in versions().items()})
        started = time.perf_counter()
        with dspy.context(callbacks=[*dspy.settings.callbacks, counter]):
            program = compile_with(
                cell.optimizer,
                student,
                splits.train,
                splits.val,
                cell.experiment.budget,
                cell.seed,
                rationales=micro_rules,
                folder=cell.folder / "compile",
            )
        mlflow.log_metrics({"compile_calls": counter.calls, "compile_seconds": time.perf_counter() - started})
        mlflow.log_metrics(_test_metrics(cell, program, task, splits.test))


def _test_metrics(cell: Cell, program: dspy.Module, task: Task, testset: Sequence[dspy.Example]) -> dict[str, float]:
    ledger = Ledger(cell.folder.parent / "test.jsonl")  # shared: equal prompts of two cells are asked once
    evaluator = Evaluator(student=program, task=task, ledger=ledger, seed=cell.seed)
    evaluation = evaluator.evaluate(None, testset, stage="test")
    low, high = evaluation.score.interval
    return {
        "test_macro_f1": evaluation.score.macro_f1,
        "test_macro_f1_low": low,
        "test_macro_f1_high": high,
        "test_accuracy": evaluation.score.accuracy,
        "test_n": evaluation.score.n,
        "test_failures": evaluation.score.failures,
        **_per_call(evaluation),
    }


def _per_call(evaluation: Evaluation) -> dict[str, float]:
    """Medians after the first call, which reads the shared prompt for all."""
    rest = evaluation.answers[1:] or evaluation.answers
    return {
        "seconds_per_call": float(np.median([answer.seconds for answer in rest])),
        "prompt_tokens": float(np.median([answer.tokens_in for answer in rest])),
        "answer_tokens": float(np.median([answer.tokens_out for answer in rest])),
    }
