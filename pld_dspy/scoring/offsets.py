"""Offsets: one number a label, added to its log-probability before the largest one decides."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import minimize_scalar

from ..errors import DataError
from ..task.labels import LABEL_LOGPROBS
from .ascent import ascend
from .difference import Difference, difference
from .f1 import Floats, Ints
from .matching import match_gold

logger = logging.getLogger(__name__)

Fit = Callable[[Floats, Ints], Floats]
"""n x C log-probabilities and n numbers of gold labels -> C offsets."""

FOLDS = 5
TEMPERATURES = (0.05, 20.0)
_STANDARD_ERRORS = 2 * 1.96
"""Standard errors in the width of a 95% interval."""


class Offsets(BaseModel):
    """Per-label offsets and a temperature, as plain data.

    Attributes:
        labels: the label set.
        values: of each label, what to add to its log-probability (natural logarithms).
        temperature: what to divide the sums by before they are read as log-probabilities; over 1 where the student
            is too sure of itself.
        gain: macro-F1 that the offsets win on examples they were not fitted on; None for offsets set by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    values: tuple[float, ...]
    temperature: float = Field(default=1.0, gt=0.0)
    gain: Difference | None = None

    @model_validator(mode="after")
    def _one_value_a_label(self) -> Offsets:
        if len(self.values) != len(self.labels) or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"{len(self.values)} offsets do not go with the labels {', '.join(self.labels)}")
        return self

    @classmethod
    def none(cls, labels: Sequence[str], *, temperature: float = 1.0) -> Offsets:
        """Return offsets of 0, which change no decision."""
        return cls(labels=tuple(labels), values=(0.0,) * len(labels), temperature=temperature)

    def probabilities(self, logprobs: Floats) -> Floats:
        """Return the calibrated probabilities of n x C log-probabilities; rows of NaN stay so."""
        sums = (np.asarray(logprobs) + self.values) / self.temperature
        weights = np.exp(sums - sums.max(axis=-1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))

    def decide(self, logprobs: Floats) -> list[str | None]:
        """Return the label of each row of n x C log-probabilities; None for a row of NaN."""
        sums = np.asarray(logprobs) + self.values
        return [None if np.isnan(row).any() else self.labels[int(row.argmax())] for row in sums]

    def answer(self, logprobs: Floats, own: Sequence[str | None]) -> tuple[list[str | None], Floats]:
        """Return what a student answers with these offsets, and its confidence.

        Args:
            logprobs: n x C log-probabilities.
            own: the student's own n answers. They stand where all offsets are 0, and where a row is NaN.

        Returns:
            n labels, None where the student gave none; and n confidences, the softmax with the temperature of the
            sums at the label, NaN where a label or a row is missing.
        """
        moved = self.decide(logprobs) if any(self.values) else list(own)
        labels = settled(own, moved)
        rows = self.probabilities(logprobs)
        confidence = [
            math.nan if label is None else row[self.labels.index(label)]
            for label, row in zip(labels, rows, strict=True)
        ]
        return labels, np.array(confidence, dtype=np.float64)


def settled(own: Sequence[str | None], moved: Sequence[str | None]) -> list[str | None]:
    """Return n moved labels; a student's own where nothing was moved, and None where it gave no label."""
    return [before if None in (before, after) else after for before, after in zip(own, moved, strict=True)]


