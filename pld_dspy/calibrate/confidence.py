"""What confidences are worth: risk against coverage, reliability, and a threshold for a wanted error rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from ..errors import DataError
from ..scoring.f1 import Floats
from .calibration import Abstention, Answered

Bools = NDArray[np.bool_]

LOOKS = 10  # thresholds that are tried
DELTA = 0.05  # the probability with which the bound on the error rate may fail, unless another one is given


def are_right(labels: Sequence[str | None], golds: Sequence[str]) -> Bools:
    """Return whether each of n labels is the gold one."""
    return np.array([label == gold for label, gold in zip(labels, golds, strict=True)], dtype=np.bool_)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """Return (coverage, risk) per distinct confidence from the highest down: the answers' share and error rate.

    Source: El-Yaniv & Wiener 2010, "On the foundations of noise-free selective classification".
    """
    _, taken, errors = by_confidence(confidence, correct)
    return taken / taken[-1], errors / taken


def reliability(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 10) -> tuple[Floats, Floats, Floats]:
    """Return (mean confidence, share of right answers, n) of ``bins`` equal ranges of confidence, from the lowest up.

    Ranges without an answer are left out. Source: the reliability diagram, Niculescu-Mizil & Caruana 2005, "Predicting
    good probabilities with supervised learning".
    """
    sure, right = _checked(confidence, correct)
    place = np.clip((sure * bins).astype(np.int64), 0, bins - 1)
    _, place, counts = np.unique(place, return_inverse=True, return_counts=True)
    n = counts.astype(np.float64)
    return np.bincount(place, weights=sure) / n, np.bincount(place, weights=right) / n, n


def expected_calibration_error(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 10) -> float:
    """Return the mean distance of confidence and accuracy over ranges of confidence, weighted by their answers.

    Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017.
    """
    sure, right, n = reliability(confidence, correct, bins=bins)
    return float((n * np.abs(sure - right)).sum() / n.sum())


def by_confidence(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return the distinct confidences from the highest down, the answers at or above each, and the errors in these."""
    sure, right = _checked(confidence, correct)
    thresholds, place = np.unique(-sure, return_inverse=True)
    taken = np.cumsum(np.bincount(place)).astype(np.float64)
    errors = np.cumsum(np.bincount(place, weights=~right)).astype(np.float64)
    return -thresholds, taken, errors


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Bools]:
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise DataError(
            f"{sure.size} confidences do not go with {right.size} answers. Give one confidence per answer, and at "
            "least one answer."
        )
    if np.isnan(sure).any():
        raise DataError(f"Answer {int(np.isnan(sure).argmax())} has no confidence. Leave it out.")
    return sure, right


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


def fewest_answers(error_rate: float) -> int:
    """Return how many answers, all right, ``threshold_for`` needs."""
    return math.ceil(math.log(DELTA / LOOKS) / math.log1p(-error_rate))


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
