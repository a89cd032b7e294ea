"""Offsets: one number per label, added to the label's log-probability before the largest one decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import softmax

from ..task.labels import LABEL_LOGPROBS
from .difference import Difference
from .f1 import Floats


class Offsets(BaseModel):
    """Per-label offsets and a temperature, as plain data.

    Attributes:
        labels: the label set.
        values: what to add to each label's log-probability (natural logarithms).
        temperature: the sums are divided by it before they are read as log-probabilities; over 1 where the student
            is too sure of itself.
        gain: macro-F1 that the offsets win on examples they were not fitted on; None for offsets set by hand.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[str, ...]
    values: tuple[float, ...]
    temperature: float = Field(default=1.0, gt=0.0)
    gain: Difference | None = None

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
        """Return what a student answers with these offsets, and its confidence.

        Args:
            logprobs: n x C log-probabilities.
            own: the student's own n answers. They stay where all offsets are 0, and where a row is NaN.

        Returns:
            n labels, None where the student gave none; and n confidences, the calibrated probability of the label,
            NaN where a label or a row is missing.
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


def logprob_matrix(predictions: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Floats:
    """Return the ``label_logprobs`` of n predictions as n x C; a row of NaN for a prediction without them.

    Args:
        predictions: predictions of a program under ``LabelAdapter(logprobs=True)``, or their outputs as dicts.
        labels: C labels, in the order of the columns.
    """
    rows = [prediction.get(LABEL_LOGPROBS) or {} for prediction in predictions]
    matrix = [[row.get(label, np.nan) for label in labels] for row in rows]
    return np.array(matrix, dtype=np.float64).reshape(len(rows), len(labels))
