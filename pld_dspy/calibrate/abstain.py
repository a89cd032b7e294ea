"""Abstaining: the confidence below which a student should not answer, for a wanted error rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from ..errors import DataError
from ..scoring.f1 import Floats
from .calibration import Abstention, Answered
from .risk import Bools, by_confidence

LOOKS = 10  # thresholds that are tried
DELTA = 0.05  # the probability with which the bound on the error rate may fail, unless another one is given


def threshold_for(
    confidence: ArrayLike, correct: ArrayLike, *, error_rate: float, delta: float = DELTA
) -> float | None:
    """Return the confidence from which on answers err at most at ``error_rate``, with probability 1 - ``delta``.

    Thresholds with a tenth, two tenths, ... all of the answers at or above them are tried, and the lowest is returned
    whose one-sided Clopper-Pearson bound on the error rate holds. The ten share ``delta`` equally (Bonferroni), so that
    choosing among them leaves the bound valid. It holds for new examples like these, if neither the rules nor the
    offsets were fitted on these. None where no threshold keeps the error rate: with delta 0.05, 5% takes at least 104
    answers, all right, and 10% takes 51.

    Source: Geifman & El-Yaniv 2017, "Selective classification for deep neural networks" (selection with guaranteed
    risk). Their binary search assumes that the bound rises with coverage; with few answers, it falls first.
    """
    thresholds, taken, errors = by_confidence(confidence, correct)
    steps = np.searchsorted(taken, taken[-1] * np.arange(LOOKS, 0, -1) / LOOKS - 1e-9)
    bounds = beta.ppf(1 - delta / LOOKS, errors[steps] + 1, taken[steps] - errors[steps])  # NaN where all are wrong
    kept = steps[bounds <= error_rate]
    return float(thresholds[kept[0]]) if len(kept) else None


def fewest_answers(*, error_rate: float, delta: float = DELTA) -> int:
    """Return how many answers, all right, ``threshold_for`` needs."""
    return math.ceil(math.log(delta / LOOKS) / math.log1p(-error_rate))


def check_error_rate(error_rate: float | None, *, calibrate: bool) -> None:
    """Raise DataError for a wanted error rate out of range, or where nothing is to be calibrated."""
    if error_rate is None:
        return
    if not 0.0 < error_rate < 1.0:
        raise DataError(f"error_rate={error_rate} is out of range. Give one over 0 and under 1.")
    if not calibrate:
        raise DataError(
            f"error_rate={error_rate} needs confidences, and calibrate is off. Turn it on (calibrate=True, "
            "--calibrate), or leave out the error rate."
        )


def choose_threshold(confidence: Floats, right: Bools, *, n_val: int, error_rate: float) -> Abstention:
    """Choose the threshold for a wanted error rate, and count what of the first ``n_val`` answers stays answered.

    The bound of ``threshold_for`` is no guarantee for the compiled program, although each example has the confidence
    under offsets fitted on other folds: the rules were made from the training examples and chosen on the validation
    ones, and the temperature was fitted on all of them. Where rules fit these examples better than new ones, more of
    the new answers are wrong than the bound says. So the bound sets the threshold, and the test set checks it.
    """
    known = ~np.isnan(confidence)
    threshold = threshold_for(confidence[known], right[known], error_rate=error_rate) if known.any() else None
    return Abstention(
        error_rate=error_rate,
        delta=DELTA,
        n=int(known.sum()),
        threshold=threshold,
        validation=count_answered(confidence[:n_val], right[:n_val], threshold),
    )


def count_answered(confidence: Floats, right: Bools, threshold: float | None) -> Answered:
    """Count what is answered with a threshold (None: everything) and what of it is wrong; NaN is under any."""
    wrong = ~right
    taken = np.ones_like(wrong) if threshold is None else confidence >= threshold  # False for NaN
    n, count, errors = len(wrong), int(taken.sum()), int((taken & wrong).sum())
    return Answered(
        n=n,
        n_wrong=int(wrong.sum()),
        answered=count,
        wrong=errors,
        coverage=count / n,
        error_rate=errors / count if count else None,
    )
