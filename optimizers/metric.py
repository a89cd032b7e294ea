"""The objective as DSPy's optimizers take it: a score per example whose sums are still macro-F1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np

from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.rules import MicroRule
from pld_dspy.scoring.f1 import F1
from pld_dspy.task.labels import indicator
from pld_dspy.task.task import Task, input_text

if TYPE_CHECKING:
    from . import Setting

Score = Callable[..., float]


class F1Score(float):
    """1.0 for a right answer, else 0.0; the sum of n of them is n times their macro-F1.

    DSPy's optimizers maximize the mean of scores per example, as ``sum(scores) / n``: over a whole set this then is
    macro-F1. Where they average by other means, such as numpy's, it is accuracy.
    """

    f1: F1
    n: int

    def __new__(cls, value: float, f1: F1, n: int) -> F1Score:
        """Keep beside ``value`` what ``n`` answers add to F1."""
        score = super().__new__(cls, value)
        score.f1, score.n = f1, n
        return score

    def __getnewargs__(self) -> tuple[Any, ...]:
        return float(self), self.f1, self.n

    def __add__(self, other: float) -> float:
        if not isinstance(other, F1Score):  # the 0 that sums begin with, and the score of a failed call
            return self if other == 0 else float(self) + other
        both, n = self.f1 + other.f1, self.n + other.n
        return F1Score(n * float(both.macro()[0]), both, n)

    __radd__ = __add__


def metric_of(setting: Setting) -> Score:
    """Return the metric ``(example, prediction, trace=None)`` for the setting's objective.

    For macro-F1 it gives :class:`F1Score`; for every other objective 1.0 for a right answer, else 0.0.
    """
    task = Task.of(setting.student, [*setting.trainset, *setting.valset])

    def score(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> float:
        gold, answer = task.gold(example), task.read(prediction.toDict())
        right = float(gold == answer)
        if setting.objective != "macro_f1":
            return right
        golds, answers = (np.asarray(indicator([text], task.labels)) for text in (gold, answer))
        return F1Score(right, F1.of(golds, answers), 1)

    return score


def feedback_metric(setting: Setting) -> Callable[..., dspy.Prediction]:
    """Return a metric with feedback: the gold label and, where recorded, why it is right, and the micro-rule."""
    task, score = Task.of(setting.student, [*setting.trainset, *setting.valset]), metric_of(setting)
    reasons = {input_text(one.inputs): f"{one.rationale} {one.rule}" for one in recorded(setting)}

    def with_feedback(gold: dspy.Example, pred: dspy.Prediction, *_: Any) -> dspy.Prediction:
        value = score(gold, pred)
        said = "Right." if value else f"Wrong: the answer is {task.gold(gold)!r}."
        return dspy.Prediction(score=value, feedback=f"{said} {reasons.get(task.text(gold), '')}".strip())

    return with_feedback


def teacher_settings(setting: Setting) -> dict[str, Any] | None:
    """Return what DSPy's optimizers take for the teacher to answer in place of the student; None without a teacher."""
    return {"lm": setting.teacher} if setting.teacher else None


def recorded(setting: Setting) -> list[MicroRule]:
    """Return the recorded micro-rules of the setting."""
    given = setting.rationales or ()
    return read_jsonl(Path(given), MicroRule) if isinstance(given, (str, Path)) else list(given)
