"""What a user sees of long work: one progress bar per stage, the best value so far, and the trials in trials.csv."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from ..errors import RunError
from ..rules import RuleSet
from ..search.trials import FinishedTrial
from .folder import write_csv
from .tracking import Recorder

logger = logging.getLogger(__name__)


class Progress:
    """Records each finished trial: ``val_OBJECTIVE`` is the best so far, ``trial_OBJECTIVE`` the trial's own."""

    def __init__(self, recorder: Recorder, objective: str) -> None:
        self.recorder, self.objective = recorder, objective
        self.bar: Any = None
        self.best = float("-inf")

    def __call__(self, trial: FinishedTrial) -> None:
        """Record one finished trial, and show the best objective so far."""
        if trial.objective is not None:
            self.best = max(self.best, trial.objective)
            self.recorder.metric(f"trial_{self.objective}", trial.objective, trial.step)
        self.recorder.metric("val_estimate", trial.value, trial.step)
        self.recorder.metric(f"val_{self.objective}", self.best, trial.step)
        self.bar.set_postfix(best=f"{self.best:.3f}", refresh=False)
        self.bar.update()


def bar(stage: str, unit: str, *, total: int | None = None) -> Any:
    """Return one stage's progress bar, shown on terminals only and gone when the stage is done."""
    return tqdm(total=total, desc=stage, unit=unit, disable=None, leave=False)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Log the start of a stage, and add its wall seconds to ``seconds``."""
    started = time.perf_counter()
    logger.info("%s", stage)
    yield
    seconds[stage] = time.perf_counter() - started


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
        shown = trial.rules or RuleSet()
        demos = [f"demonstrations/{trial.candidate.demos}"] if shown.demos else []
        rules = " ".join([*(f"{rule.id}/{rule.chosen}" for rule in shown.rules), *demos])
        correct = int(trial.correct.sum())
        rows.append((trial.step, trial.kind, rules, trial.asked, correct, trial.objective, f"{trial.value:.6f}", best))
    write_csv(path, list(TrialLine.model_fields), rows)


def read_trials(path: Path) -> list[TrialLine]:
    """Read trials.csv; RunError if it is damaged."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        try:
            return [TrialLine.model_validate({name: cell or None for name, cell in row.items()}) for row in rows]
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                f"{path} line {rows.line_num} is damaged: {first['loc'][0]} is {first['input']!r}; {first['msg']}. "
                "Delete the file to report without it."
            ) from error
