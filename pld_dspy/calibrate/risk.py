"""What confidences are worth: risk against coverage, reliability, calibration error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from ..scoring.f1 import Floats

Bools = NDArray[np.bool_]


def are_right(labels: Sequence[str | None], golds: Sequence[str]) -> Bools:
    """Return whether each of n labels is the gold one."""
    return np.array([label == gold for label, gold in zip(labels, golds, strict=True)], dtype=np.bool_)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, Floats]:
    """Return (coverage, risk) per distinct confidence from the highest down: the answers' share and error rate.

    Source: El-Yaniv & Wiener 2010, "On the foundations of noise-free selective classification".
    """
    _, taken, errors = by_confidence(confidence, correct)
    return taken / taken[-1], errors / taken


def error_at(confidence: ArrayLike, correct: ArrayLike, *, coverage: float) -> float:
    """Return the error rate among the most confident answers that make up at least ``coverage`` (over 0, up to 1)."""
    shares, risks = risk_coverage(confidence, correct)
    return float(risks[np.searchsorted(shares, coverage - 1e-9)])


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
