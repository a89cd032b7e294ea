"""Run the cells of an experiment: compile, score on the test set, record in MLflow."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import mlflow
import numpy as np
from scipy.stats import binomtest

from optimizers import Setting, compile_with
from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.errors import PLDError
from pld_dspy.ledger.dspy_names import BaseCallback
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.connect import resolve_lm
from pld_dspy.local.lm import LocalLM
from pld_dspy.rules import MicroRule
from pld_dspy.run.progress import bar
from pld_dspy.run.result import versions
from pld_dspy.scoring.objective import Objective
from pld_dspy.scoring.score import Score
from pld_dspy.student.adapter import LabelAdapter, asking_for_logprobs
from pld_dspy.student.evaluator import Evaluation, Evaluator, logprobs_of
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task

from .config import CELLS, Cell, Experiment
from .results import MACHINE, VERSION, machine
from .run_student import per_call, with_offsets
from .table import ANSWERS, CALIBRATED, ERROR, newest_run

logger = logging.getLogger(__name__)

ERROR_CHARACTERS = 300
ROLES = "student", "teacher"
PROGRAM = "program.json"
"""In a cell's folder: the state of its program."""


def run_experiment(experiment: Experiment) -> list[Cell]:
    """Run every cell that has no finished MLflow run; record the error of a cell that fails, and go on with the others.

    DSPy's own cache is off meanwhile: an answer from it would be free for one optimizer and cost another one seconds.

    Returns:
        The cells that failed; they are tried again next time.

    Raises:
        DataError: data, rationales or program are missing or wrong; raised before the model is loaded.
        ModelError: the model cannot be loaded.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    mlflow.set_experiment(experiment.name)
    cells = list(experiment.cells())
    waiting = [cell for cell in cells if newest_run(cell) is None]
    logger.info("%d of %d cells are finished", len(cells) - len(waiting), len(cells))
    if not waiting:
        return []
    micro_rules = experiment.micro_rules()
    drawn = dict.fromkeys((cell.seed, cell.labels) for cell in waiting)
    splits = {draw: experiment.splits(micro_rules, *draw) for draw in drawn}
    failed = []
    with asking_student(experiment):
        for number, cell in enumerate(waiting, start=1):
            logger.info("%d of %d: %s", number, len(waiting), cell)
            if not _recorded(cell, splits[cell.seed, cell.labels], micro_rules):
                failed.append(cell)
    return failed


@contextmanager
def asking_student(experiment: Experiment) -> Iterator[None]:
    """Configure the experiment's student and adapter, without DSPy's cache; a local model is asked call by call."""
    lm = resolve_lm(experiment.student)
    threads = 1 if isinstance(lm, LocalLM) else dspy.settings.num_threads  # else calls wait, and their seconds count
    adapter = LabelAdapter() if experiment.adapter == "label" else dspy.ChatAdapter()
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=lm, adapter=adapter, num_threads=threads):
        yield


def _recorded(cell: Cell, splits: Splits, micro_rules: Sequence[MicroRule]) -> bool:
    """Run a cell as an MLflow run, and return whether it finished."""
    settings = cell.experiment.model_dump(mode="json", exclude={*CELLS, "tracking", "folder"})
    with mlflow.start_run(run_name=str(cell)):
        mlflow.set_tags({"cell": cell.key, "optimizer": cell.optimizer, "program": cell.experiment.program})
        mlflow.log_params({"seed": cell.seed, "labels": cell.labels, **settings})
        mlflow.log_param(MACHINE, machine())
        mlflow.log_params({f"{VERSION}{name}": value for name, value in versions().items()})
        try:
            metrics = _run_cell(cell, splits, micro_rules)
        except Exception as error:  # an optimizer may raise anything, and must not stop the other cells
            line = f"{type(error).__name__}: {' '.join(str(error).split())}"[:ERROR_CHARACTERS]
            logger.error("%s failed: %s", cell, line, exc_info=not isinstance(error, PLDError))
            mlflow.set_tag(ERROR, line)
            mlflow.end_run("FAILED")
            return False
        mlflow.log_metrics(metrics)
    return True


def _run_cell(cell: Cell, splits: Splits, micro_rules: Sequence[MicroRule]) -> dict[str, float]:
    student = cell.experiment.source.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    cell.folder.mkdir(parents=True, exist_ok=True)
    work = cell.folder / "compile"
    resumed = work.is_dir()
    teacher = cell.experiment.teacher_lm()
    counter = CallCounter(cell.folder / "calls.txt", dspy.settings.lm.model, resumed=resumed)
    counters = [counter]
    if teacher is not None:
        counters.append(CallCounter(cell.folder / "teacher_calls.txt", teacher.model, resumed=resumed))
    setting = Setting(
        student=student,
        trainset=splits.train,
        valset=splits.val,
        budget=cell.experiment.budget,
        seed=cell.seed,
        objective=cell.experiment.objective,
        rationales=micro_rules,
        teacher=teacher,
        folder=work,
    )
    with dspy.context(callbacks=[*dspy.settings.callbacks, *counters]), dspy.track_usage() as usage:
        program = compile_with(cell.optimizer, setting)
    (cell.folder / PROGRAM).write_text(json.dumps(program.dump_state()), encoding="utf-8")
    compiling = {"compile_calls": counter.calls, "compile_seconds": counter.seconds}
    compiling["compile_failures"] = counter.failures
    if teacher is not None:
        compiling["teacher_calls"] = counters[1].calls
    if not resumed:  # else those of the interrupted attempt are not known
        spent = usage.get_total_tokens()
        for role, one in zip(ROLES, counters, strict=False):
            known = spent.get(one.model, {})
            compiling[f"{role}_tokens_in"] = known.get("prompt_tokens", 0)
            compiling[f"{role}_tokens_out"] = known.get("completion_tokens", 0)
    logger.info("%s: compiled with %d calls in %.0f s", cell, counter.calls, counter.seconds)
    return {**compiling, **metrics_on_test(cell, program, task, splits)}


def metrics_on_test(cell: Cell, program: dspy.Module, task: Task, splits: Splits) -> dict[str, float]:
    """Run a cell's program on all test examples, log its answers, and return the metrics for its MLflow run.

    Where the student gives log-probabilities and the program does not calibrate itself, it is asked the validation
    examples too, and the same test answers are scored once more as offsets fitted on these decide them.

    Args:
        cell: keeps the answers in its folder, so that none is asked for twice.
        program: the optimizer's result.
        task: the labelled decision.
        splits: the optimizer did not see the test examples.
    """
    # Cells share the ledger, so that equal prompts are sent once; an answer keeps the seconds that it took. But what a
    # program with a forward of its own (KNNFewShot) sends is not in its state.
    folder = cell.folder if "forward" in vars(program) else cell.folder.parent
    evaluator = Evaluator(
        student=program,
        task=task,
        ledger=Ledger(folder / "test.jsonl"),
        objective=Objective(cell.experiment.objective),
        adapter=asking_for_logprobs(None),
        seed=cell.seed,
    )
    evaluation = _asked(evaluator, splits.test, "test")
    mlflow.log_table({"gold": task.golds(splits.test), "answer": evaluation.labels}, ANSWERS)
    metrics = {**_scores(evaluation.score, "test"), **per_call(evaluation)}
    figures = (cell.experiment.objective, evaluation.score.objective, metrics["seconds_per_call"])
    logger.info("%s: test %s %.3f, %.3f s per call", cell, *figures)
    if isinstance(program, Calibrated) or np.isnan(logprobs_of(evaluation.answers, task)).any():
        return metrics
    on_val = _asked(evaluator, splits.val, "validation")
    calibrated = with_offsets(evaluator, evaluation, splits.test, on_val, splits.val)
    return metrics if calibrated is None else {**metrics, **_scores(calibrated.score, CALIBRATED)}


def _asked(evaluator: Evaluator, examples: Sequence[dspy.Example], name: str) -> Evaluation:
    with bar(name, "answer", total=len(examples)) as progress:
        return evaluator.evaluate(None, examples, stage=name, on_answer=progress.update)


def _scores(score: Score, name: str) -> dict[str, float]:
    """Return both objectives with 95% intervals: bootstrap for macro-F1, Wilson's for accuracy."""
    low, high = score.interval
    right = binomtest(round(score.accuracy * score.n), score.n).proportion_ci(method="wilson")
    return {
        f"{name}_macro_f1": score.macro_f1,
        f"{name}_macro_f1_low": low,
        f"{name}_macro_f1_high": high,
        f"{name}_accuracy": score.accuracy,
        f"{name}_accuracy_low": float(right.low),
        f"{name}_accuracy_high": float(right.high),
        f"{name}_n": score.n,
        f"{name}_failures": score.failures,
    }


