"""Trials: what each one holds, so that the study alone is all that the search knows, for every worker and resume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..scoring.matching import match_gold
from .result import TrialRow
from .space import Candidate, Space

STEP, KIND = "step", "kind"


@dataclass(frozen=True)
class Asked:
    """What a candidate answered.

    Attributes:
        rows: m rows of the validation set.
        correct: m flags, whether each answer was right.
        logits: m x C label log-probabilities, a row of NaN for an answer without; None where no answer has any.
    """

    rows: NDArray[np.int64]
    correct: NDArray[np.bool_]
    logits: NDArray[np.float64] | None

    def matched(self, truth: NDArray[np.int64]) -> Asked:
        """Return the same as decided with offsets that make up for leanings to labels; as it is without logits.

        Args:
            truth: n gold labels of the validation set, as numbers.
        """
        if self.logits is None:
            return self
        gold = truth[self.rows]
        decided = (self.logits + match_gold(self.logits, gold)).argmax(axis=1)
        known = ~np.isnan(self.logits).any(axis=1)
        return replace(self, correct=np.where(known, decided == gold, self.correct))

    def sorted(self) -> Asked:
        """Return the same in the order of rows, as a resumed search reads it: sums would differ in the last bit."""
        order = np.argsort(self.rows)
        logits = None if self.logits is None else self.logits[order]
        return Asked(self.rows[order], self.correct[order], logits)

    def attrs(self, n: int) -> dict[str, Any]:
        """Return the user attributes from which :meth:`Seen.of` reads this: of correct, one character an example."""
        bits = np.full(n, "-")
        bits[self.rows] = np.where(self.correct, "1", "0")
        found: dict[str, Any] = {"answers": "".join(bits)}
        if self.logits is not None:  # JSON has no NaN
            found["logits"] = [[None if math.isnan(one) else one for one in row] for row in self.logits.tolist()]
        return found


@dataclass(frozen=True)
class Seen:
    """A finished trial as the search thinks of it.

    Attributes:
        step: its place in the plan.
        kind: what it was made for.
        candidate: what was asked.
        asked: what it answered, in the order of rows.
        objective: on the whole validation set; None where it stopped before.
        told: what Optuna was told.
    """

    step: int
    kind: str
    candidate: Candidate
    asked: Asked
    objective: float | None
    told: float

    @classmethod
    def of(cls, frozen: FrozenTrial, space: Space) -> Seen:
        """Read a finished trial."""
        bits = np.array(list(frozen.user_attrs["answers"]))
        rows = np.flatnonzero(bits != "-")
        logits = frozen.user_attrs.get("logits")
        return cls(
            frozen.user_attrs[STEP],
            frozen.user_attrs[KIND],
            space.candidate(frozen.params),
            Asked(rows, bits[rows] == "1", None if logits is None else np.array(logits, dtype=np.float64)),
            frozen.user_attrs["objective"],
            float(frozen.value or 0.0),
        )

    def row(self, space: Space) -> TrialRow:
        """Return the trial for people and tables."""
        return TrialRow(
            step=self.step,
            kind=self.kind,
            rules=None if self.kind == "baseline" else space.rule_set(self.candidate),
            asked=len(self.asked.rows),
            correct=int(self.asked.correct.sum()),
            objective=self.objective,
            told=self.told,
        )

    def by_row(self, n: int) -> NDArray[np.bool_]:
        """Return n flags, whether each example was asked and right."""
        correct = np.zeros(n, dtype=bool)
        correct[self.asked.rows] = self.asked.correct
        return correct


def asked_in_full(seen: Sequence[Seen]) -> list[Seen]:
    """Return the trials that asked the whole validation set."""
    return [trial for trial in seen if trial.objective is not None]


def incumbent(seen: Sequence[Seen], parsimony: float) -> Seen:
    """Return the best trial asked in full, each rule costing ``parsimony``."""
    return max(asked_in_full(seen), key=lambda trial: (trial.objective or 0.0) - parsimony * trial.candidate.size)
