"""Fitting offsets and temperatures to a student's label log-probabilities."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.optimize import minimize_scalar

from ..errors import DataError
from ..scoring.difference import difference
from ..scoring.f1 import Floats, Ints
from ..scoring.offsets import Offsets, match_gold
from .ascent import ascend

logger = logging.getLogger(__name__)

Fit = Callable[[Floats, Ints], Floats]
"""n x C log-probabilities and n numbers of gold labels -> C offsets."""

FOLDS = 5
TEMPERATURES = (0.05, 20.0)


def fit_offsets(
    logprobs: Floats,
    golds: Sequence[str],
    labels: Sequence[str],
    *,
    answers: Sequence[str | None] | None = None,
    seed: int = 0,
) -> Offsets | None:
    """Fit offsets under which the largest log-probability makes the best macro-F1; keep them only if they pay.

    They are fitted in two ways: by matching how often each label is answered to how often it is right, for which few
    examples are enough, and by ascent on macro-F1 itself. The way that does better on unseen examples is kept.

    Args:
        logprobs: n x C log-probabilities; a row of NaN (no answer) counts as wrong.
        golds: n gold labels.
        labels: C labels.
        answers: the student's own answers, which the offsets must beat; the labels of largest log-probability where
            None.
        seed: of the order of labels, the folds and the bootstrap.

    Returns:
        Offsets; that of the commonest gold label is 0. None for fewer than two examples per fold, for a single gold
        label, and where the offsets do not pay: examples are dealt into five folds, label by label; each fold is
        decided with offsets fitted on the others; and these decisions must beat ``answers`` by more than the standard
        error of the difference. The temperature is fitted on the same out-of-fold sums.

    Raises:
        DataError: sizes disagree, or a gold label is not in the label set.

    Source: additive corrections of label log-probabilities, Zhao et al. 2021, "Calibrate before use"; offsets chosen
    by the objective, Lipton et al. 2014, "Thresholding classifiers to maximize F1 score"; the margin of one standard
    error, Breiman et al. 1984, "Classification and regression trees".
    """
    fit = fit_out_of_fold(logprobs, golds, labels, answers=answers, seed=seed)
    return None if fit is None else fit[0]


def fit_out_of_fold(
    logprobs: Floats,
    golds: Sequence[str],
    labels: Sequence[str],
    *,
    answers: Sequence[str | None] | None = None,
    seed: int = 0,
) -> tuple[Offsets, Floats] | None:
    """Fit as ``fit_offsets`` does; return the n x C sums of log-probabilities and out-of-fold offsets too."""
    scores, gold = _checked(logprobs, golds, labels)
    if len(golds) < 2 * FOLDS or len(set(golds)) < 2:
        return None
    ways: list[Fit] = [match_gold, partial(ascend, tolerance=1 / len(golds), seed=seed)]
    plain = Offsets.none(labels)
    before = plain.decide(scores) if answers is None else answers
    unseen = [_out_of_fold(scores, gold, fit, seed=seed) for fit in ways]
    gains = [difference(golds, before, plain.decide(sums), labels, seed=seed) for sums in unseen]
    best = max(range(len(ways)), key=lambda way: gains[way].macro_f1)
    if not gains[best].pays:
        logger.info("Offsets change out-of-fold macro-F1 by %+.3f only: left out.", gains[best].macro_f1)
        return None
    offsets = Offsets(
        labels=tuple(labels),
        values=tuple(ways[best](scores, gold).tolist()),
        temperature=fit_temperature(unseen[best], golds, labels),
        gain=gains[best],
    )
    return offsets, unseen[best]


def fit_temperature(logprobs: Floats, golds: Sequence[str], labels: Sequence[str]) -> float:
    """Return the temperature, 0.05 to 20, under which the gold labels are likeliest; rows of NaN are left out.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    scores, gold = _checked(logprobs, golds, labels)
    known = ~np.isnan(scores).any(axis=1)
    scores, gold = scores[known], gold[known]

    def loss(log_temperature: float) -> float:
        sums = scores / math.exp(log_temperature)
        return float(np.mean(np.logaddexp.reduce(sums, axis=1) - sums[np.arange(len(gold)), gold]))

    bounds = tuple(math.log(temperature) for temperature in TEMPERATURES)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _out_of_fold(scores: Floats, gold: Ints, fit: Fit, *, seed: int) -> Floats:
    """Return each example's log-probabilities plus the offsets fitted on the folds that it is not in."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(gold), dtype=np.int64)
    fold[np.lexsort((rng.random(len(gold)), gold))] = np.arange(len(gold)) % FOLDS  # deals each label in turn
    sums = np.empty_like(scores)
    for number in range(FOLDS):
        inside = fold == number
        sums[inside] = scores[inside] + fit(scores[~inside], gold[~inside])
    return sums


def _checked(logprobs: Floats, golds: Sequence[str], labels: Sequence[str]) -> tuple[Floats, Ints]:
    scores = np.asarray(logprobs, dtype=np.float64)
    if scores.shape != (len(golds), len(labels)):
        raise DataError(
            f"Log-probabilities of shape {scores.shape} do not go with {len(golds)} gold labels and {len(labels)} "
            "labels. Give one row per example and one column per label."
        )
    number = {label: place for place, label in enumerate(labels)}
    unknown = [gold for gold in golds if gold not in number]
    if unknown:
        raise DataError(f"The gold label {unknown[0]!r} is not one of {', '.join(labels)}. Correct it.")
    return scores, np.array([number[gold] for gold in golds], dtype=np.int64)