class CallCounter(BaseCallback):
    """Counts a model's calls in its context, in a file, so that a resumed compile continues the count.

    The file has one line per call: the seconds since the line before.

    Args:
        path: the file.
        model: the name of the model; calls of others are not counted.
        resumed: whether the compile continues an interrupted one; else the count starts again at 0.
    """

    def __init__(self, path: Path, model: str, *, resumed: bool) -> None:
        if not resumed:
            path.unlink(missing_ok=True)
        self.path, self.model = path, model
        self._lock = threading.Lock()
        self._last = time.perf_counter()
        self.failures = 0  # of this attempt; of any model, since an optimizer may go on without what it asked for

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count one call."""
        if instance.model != self.model:
            return
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            now = time.perf_counter()
            file.write(f"\n{now - self._last:.4f}")  # newline first: a line that a kill cut short damages no other line
            self._last = now

    def on_lm_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        """Count a call that failed."""
        with self._lock:
            self.failures += exception is not None

    @property
    def calls(self) -> int:
        """LM calls so far, including those of interrupted attempts."""
        return len(self._steps())

    @property
    def seconds(self) -> float:
        """Wall time so far; interrupted attempts count up to their last call."""
        return sum(self._steps()) + time.perf_counter() - self._last

    def _steps(self) -> list[float]:
        return [float(step) for step in self.path.read_text(encoding="utf-8").split()] if self.path.is_file() else []
