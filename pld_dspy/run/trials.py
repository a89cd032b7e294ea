"""trials.csv: one row per finished trial of the search."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError, field_validator

from ..errors import RunError
from ..rules import RuleSet
from ..search.trials import FinishedTrial
from .folder import write_csv

COLUMNS = ("step", "kind", "rules", "asked", "correct", "objective", "told", "best")


class TrialLine(BaseModel):
    """What a plot needs of a row of trials.csv; ``objective`` is None for a trial that stopped early."""

    step: int
    kind: str
    objective: float | None
    told: float
    best: float

    @field_validator("objective", mode="before")
    @classmethod
    def _none_if_empty(cls, value: str) -> str | None:
        return value or None


def write_trials(path: Path, trials: Iterable[FinishedTrial]) -> None:
    """Write trials.csv, with the best objective so far in each row; rules are written as ``id/wording``, in order."""
    write_csv(path, COLUMNS, _rows(trials))


def read_trials(path: Path) -> list[TrialLine]:
    """Read trials.csv.

    Raises:
        RunError: the file is damaged.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return [TrialLine.model_validate(row) for row in rows]
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                f"{path} line {rows.line_num} is damaged: {first['loc'][0]}={first['input']!r}: {first['msg']}. "
                "Delete the file to report without it."
            ) from error


def _rows(trials: Iterable[FinishedTrial]) -> Iterator[tuple[object, ...]]:
    best = float("-inf")
    for row in trials:
        best = max(best, row.objective if row.objective is not None else best)
        rules = " ".join(f"{rule.id}/{rule.chosen}" for rule in (row.rules or RuleSet()).rules)
        yield row.step, row.kind, rules, row.asked, int(row.correct.sum()), row.objective, f"{row.value:.6f}", best
