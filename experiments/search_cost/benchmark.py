"""The benchmark: every method on every synthetic student; one line of JSON per cell, and a killed run resumes."""

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
from pld_dspy.scoring import difference, f1, figures, objective, offsets

from . import baselines, methods, setting, students, surface, synthetic_evaluator
from .json_lines import append_line, whole_lines
from .methods import METHODS, REFERENCE_TRIALS
from .setting import Setting
from .students import Student, make_student
from .synthetic_evaluator import SyntheticEvaluator

logger = logging.getLogger(__name__)

CELLS_FILE = "cells.jsonl"
DECIDING = (
    *(pld_dspy.search, difference, f1, figures, objective, offsets),
    *(surface, students, synthetic_evaluator, setting, baselines, methods),
)
"""Code that decides the result of a cell."""
SIZES = ((30, 200), (40, 100), (20, 300))
"""(rules, validation examples) of the students of a full benchmark."""


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
        """What two cells that differ in their method alone have in common."""
        return (self.family, self.k, self.n, self.seed)


class CellResult(BaseModel):
    """The result of a cell; macro-F1 is on unseen examples.

    Attributes:
        cell: method and student.
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
    """Yield every combination, seed by seed, so that an interrupted benchmark is still balanced."""
    for seed in seeds:
        for k, n in sizes:
            for family in families:
                for method in methods:
                    yield Cell(family=family, k=k, n=n, seed=seed, method=method)


def run_cell(cell: Cell) -> CellResult:
    """Search with the cell's method, and score its choice on unseen examples."""
    student = make_student(cell.family, cell.k, cell.n, cell.seed)
    method = METHODS[cell.method]
    evaluator = SyntheticEvaluator(student)
    setting = Setting(
        evaluator=evaluator,
        rules=student.rules,
        valset=student.valset,
        budget=round(method.share * REFERENCE_TRIALS * cell.n),
        seed=cell.seed,
    )
    started = time.process_time()
    with threadpool_limits(1):
        outcome = method.run(setting)
    seconds = time.process_time() - started
    return CellResult(
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


def run_cells(wanted: Sequence[Cell], folder: Path, *, jobs: int = 1) -> list[CellResult]:
    """Run the cells that the folder's file does not have yet, or has from another version of the code.

    Args:
        wanted: the cells.
        folder: holds ``cells.jsonl``; made if missing.
        jobs: processes at once.

    Returns:
        The results of the wanted cells, in their order.

    Raises:
        DataError: a line of the file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CELLS_FILE
    earlier = parse_lines(path, whole_lines(path), CellResult)
    found = {finished.cell: finished for finished in earlier if finished.code == code()}
    if len(found) < len(earlier):
        logger.warning("%s: %d lines are from other code and are ignored.", path.name, len(earlier) - len(found))
    missing = [cell for cell in wanted if cell not in found]
    logger.info("%d cells, %d of them finished earlier.", len(wanted), len(wanted) - len(missing))
    for number, finished in enumerate(_run(missing, jobs), start=1):
        append_line(path, finished)
        found[finished.cell] = finished
        logger.info("%d of %d: %s, %.1f s", number, len(missing), finished.cell, finished.seconds)
    return [found[cell] for cell in wanted]


@cache
def code() -> str:
    """Return a digest of the code that decides a cell's result, so that results of different code are not mixed."""
    files = [Path(str(module.__file__)) for module in DECIDING]
    texts = [
        file.read_text(encoding="utf-8")
        for path in files
        for file in (sorted(path.parent.glob("*.py")) if path.name == "__init__.py" else [path])
    ]
    return digest(texts)


def _run(missing: Sequence[Cell], jobs: int) -> Iterator[CellResult]:
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
