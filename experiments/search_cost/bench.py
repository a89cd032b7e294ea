"""The bench: every method on every synthetic student, one line of JSON a cell, taken up where it was left."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from threadpoolctl import threadpool_limits

import pld_dspy.search
from pld_dspy.ledger.jsonl import parse_lines
from pld_dspy.ledger.keys import digest
from pld_dspy.rules import RuleSet
from pld_dspy.scoring import difference, f1, figures, matching, objective

from . import asked, baselines, methods, setting, space, students, surface
from .asked import Asked
from .lines import append_line, whole_lines
from .methods import METHODS, REFERENCE_TRIALS
from .setting import Setting
from .students import Student, make_student

logger = logging.getLogger(__name__)

CELLS_FILE = "cells.jsonl"
DECIDING = (
    *(pld_dspy.search, difference, f1, figures, matching, objective),
    *(surface, students, asked, setting, space, baselines, methods),
)
"""Code that decides what comes out of a cell."""
SIZES = ((30, 200), (40, 100), (20, 300))
"""(rules, validation examples) of the students of a full bench."""


class Cell(BaseModel):
    """One method on one student."""

    model_config = ConfigDict(frozen=True)

    family: str
    k: int
    n: int
    seed: int
    method: str

    @property
    def problem(self) -> tuple[str, int, int, int]:
        """What is equal for two cells that differ in their method only."""
        return (self.family, self.k, self.n, self.seed)


class Finished(BaseModel):
    """What came out of a cell; macro-F1 is on unseen examples.

    Attributes:
        cell: which.
        calls: student calls made.
        rules: rules chosen.
        baseline, planted, macro_f1: of the unchanged student, of the useful rules, of the method's choice.
        curve: (calls made so far, macro-F1 of the choice at that point).
        seconds: processor time.
        code: digest of the code that searched.
    """

    model_config = ConfigDict(frozen=True)

    cell: Cell
    calls: int
    rules: int
    baseline: float
    planted: float
    macro_f1: float
    curve: list[tuple[int, float]]
    seconds: float
    code: str


def cells(
    families: Sequence[str], sizes: Sequence[tuple[int, int]], seeds: Sequence[int], methods: Sequence[str]
) -> Iterator[Cell]:
    """Yield every combination, all of a seed before the next: a bench cut short is still balanced."""
    for seed in seeds:
        for k, n in sizes:
            for family in families:
                for method in methods:
                    yield Cell(family=family, k=k, n=n, seed=seed, method=method)


def run_cell(cell: Cell) -> Finished:
    """Let the cell's method search, and score what it chose on examples that it never saw."""
    student = make_student(cell.family, cell.k, cell.n, cell.seed)
    method = METHODS[cell.method]
    evaluator = Asked(student, logprobs=method.logprobs)
    setting = Setting(
        evaluator=evaluator,
        rules=student.rules,
        valset=student.valset,
        about=student.about,
        budget=round(method.share * REFERENCE_TRIALS * cell.n),
        seed=cell.seed,
    )
    started = time.process_time()
    with threadpool_limits(1):
        outcome = method.run(setting)
    seconds = time.process_time() - started
    return Finished(
        cell=cell,
        calls=outcome.calls,
        rules=len(outcome.chosen),
        baseline=student.true_macro_f1(None),
        planted=student.true_macro_f1(student.planted()),
        macro_f1=student.true_macro_f1(outcome.chosen),
        curve=_scored(student, outcome.curve),
        seconds=round(seconds, 3),
        code=code(),
    )


def run_cells(wanted: Sequence[Cell], folder: Path, *, jobs: int = 1) -> list[Finished]:
    """Run the cells that have no line of the present code in the folder's file yet.

    Args:
        wanted: the cells.
        folder: where ``cells.jsonl`` is, or is made.
        jobs: processes at once.

    Returns:
        What came out of the wanted cells, in their order.

    Raises:
        DataError: a line of the file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CELLS_FILE
    earlier = parse_lines(path, whole_lines(path), Finished)
    found = {finished.cell: finished for finished in earlier if finished.code == code()}
    if len(found) < len(earlier):
        logger.warning("%s: %d lines are of other code and not used.", path.name, len(earlier) - len(found))
    missing = [cell for cell in wanted if cell not in found]
    logger.info("%d cells, of which %d have run before.", len(wanted), len(wanted) - len(missing))
    for number, finished in enumerate(_run(missing, jobs), start=1):
        append_line(path, finished)
        found[finished.cell] = finished
        logger.info("%d of %d: %s, %.1f s", number, len(missing), finished.cell, finished.seconds)
    return [found[cell] for cell in wanted]


@cache
def code() -> str:
    """Return a digest of the code that decides what comes out of a cell: results of two searches must not mix."""
    files = [Path(str(module.__file__)) for module in DECIDING]
    texts = [
        file.read_text(encoding="utf-8")
        for path in files
        for file in (sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path])
    ]
    return digest(texts)


def _run(missing: Sequence[Cell], jobs: int) -> Iterator[Finished]:
    if jobs == 1:
        yield from map(run_cell, missing)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_cell, cell) for cell in missing]):
            yield future.result()


def _scored(student: Student, curve: Sequence[tuple[int, RuleSet]]) -> list[tuple[int, float]]:
    known: dict[RuleSet, float] = {}
    for _, rules in curve:
        if rules not in known:
            known[rules] = student.true_macro_f1(rules)
    return [(calls, known[rules]) for calls, rules in curve]
