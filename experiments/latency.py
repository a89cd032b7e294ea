"""What a call takes under each finished cell's program, the programs in turn."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import dspy
import numpy as np
from mlflow.entities import Run

from optimizers import Setting, compile_with
from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.errors import DataError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.run.progress import bar
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.student.adapter import asking_for_logprobs
from pld_dspy.student.compose import copied
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.task import Task

from .config import Cell, Experiment
from .estimate import WITHOUT_STUDENT
from .runner import PROGRAM, ROLES, asking_student
from .table import finished_cells

BLOCK = 12
"""Examples that a program answers in a row before the next program's turn."""
HEADER = (
    "| optimizer | seconds per call, median | 95th percentile | times the first | prompt tokens | of them read before "
    "| answer tokens | requests until paid back |\n|---|---|---|---|---|---|---|---|"
)
UNCHANGED = "zero_shot"
KINDS = "in", "cached", "out"
"""Of tokens."""


def latency(experiment: Experiment, n: int) -> str:
    """Ask every finished cell's program of the first seed about ``n`` test examples, and return a table.

    Programs take turns, ``BLOCK`` examples each, so that a machine that gets slower meanwhile does so for all; none is
    asked about an example twice. The first call of a turn, in which the server reads the prompt that the others share,
    is left out.

    Where student and teacher have a price, the last column says after how many requests a compile has cost no more than
    asking the teacher itself, under the unchanged program's prompt and with answers as long as the unchanged student's.
    All tokens of a compile count, and prompt tokens that a server has read before count like others.

    Args:
        experiment: its finished cells are looked up in the MLflow store.
        n: number of test examples, at most all.

    Raises:
        DataError: no cell has finished, or the program of one is gone.
    """
    seed, labels = experiment.seeds[0], experiment.labels[-1]
    found = [pair for pair in finished_cells(experiment) if (pair[0].seed, pair[0].labels) == (seed, labels)]
    asking = [(cell, run) for cell, run in found if cell.optimizer not in WITHOUT_STUDENT]
    splits = experiment.splits(experiment.micro_rules(), seed, labels)
    test, student = splits.test[:n], experiment.source.student()
    setting = Setting(student=student, trainset=splits.train, valset=splits.val, budget=experiment.budget, seed=seed)
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    answers: dict[str, list[Answer]] = {cell.optimizer: [] for cell, _ in asking}
    with asking_student(experiment), bar("timing", "call", total=len(asking) * len(test)) as progress:
        programs = {cell.optimizer: _program(cell, run, setting, task) for cell, run in asking}
        whole = Evaluator(student=student, task=task, ledger=Ledger(), adapter=asking_for_logprobs(None), seed=seed)
        for start in range(0, len(test), BLOCK):
            for name, program in programs.items():
                evaluator = replace(whole, student=program, ledger=Ledger())
                block = evaluator.evaluate(None, test[start : start + BLOCK], stage="test", on_answer=progress.update)
                answers[name] += block.answers[1:]
    paid = {cell.optimizer: run.data.metrics for cell, run in asking}
    rows = _rows(answers, paid, experiment)
    return "\n".join([HEADER, *rows, "", f"{len(test)} test examples in turns of {BLOCK}."])


def _program(cell: Cell, run: Run, setting: Setting, task: Task) -> dspy.Module:
    """Return the cell's program: loaded, or made again where that took no student call, as it may be another class."""
    if not run.data.metrics["compile_calls"]:
        return compile_with(cell.optimizer, setting)
    path = cell.folder / PROGRAM
    try:
        state = json.loads(path.read_bytes())
        program = copied(setting.student)
        if "calibration" in state:
            program = Calibrated(program, Offsets.none(task.labels), target=task.predictor)
        program.load_state(state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"Cannot load the program of {cell}, {path}: {error}. Run the cell again.") from error
    for predictor, own in zip(program.predictors(), setting.student.predictors(), strict=True):
        predictor.lm = own.lm  # some optimizers leave theirs in it
    return program


def _rows(
    answers: Mapping[str, list[Answer]], paid: Mapping[str, Mapping[str, float]], experiment: Experiment
) -> Iterator[str]:
    """Yield one row per optimizer."""
    medians = {name: float(np.median([one.seconds for one in found])) for name, found in answers.items()}
    tokens = {name: _tokens(found) for name, found in answers.items()}
    first = next(iter(medians.values()))
    for name, found in answers.items():
        slow = np.quantile([one.seconds for one in found], 0.95)
        counts = " | ".join(f"{tokens[name][kind]:.0f}" for kind in KINDS)
        payback = _payback(paid[name], tokens[name], tokens.get(UNCHANGED), experiment)
        yield f"| {name} | {medians[name]:.3f} | {slow:.3f} | {medians[name] / first:.2f} | {counts} | {payback} |"


def _tokens(found: Sequence[Answer]) -> dict[str, float]:
    """Return the median tokens of a call."""
    return {kind: float(np.median([getattr(one, f"tokens_{kind}") for one in found])) for kind in KINDS}


def _payback(
    paid: Mapping[str, float], call: Mapping[str, float], plain: Mapping[str, float] | None, experiment: Experiment
) -> str:
    """Return the requests until a compile is paid back; empty where prices, tokens or the plain call are unknown."""
    models = dict(zip(ROLES, (experiment.student, experiment.teacher), strict=True))
    if plain is None or not {*models.values()} <= experiment.prices.keys() or "student_tokens_in" not in paid:
        return ""

    def price(role: str, tokens_in: float, tokens_out: float) -> float:
        return prices.price(str(models[role]), tokens_in=round(tokens_in), tokens_out=round(tokens_out))

    prices = Budget(prices=experiment.prices)
    spent = sum(price(role, paid[f"{role}_tokens_in"], paid[f"{role}_tokens_out"]) for role in ROLES)
    saved = price("teacher", plain["in"], plain["out"]) - price("student", call["in"], call["out"])
    return f"{math.ceil(spent / saved):,}" if saved > 0 else "never"
