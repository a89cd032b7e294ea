"""What a user sees of long work: one bar a stage, and every finished trial recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from ..calibrate.result import Abstention, Calibration
from ..search.result import TrialRow
from .folder import RunFolder
from .result import OWN_CODE, PLDResult
from .tracking import Recorder

logger = logging.getLogger(__name__)


class Progress:
    """Shows each finished trial and records its value and the best so far."""

    def __init__(self, recorder: Recorder, objective: Any) -> None:
        self.recorder = recorder
        self.objective = objective
        self.bar: Any = None
        self.best = float("-inf")

    def __call__(self, trial: TrialRow) -> None:
        """Take note of one finished trial."""
        if trial.objective is not None:
            self.best = max(self.best, trial.objective)
            self.recorder.metric(f"val_{self.objective}", trial.objective, trial.step)
        self.recorder.metric("val_estimate", trial.told, trial.step)
        self.recorder.metric(f"best_val_{self.objective}", self.best, trial.step)
        self.bar.set_postfix(best=f"{self.best:.3f}", refresh=False)
        self.bar.update()


def bar(stage: str, unit: str, *, total: int | None = None) -> Any:
    """One progress bar a stage, shown on terminals only and gone when the stage is done."""
    return tqdm(total=total, desc=stage, unit=unit, disable=None, leave=False)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Log the start of a stage, and note its wall seconds."""
    started = time.perf_counter()
    logger.info("%s", stage)
    yield
    seconds[stage] = time.perf_counter() - started


def record(recorder: Recorder, result: PLDResult, folder: RunFolder) -> None:
    """Record a finished compile: scores, counts, seconds, calls, and the files of its run folder."""
    for split, comparison in (("val", result.validation), ("test", result.test)):
        if comparison is not None:
            recorder.metric(f"{split}_macro_f1_baseline", comparison.baseline.macro_f1)
            recorder.metric(f"{split}_macro_f1_compiled", comparison.compiled.macro_f1)
            recorder.metric(f"{split}_macro_f1_gain", comparison.difference.macro_f1)
            recorder.metric(f"{split}_accuracy_gain", comparison.compiled.accuracy - comparison.baseline.accuracy)
    if result.calibration is not None:
        _record_calibration(recorder, result.calibration)
    for name, count in result.counts.items():
        recorder.metric(f"count_{name}", count)
    for stage, value in result.seconds.items():
        # Metrics named seconds_ add up to the whole.
        recorder.metric("search_own_code_seconds" if stage == OWN_CODE else f"seconds_{stage}", value)
    for role, stages in result.costs.items():
        recorder.metric(f"{role}_calls", sum(cost.calls for cost in stages.values()))
    for path in (folder.config, folder.rules, folder.result, folder.trials, folder.confusion, folder.program):
        recorder.artifact(path)
    for path in (folder.patches, folder.calibration):
        if path.is_file():
            recorder.artifact(path)


def _record_calibration(recorder: Recorder, found: Calibration) -> None:
    if found.difference_to_baseline is not None:
        recorder.metric("test_macro_f1_gain_calibrated", found.difference_to_baseline.macro_f1)
    for name, side in (("baseline", found.baseline), ("compiled", found.compiled)):
        if side.calibrated is not None:
            recorder.metric(f"test_macro_f1_{name}_calibrated", side.calibrated.score.macro_f1)
        for student, grade in ((name, side.plain), (f"{name}_calibrated", side.calibrated)):
            if grade is not None:
                recorder.metric(f"test_calibration_error_{student}", grade.calibration_error)
                recorder.metric(f"test_error_at_80_{student}", grade.error_at_80)
        if side.offsets.gain is not None:
            recorder.metric(f"out_of_fold_macro_f1_gain_{name}_calibrated", side.offsets.gain.macro_f1)
        if side.abstention is not None:
            _record_abstention(recorder, f"{name}_calibrated", side.abstention)


def _record_abstention(recorder: Recorder, student: str, found: Abstention) -> None:
    recorder.metric(f"threshold_{student}", found.threshold)
    for split, kept in (("val", found.validation), ("test", found.test)):
        if kept is not None:
            recorder.metric(f"{split}_coverage_{student}", kept.coverage)
            recorder.metric(f"{split}_error_answered_{student}", kept.error_rate)
