"""trials.csv: one row per finished trial of the search."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ..errors import RunError
from ..rules import RuleSet
from ..search.trials import FinishedTrial
from .folder import write_csv


class TrialLine(BaseModel):
    """A row of trials.csv: a finished trial, its rules as ``id/wording``, and the best objective so far."""

    step: int
    kind: str
    rules: str | None = None
    asked: int = 0
    correct: int = 0
    objective: float | None
    told: float
    best: float


def write_trials(path: Path, trials: Iterable[FinishedTrial]) -> None:
    """Write trials.csv; ``objective`` is empty for a trial that stopped early."""
    rows, best = [], float("-inf")
    for trial in trials:
        best = max(best, trial.objective if trial.objective is not None else best)
        rules = " ".join(f"{rule.id}/{rule.chosen}" for rule in (trial.rules or RuleSet()).rules)
        correct = int(trial.correct.sum())
        rows.append((trial.step, trial.kind, rules, trial.asked, correct, trial.objective, f"{trial.value:.6f}", best))
    write_csv(path, list(TrialLine.model_fields), rows)


def read_trials(path: Path) -> list[TrialLine]:
    """Read trials.csv; RunError if it is damaged."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return [TrialLine.model_validate({name: cell or None for name, cell in row.items()}) for row in rows]
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                f"{path} line {rows.line_num} is damaged: {first['loc'][0]} is {first['input']!r}; {first['msg']}. "
                "Delete the file to report without it."
            ) from error
