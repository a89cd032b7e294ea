"""Offsets: one number per label, added to its log-probability before the largest decides; and matching by them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field, model_validator
from scipy.special import softmax

from ..errors import Stored
from .difference import Difference
from .f1 import Floats, Ints

ROUNDS = 50  # after which matching offsets are stable to three digits
LEAST = -600.0  # log-probabilities further below a row's largest are raised to it: 0 cannot be scaled


class Offsets(Stored):
    """Per-label offsets and a temperature, by which the sums of log-probability (natural) and offset are divided."""

    labels: tuple[str, ...]
    values: tuple[float, ...]
    temperature: float = Field(default=1.0, gt=0.0)  # over 1 where the student is too sure of itself
    gain: Difference | None = None  # on examples that the offsets were not fitted on; None for offsets set by hand

    @model_validator(mode="after")
    def _one_value_per_label(self) -> Offsets:
        if len(self.values) != len(self.labels) or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"{len(self.values)} offsets do not go with the labels {', '.join(self.labels)}")
        return self

    @classmethod
    def none(cls, labels: Sequence[str], *, temperature: float = 1.0) -> Offsets:
        """Return offsets of 0, which change no decision."""
        return cls(labels=tuple(labels), values=(0.0,) * len(labels), temperature=temperature)

    def probabilities(self, logprobs: Floats) -> Floats:
        """Return the calibrated probabilities of n x C log-probabilities; rows of NaN stay so."""
        return np.asarray(softmax((np.asarray(logprobs) + self.values) / self.temperature, axis=-1))

    def decide(self, logprobs: Floats) -> list[str | None]:
        """Return the label of each row of n x C log-probabilities; None for a row of NaN."""
        sums = np.asarray(logprobs) + self.values
        return [None if np.isnan(row).any() else self.labels[int(row.argmax())] for row in sums]

    def answer(self, logprobs: Floats, own: Sequence[str | None]) -> tuple[list[str | None], Floats]:
        """Return n labels under these offsets, and n confidences (calibrated probabilities), NaN where unknown.

        The student's ``own`` answers stay where all offsets are 0, and where a row of the n x C ``logprobs`` is NaN.
        """
        labels = replace_answers(own, self.decide(logprobs)) if any(self.values) else list(own)
        rows = self.probabilities(logprobs)
        confidence = [
            math.nan if label is None else row[self.labels.index(label)]
            for label, row in zip(labels, rows, strict=True)
        ]
        return labels, np.array(confidence, dtype=np.float64)


def replace_answers(own: Sequence[str | None], decisions: Sequence[str | None]) -> list[str | None]:
    """Return n decisions in place of a student's own answers; its own where there is no decision or no answer."""
    return [before if None in (before, after) else after for before, after in zip(own, decisions, strict=True)]


def match(logprobs: Floats, shares: Floats, *, rounds: int = ROUNDS) -> Floats:
    """Return the ... x C offsets under which the mean probability of each label is its share.

    Rows of NaN in the ... x m x C ``logprobs`` are left out. The offset is 0 for the commonest label and for those of
    share 0, and for all labels where no row remains. ``shares`` sum to 1.

    Source: prior matching, Liusie, Manakul & Gales 2023, "Mitigating word bias in zero-shot prompt-based
    classifiers"; the iteration is that of iterative proportional fitting.
    """
    values = np.asarray(logprobs, dtype=float)
    known = ~np.isnan(values).any(axis=-1, keepdims=True)
    values = np.where(known, values, 0.0)
    weights = np.exp(np.maximum(values - values.max(axis=-1, keepdims=True), LEAST))
    each = known / np.maximum(known.sum(axis=-2, keepdims=True), 1)
    given, some = shares > 0, known.any(axis=-2, keepdims=True)
    factor = np.ones((*values.shape[:-2], 1, len(shares)))
    for _ in range(rounds):
        sums = weights * factor
        means = (sums * (each / sums.sum(axis=-1, keepdims=True))).sum(axis=-2, keepdims=True)
        factor = np.where(given & some, factor * shares / np.maximum(means, np.finfo(float).tiny), 1.0)
    offsets = np.log(factor[..., 0, :])
    return np.asarray(np.where(given, offsets - offsets[..., [int(shares.argmax())]], 0.0))


def match_gold(logprobs: Floats, gold: Ints) -> Floats:
    """Return the offsets under which m x C ``logprobs`` answer each label as often as it is right in ``gold``.

    Only the frequency of each label is fitted, not single answers, so a few dozen examples are enough.
    """
    return match(logprobs, np.bincount(gold, minlength=np.shape(logprobs)[1]) / len(gold))