def logprob_matrix(predictions: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Floats:
    """Return the ``label_logprobs`` of n predictions as n x C; a row of NaN for a prediction without them.

    Args:
        predictions: predictions of a program under ``LabelAdapter(logprobs=True)``, or their outputs as dicts.
        labels: C labels, in the order of the columns.
    """
    rows = [prediction.get(LABEL_LOGPROBS) or {} for prediction in predictions]
    matrix = [[row.get(label, math.nan) for label in labels] for row in rows]
    return np.array(matrix, dtype=np.float64).reshape(len(rows), len(labels))


def fit_offsets(
    logprobs: Floats,
    golds: Sequence[str],
    labels: Sequence[str],
    *,
    answers: Sequence[str | None] | None = None,
    folds: int = FOLDS,
    tolerance: float | None = None,
    seed: int = 0,
) -> Offsets | None:
    """Fit offsets under which the largest log-probability makes the best macro-F1; keep them only if they pay.

    They are fitted in two ways, of which the one is kept that does better on examples it was not fitted on: matching
    (see ``match``), for which few examples are enough, and ascent of macro-F1 itself, which knows more.

    Args:
        logprobs: n x C log-probabilities; a row of NaN (no answer) counts as wrong.
        golds: n gold labels.
        labels: C labels.
        answers: what the student answered, which the offsets must beat; the labels of largest log-probability where
            None.
        folds: parts of the check.
        tolerance: macro-F1 that an offset must win in the ascent for being larger than another; 1/n, about one example,
            where None.
        seed: of the order of labels, the folds and the bootstrap.

    Returns:
        Offsets, of which the commonest gold label's is 0. None where they do not pay: where there are fewer than two
        examples a fold or only one gold label, or where the check fails. The check: examples are dealt into ``folds``
        parts, label by label; each part is decided by offsets that were fitted on the other parts; and these decisions
        must beat ``answers`` by more than the standard error of the difference.

        The temperature is fitted on the same out-of-fold sums: it is to hold for examples that offsets have not seen.

    Raises:
        DataError: sizes disagree, or a gold label is not in the label set.

    Source: what additive corrections of label log-probabilities are for, Zhao et al. 2021, "Calibrate before use"
    (contextual calibration), who estimate them without labels; offsets chosen by the objective, as thresholds for F1
    are, Lipton et al. 2014, "Thresholding classifiers to maximize F1 score"; the margin of one standard error,
    Breiman et al. 1984, "Classification and regression trees".
    """
    found = fit_out_of_fold(logprobs, golds, labels, answers=answers, folds=folds, tolerance=tolerance, seed=seed)
    return None if found is None else found[0]


def fit_out_of_fold(
    logprobs: Floats,
    golds: Sequence[str],
    labels: Sequence[str],
    *,
    answers: Sequence[str | None] | None = None,
    folds: int = FOLDS,
    tolerance: float | None = None,
    seed: int = 0,
) -> tuple[Offsets, Floats] | None:
    """Fit offsets as ``fit_offsets`` does, and return besides what they come to on examples that they did not see.

    Returns:
        The offsets, and n x C sums: the log-probabilities of each example plus offsets that were fitted on the folds
        it is not in. None where offsets do not pay.

    Raises:
        DataError: as ``fit_offsets``.
    """
    scores, gold = _checked(logprobs, golds, labels)
    slack = 1 / len(golds) if tolerance is None else tolerance
    if len(golds) < 2 * folds or len(set(golds)) < 2:
        return None
    ways: list[Fit] = [match_gold, partial(ascend, tolerance=slack, seed=seed)]
    plain = Offsets.none(labels)
    before = plain.decide(scores) if answers is None else answers
    unseen = [_out_of_fold(scores, gold, fit, folds=folds, seed=seed) for fit in ways]
    gains = [difference(golds, before, plain.decide(sums), labels, seed=seed) for sums in unseen]
    best = max(range(len(ways)), key=lambda way: gains[way].macro_f1)
    if not _pays(gains[best]):
        return None
    offsets = Offsets(
        labels=tuple(labels),
        values=tuple(ways[best](scores, gold).tolist()),
        temperature=fit_temperature(unseen[best], golds, labels),
        gain=gains[best],
    )
    return offsets, unseen[best]


def fit_temperature(logprobs: Floats, golds: Sequence[str], labels: Sequence[str]) -> float:
    """Return the temperature under which the gold labels are likeliest; between 0.05 and 20.

    Args:
        logprobs: n x C log-probabilities, or sums with offsets; rows of NaN are left out.
        golds: n gold labels.
        labels: C labels.

    Raises:
        DataError: sizes disagree, a gold label is not in the label set, or no row has log-probabilities.

    Source: Guo et al. 2017, "On calibration of modern neural networks".
    """
    scores, gold = _checked(logprobs, golds, labels)
    known = ~np.isnan(scores).any(axis=1)
    if not known.any():
        raise DataError("No prediction has log-probabilities. Ask for them with LabelAdapter(logprobs=True).")
    scores, gold = scores[known], gold[known]

    def loss(log_temperature: float) -> float:
        sums = scores / math.exp(log_temperature)
        return float(np.mean(np.logaddexp.reduce(sums, axis=1) - sums[np.arange(len(gold)), gold]))

    bounds = tuple(math.log(temperature) for temperature in TEMPERATURES)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _pays(gain: Difference) -> bool:
    """Whether a gain is over its standard error: a fourth, roughly, of its 95% interval.

    Without the margin, offsets would be kept half the time when nothing is to be won; a whole interval would ask more
    than 100 or 200 examples can show, for an estimate that is honest as it is.
    """
    margin = (gain.interval[1] - gain.interval[0]) / _STANDARD_ERRORS
    if gain.macro_f1 <= margin:
        logger.info("Offsets change out-of-fold macro-F1 by %+.3f, not over %.3f: left out.", gain.macro_f1, margin)
    return gain.macro_f1 > margin


def _out_of_fold(scores: Floats, gold: Ints, fit: Fit, *, folds: int, seed: int) -> Floats:
    """Each example's log-probabilities with the offsets of the folds that it is not in."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(gold), dtype=np.int64)
    fold[np.lexsort((rng.random(len(gold)), gold))] = np.arange(len(gold)) % folds  # deals each label in turn
    sums = np.empty_like(scores)
    for number in range(folds):
        inside = fold == number
        sums[inside] = scores[inside] + fit(scores[~inside], gold[~inside])
    return sums


def _checked(logprobs: Floats, golds: Sequence[str], labels: Sequence[str]) -> tuple[Floats, Ints]:
    scores = np.asarray(logprobs, dtype=np.float64)
    if scores.shape != (len(golds), len(labels)):
        raise DataError(
            f"Log-probabilities of shape {scores.shape} do not go with {len(golds)} gold labels and {len(labels)} "
            "labels. Give one row an example and one column a label."
        )
    number = {label: place for place, label in enumerate(labels)}
    unknown = [gold for gold in golds if gold not in number]
    if unknown:
        raise DataError(f"The gold label {unknown[0]!r} is not one of {', '.join(labels)}. Correct it.")
    return scores, np.array([number[gold] for gold in golds], dtype=np.int64)
