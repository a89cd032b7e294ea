"""What a user sees of long work: one progress bar per stage, and the best value so far."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..search.trials import FinishedTrial
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
