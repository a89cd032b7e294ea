"""A promise on errors: the threshold that a wanted error rate asks for, and how much is answered with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..scoring.f1 import Floats
from .result import Abstention, Answered
from .risk import DELTA, Bools, check_rate, threshold_for


@dataclass(frozen=True)
class Decisions:
    """What a student decided on n examples.

    Attributes:
        confidence: n confidences, 0 to 1; NaN where an answer has none.
        right: n times whether the answer is right.
    """

    confidence: Floats
    right: Bools

    @classmethod
    def of(cls, labels: Sequence[str | None], golds: Sequence[str], confidence: Sequence[float] | Floats) -> Decisions:
        """Return the decisions of n labels, None for a failed answer, on n gold labels."""
        right = [label == gold for label, gold in zip(labels, golds, strict=True)]
        return cls(np.asarray(confidence, dtype=np.float64), np.array(right, dtype=np.bool_))

    def first(self, n: int) -> Decisions:
        """Return the first ``n`` of them."""
        return Decisions(self.confidence[:n], self.right[:n])


def check_error_rate(error_rate: float | None, *, calibrate: bool) -> None:
    """Refuse a wanted error rate that no compile can serve.

    Raises:
        DataError: it is not over 0 and under 1, or nothing is to be calibrated.
    """
    if error_rate is None:
        return
    check_rate("error_rate", error_rate)
    if not calibrate:
        raise DataError(
            f"error_rate={error_rate} needs confidences, and calibrate is off. Turn it on (calibrate=True, "
            "--calibrate), or leave out the error rate."
        )


def promise(unseen: Decisions, *, n_val: int, error_rate: float, test: Decisions | None) -> Abstention:
    """Choose the threshold for a wanted error rate, and count what it leaves answered.

    What the promise of ``threshold_for`` is worth here: it is made with delta 0.05, and rests on all training and
    validation examples, each with the confidence under offsets that were fitted on the other folds. So no example had
    a part in the offsets that decide it here. It had one in three other things: the rules, which were made from
    training examples and chosen by validation ones; the temperature, one number; and whether offsets are kept, and
    fitted in which of two ways. Where the rules fit these examples better than new ones, more of the new answers are
    wrong than promised. And what is applied in the end are the offsets of all examples together, which differ a
    little from those of each fold. So the 95% are not a guarantee for the compiled program: they set the threshold,
    and the test set, which nothing saw, is the check of it.

    Args:
        unseen: out-of-fold decisions on validation examples, then on training examples; those without a confidence
            are left out of the choice, as the student abstains from them.
        n_val: how many of these are validation examples.
        error_rate: the highest to accept among what is answered, over 0 and under 1.
        test: decisions on the test set; None without one.

    Raises:
        DataError: the error rate is out of range.
    """
    check_rate("error_rate", error_rate)
    known = ~np.isnan(unseen.confidence)
    threshold = None
    if known.any():
        threshold = threshold_for(
            unseen.confidence[known].tolist(), unseen.right[known].tolist(), error_rate=error_rate, delta=DELTA
        )
    return Abstention(
        error_rate=error_rate,
        delta=DELTA,
        n=int(known.sum()),
        threshold=threshold,
        validation=answered(unseen.first(n_val), threshold),
        test=None if test is None else answered(test, threshold),
    )


def answered(decisions: Decisions, threshold: float | None) -> Answered:
    """Count what ``Calibrated`` answers with a threshold, None for none, and what of it is wrong."""
    wrong = ~decisions.right
    # A comparison with NaN is false: without a confidence, nothing vouches for an answer.
    taken = np.ones_like(wrong) if threshold is None else decisions.confidence >= threshold
    n, count, errors = len(wrong), int(taken.sum()), int((taken & wrong).sum())
    return Answered(
        n=n,
        n_wrong=int(wrong.sum()),
        answered=count,
        wrong=errors,
        coverage=count / n,
        error_rate=errors / count if count else None,
    )
