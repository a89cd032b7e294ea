"""F1 as fractions that add up over examples: one matrix product then scores thousands of resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..task.labels import indicator, labels_in

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

RESAMPLES = 4000
LEVELS = (0.025, 0.975)  # quantiles that bound a 95% interval


class Record(BaseModel):
    """Base of what result.json holds: plain data that does not change."""

    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True)
class F1:
    """F1 of each label as fractions, shape (..., labels): twice the hits over golds plus answers."""

    twice_hits: Floats
    golds_and_answers: Floats

    @classmethod
    def of(cls, golds: Ints, answers: Ints) -> F1:
        """Return what each row adds: both are rows x (labels + 1), as ``indicator`` gives them."""
        hits, either = golds * answers, golds + answers
        return cls((2 * hits[:, :-1]).astype(np.float64), either[:, :-1].astype(np.float64))

    def __add__(self, other: F1) -> F1:
        return F1(self.twice_hits + other.twice_hits, self.golds_and_answers + other.golds_and_answers)

    def total(self, counts: NDArray[Any]) -> F1:
        """Sum the rows, each taken as often as ``counts``, shape (..., rows), says."""
        return F1(counts @ self.twice_hits, counts @ self.golds_and_answers)

    def per_label(self) -> Floats:
        """Return F1 of each label; 0 for one that is neither gold nor answered."""
        return np.asarray(self.twice_hits / np.maximum(self.golds_and_answers, 1))

    def macro(self) -> Floats:
        """Return the mean over labels."""
        return np.asarray(self.per_label().mean(axis=-1))


@dataclass(frozen=True)
class Cells:
    """Examples counted by their texts: the gold text and the answer of each student.

    A text is a number: a label's place in the label set, C if missing or unknown, higher for several labels joined.
    """

    texts: Ints  # (1 + students) x cells
    counts: Ints  # examples in each cell
    named: Ints  # texts x (C + 1): the labels that each text names

    @classmethod
    def of(cls, labels: Sequence[str], *columns: Sequence[str | None]) -> Cells:
        """Count n examples by the texts in ``columns``, gold texts first."""
        others = sorted({text for column in columns for text in column if text is not None} - set(labels))
        texts: list[str | None] = [*labels, None, *(text for text in others if labels_in(text, labels) is not None)]
        numbers = {text: number for number, text in enumerate(texts)}
        codes = np.array([[numbers.get(text, len(labels)) for text in column] for column in columns], dtype=np.int64)
        cells, counts = np.unique(codes, axis=1, return_counts=True)
        return cls(cells, counts, indicator(texts, labels))

    def right(self, student: int = 1) -> NDArray[np.bool_]:
        """Return whether the answer of each cell is right, for one of the students."""
        return np.asarray(self.texts[student] == self.texts[0])

    def f1(self, student: int = 1) -> F1:
        """Return what an example of each cell adds to F1, for one of the students."""
        return F1.of(self.named[self.texts[0]], self.named[self.texts[student]])
