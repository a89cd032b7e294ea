"""The record of a trial. The Optuna study stores it whole, so every worker and every resumed search can read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from ..rules import RuleSet
from .space import Candidate, Space

STEP, KIND, CARRIED = "step", "kind", "carried"
SECONDS = "seconds"
"""Attribute of a finished trial: how long it took, by a clock that never jumps, as Optuna's times do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedTrial:
    """A completed trial, decoded from Optuna; or a trial under way, with m answers so far to examples ``rows``.

    Kinds: "baseline" (the unchanged student), "pinned rules" (these alone) or, of an update, "list of the run"; then
    "all rules", "reworded" (all rules in their second wordings) and, where these are a teacher's, "extracted rules" and
    "extracted reworded"; "demonstrations" (no rules), "revised" (the whole list as the teacher changed it), "screen",
    "race" and "confirm".
    """

    step: int  # place in the plan
    kind: str
    candidate: Candidate
    rules: RuleSet | None  # None for the unchanged student
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    correct: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, dtype=bool))
    logprobs: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 1)))  # m x C; NaN where there are none
    objective: float | None = None  # on the whole validation set; None where only a part of it was asked
    value: float = math.nan  # that Optuna got
    carried: bool = False  # over from the search that this one goes on from

    @classmethod
    def decode(cls, frozen: FrozenTrial, space: Space) -> FinishedTrial:
        """Read a completed trial of a search over ``space``."""
        stored = frozen.user_attrs
        candidate = space.candidate(frozen.params)
        flags = np.array(list(stored["answers"]))
        rows = np.flatnonzero(flags != "-")
        return cls(
            step=stored[STEP],
            kind=stored[KIND],
            candidate=candidate,
            rules=None if stored[KIND] == "baseline" else space.rule_set(candidate),
            rows=rows,
            correct=flags[rows] == "1",
            logprobs=np.array(stored.get("logits", [[math.nan]] * len(rows)), dtype=np.float64),
            objective=None if stored["objective"] is None else float(stored["objective"]),
            value=float(frozen.value or 0.0),
            carried=CARRIED in stored,
        )

    def encode(self, n: int) -> dict[str, Any]:
        """Return the answers to a validation set of ``n`` examples as the user attributes that :meth:`decode` reads."""
        flags = np.full(n, "-")
        flags[self.rows] = np.where(self.correct, "1", "0")
        stored: dict[str, Any] = {"answers": "".join(flags), "objective": self.objective}
        if self.has_logprobs.any():  # JSON has no NaN
            stored["logits"] = [[None if math.isnan(one) else one for one in row] for row in self.logprobs.tolist()]
        return stored

    @property
    def asked(self) -> int:
        """Number of validation examples asked."""
        return len(self.rows)

    @cached_property
    def has_logprobs(self) -> NDArray[np.bool_]:
        """For each of the m answers, whether it has log-probabilities."""
        return np.asarray(~np.isnan(self.logprobs).any(axis=1))

    def in_row_order(self) -> FinishedTrial:
        """Return the trial as a resumed search reads it: in another order, sums would differ in the last bit."""
        order = np.argsort(self.rows)
        return replace(self, rows=self.rows[order], correct=self.correct[order], logprobs=self.logprobs[order])


def carry_over(trials: Sequence[FinishedTrial], study: Study, space: Space, n: int) -> None:
    """Add the trials of a search to the study of the next one, which has more rules or wordings, where it lacks them.

    A study that was given them in part is completed.
    """
    known = {one.user_attrs[STEP] for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    for step, trial in enumerate(trials):
        if step not in known:
            study.add_trial(
                create_trial(
                    params=space.parameters(space.extended(trial.candidate)),
                    distributions=space.distributions(),
                    value=trial.value,
                    user_attrs={STEP: step, KIND: trial.kind, CARRIED: True, **trial.encode(n)},
                )
            )


def asked_in_full(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the trials that asked the whole validation set."""
    return [trial for trial in trials if trial.objective is not None]


def incumbent(trials: Sequence[FinishedTrial], parsimony: float) -> FinishedTrial:
    """Return the best trial asked in full, where each rule costs ``parsimony``."""
    return max(asked_in_full(trials), key=lambda trial: (trial.objective or 0.0) - parsimony * trial.candidate.size)
