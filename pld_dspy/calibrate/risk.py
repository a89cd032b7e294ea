"""How far to trust confidences: risk against coverage, a threshold with a bound, reliability, calibration error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from ..errors import DataError
from ..scoring.f1 import Floats

Bools = NDArray[np.bool_]

LOOKS = 10
"""Thresholds that ``threshold_for`` chooses among."""

DELTA = 0.05
"""The probability with which a promise may fail, where nothing else is said."""


def risk_coverage(confidence: Sequence[float], correct: Sequence[bool]) -> tuple[Floats, Floats]:
    """Return (coverage, risk): of the most confident answers, their share and the error rate among them.

    Args:
        confidence: n confidences, in any order; answers of equal confidence are taken together.
        correct: n times whether the answer is right.

    Returns:
        Two arrays, one entry a distinct confidence, from the highest down; coverage rises to 1, risk ends at the
        error rate of all answers.

    Raises:
        DataError: there are no answers, sizes disagree, or a confidence is missing.

    Source: El-Yaniv & Wiener 2010, "On the foundations of noise-free selective classification".
    """
    _, taken, errors = _steps(confidence, correct)
    return taken / taken[-1], errors / taken


def error_at(confidence: Sequence[float], correct: Sequence[bool], *, coverage: float) -> float:
    """Return the error rate among the most confident answers that make up at least ``coverage`` of all (0 to 1).

    Raises:
        DataError: as ``risk_coverage``, or ``coverage`` is not in (0, 1].
    """
    if not 0.0 < coverage <= 1.0:
        raise DataError(f"coverage={coverage} is no share of the answers. Give one over 0, up to 1.")
    shares, risks = risk_coverage(confidence, correct)
    return float(risks[np.searchsorted(shares, coverage - 1e-9)])


def threshold_for(
    confidence: Sequence[float], correct: Sequence[bool], *, error_rate: float, delta: float = DELTA
) -> float | None:
    """Return the confidence from which on answers err at most at ``error_rate``, with probability 1 - ``delta``.

    Thresholds that take in a tenth, two tenths, ... all of the answers are looked at, and the lowest is returned whose
    one-sided Clopper-Pearson bound on the error rate holds. The ten looks share ``delta`` equally (Bonferroni), so
    that having chosen among them costs nothing of the promise. It holds for new examples like these, if neither the
    rules nor the offsets were fitted on these.

    Args:
        confidence: n confidences of held-out answers.
        correct: n times whether the answer is right.
        error_rate: the highest error rate to accept, over 0 and under 1.
        delta: the probability with which the promise may fail, over 0 and under 1.

    Returns:
        The threshold, itself taken in; None where none of them can promise the error rate. With delta 0.05, answers
        without any error promise 5% from 104 of them on, and 10% from 51 on.

    Raises:
        DataError: as ``risk_coverage``, or a rate is out of range.

    Source: Geifman & El-Yaniv 2017, "Selective classification for deep neural networks" (selection with guaranteed
    risk). Their binary search takes the bound to rise with coverage; of few answers, it falls first.
    """
    check_rate("error_rate", error_rate)
    check_rate("delta", delta)
    thresholds, taken, errors = _steps(confidence, correct)
    wanted = taken[-1] * np.arange(LOOKS, 0, -1) / LOOKS
    for step in np.searchsorted(taken, wanted - 1e-9):
        if _highest_rate(int(errors[step]), int(taken[step]), delta / LOOKS) <= error_rate:
            return float(thresholds[step])
    return None


def fewest_answers(*, error_rate: float, delta: float = DELTA) -> int:
    """Return how many answers without any error it takes for ``threshold_for`` to promise ``error_rate``.

    Raises:
        DataError: a rate is out of range.
    """
    check_rate("error_rate", error_rate)
    check_rate("delta", delta)
    return math.ceil(math.log(delta / LOOKS) / math.log1p(-error_rate))


def check_rate(name: str, value: float) -> None:
    """Refuse a rate that is not over 0 and under 1.

    Raises:
        DataError: it is not; the message calls it ``name``.
    """
    if not 0.0 < value < 1.0:
        raise DataError(f"{name}={value} is out of range. Give one over 0 and under 1.")


def reliability(
    confidence: Sequence[float], correct: Sequence[bool], *, bins: int = 10
) -> tuple[Floats, Floats, Floats]:
    """Return (confidence, accuracy, n) of ``bins`` equal ranges of confidence; those without an answer are left out.

    Args:
        confidence: n confidences, in any order.
        correct: n times whether the answer is right.
        bins: ranges that 0 to 1 is cut into.

    Returns:
        Three arrays, one entry a range, from the lowest up: the mean confidence, the share of right answers, and how
        many answers there are.

    Raises:
        DataError: as ``risk_coverage``.

    Source: the reliability diagram, Niculescu-Mizil & Caruana 2005, "Predicting good probabilities with supervised
    learning".
    """
    sure, right = _checked(confidence, correct)
    place = np.clip((sure * bins).astype(np.int64), 0, bins - 1)
    _, place, counts = np.unique(place, return_inverse=True, return_counts=True)
    n = counts.astype(np.float64)
    return np.bincount(place, weights=sure) / n, np.bincount(place, weights=right) / n, n


def expected_calibration_error(confidence: Sequence[float], correct: Sequence[bool], *, bins: int = 10) -> float:
    """Return the mean distance of confidence and accuracy over ``bins`` equal ranges of confidence, by their answers.

    0 is perfect; a student that is always sure and right half the time has 0.5.

    Raises:
        DataError: as ``risk_coverage``.

    Source: Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning"; Guo et al. 2017.
    """
    sure, right, n = reliability(confidence, correct, bins=bins)
    return float((n * np.abs(sure - right)).sum() / n.sum())


def _steps(confidence: Sequence[float], correct: Sequence[bool]) -> tuple[Floats, Floats, Floats]:
    """Distinct confidences from the highest down; the answers at or above each, and the errors among them."""
    sure, right = _checked(confidence, correct)
    thresholds, place = np.unique(-sure, return_inverse=True)
    taken = np.cumsum(np.bincount(place)).astype(np.float64)
    errors = np.cumsum(np.bincount(place, weights=~right)).astype(np.float64)
    return -thresholds, taken, errors


def _highest_rate(errors: int, n: int, delta: float) -> float:
    """The one-sided upper Clopper-Pearson bound of an error rate."""
    return 1.0 if errors == n else float(beta.ppf(1 - delta, errors + 1, n - errors))


def _checked(confidence: Sequence[float], correct: Sequence[bool]) -> tuple[Floats, Bools]:
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise DataError(
            f"{sure.size} confidences do not go with {right.size} answers. Give one of either an answer, and at least "
            "one answer."
        )
    if np.isnan(sure).any():
        raise DataError(f"Answer {int(np.isnan(sure).argmax())} has no confidence. Leave it out.")
    return sure, right
