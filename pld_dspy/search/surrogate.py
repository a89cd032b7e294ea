"""A fast stand-in for the student: values thousands of candidates in the time of one call to the real student.

A model's posterior gives such stand-ins, under its mean or under random draws. Each adds up, per example and column,
what the rules in use do (their utility), and turns these sums into chances of a right answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from ..scoring.f1 import Floats
from .space import Candidate, Lines, Space
from .threads import one_thread

MOVES = 60  # no climb needs more changes
FEW_MOVES = 6  # most changes of a set that did well, for a set to ask next
CHUNK = 2_000_000  # utilities in memory at once


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """Values candidates of K rules, for n examples and C columns (one per label, or one for being right)."""

    space: Space
    weights: Floats  # of the n examples, sum 1
    chance: Callable[[Floats], Floats]  # utilities ... x n x C -> ... x n chances of being right
    empty: Floats  # n x C, utilities without rules
    column: NDArray[np.int64]  # for each of the K rules, the column that it acts on
    base: Floats  # K x wordings x n, what a rule in the middle of the order adds to its column
    slope: Floats  # K x n, what standing last rather than in the middle adds
    demos: Floats  # D x n x C, what each choice of demonstrations adds; the first is none
    share: Floats | None = None  # C x C, what a column's share among the rules adds to each column
    set_effects: Mapping[Lines, Floats] = field(default_factory=dict)  # C numbers beyond the sum of a set's rules

    def value(self, candidate: Candidate) -> float:
        """Return the expected weighted accuracy of a candidate, 0 to 1."""
        return self.values([candidate])[0]

    def values(self, candidates: Sequence[Candidate]) -> list[float]:
        """Return the expected weighted accuracy of each candidate."""
        return list(map(float, self._values(candidates, np.array([self._set_effect(one) for one in candidates]))))

    def neighbours(self, centre: Candidate, candidates: Sequence[Candidate]) -> list[float]:
        """Return the values of candidates that differ little from ``centre``, and so share its set effect."""
        return list(map(float, self._values(candidates, self._set_effect(centre))))

    def best(self, start: Candidate, parsimony: float, *, moves: int | None = None) -> Candidate:
        """Climb from ``start`` to the set with the best value, where each rule costs ``parsimony``.

        At most ``moves`` times the best change is made: a rule out, in, in another wording, first or last, or other
        demonstrations. Few changes of an evaluated set are safer than the model's own optimum. None: until nothing
        pays, and from another order.
        """
        effect = self._set_effect(start)
        if moves is None:
            start, effect = replace(start, key=self._best_keys(start)), np.zeros(self.empty.shape[1])
        candidate, reached = start, self._values([start], effect)[0] - parsimony * start.size
        for _ in range(MOVES if moves is None else moves):
            options = [option for j in range(len(self.space)) for option in self._changes(candidate, j)]
            others = set(range(len(self.space.demos))) - {candidate.demos}
            options += [replace(candidate, demos=number) for number in sorted(others)]
            values = self._values(options, effect) - parsimony * np.array([option.size for option in options])
            top = int(np.argmax(values))
            if values[top] <= reached + 1e-9:
                break
            candidate, reached = options[top], values[top]
        return candidate

    def _set_effect(self, candidate: Candidate) -> Floats:
        none = np.zeros(self.empty.shape[1])
        return self.set_effects.get(self.space.lines(candidate), none) if self.set_effects else none

    def _values(self, candidates: Sequence[Candidate], effects: Floats) -> Floats:
        """Return the values of candidates; ``effects`` are one set effect for each candidate, or one for all."""
        chunks = min(max(1, round(len(candidates) * self.empty.size / CHUNK)), len(candidates))
        effects = np.broadcast_to(effects, (len(candidates), self.empty.shape[1]))
        parts = np.array_split(np.arange(len(candidates)), chunks)
        with one_thread():
            return np.concatenate(
                [
                    self.chance(self._utilities([candidates[i] for i in part], effects[part])) @ self.weights
                    for part in parts
                ]
            )

    def _utilities(self, candidates: Sequence[Candidate], effects: Floats) -> Floats:
        """Return candidates x n x C utilities."""
        _, wordings, n = self.base.shape
        use = np.array([candidate.use for candidate in candidates], dtype=float)
        place = use * (2 * np.array([candidate.key for candidate in candidates]) - 1)
        wording = np.array([candidate.wording for candidate in candidates])
        chosen = use[:, :, None] * (wording[:, :, None] == np.arange(wordings))
        utilities = self.empty + effects[:, None, :]
        if len(self.demos) > 1:
            utilities = utilities + self.demos[[candidate.demos for candidate in candidates]]
        counts = np.zeros((len(candidates), self.empty.shape[1]))
        for column in range(counts.shape[1]):
            of = self.column == column
            base = chosen[:, of].reshape(len(candidates), -1) @ self.base[of].reshape(-1, n)
            utilities[:, :, column] += base + place[:, of] @ self.slope[of]
            counts[:, column] = use[:, of].sum(axis=1)
        if self.share is not None:
            utilities += (counts @ self.share.T / np.maximum(use.sum(axis=1), 1)[:, None])[:, None, :]
        return np.asarray(utilities)

    def _best_keys(self, start: Candidate) -> Floats:
        """Slopes multiply 2 key - 1: a rule that gains from standing late gets a high key; ties as in ``start``."""
        k = len(self.space)
        order = np.lexsort((start.key, np.round(self.slope.mean(axis=1), 1)))
        keys = np.empty(k)
        keys[order] = (np.arange(k) + 0.5) / k
        return keys

    def _changes(self, candidate: Candidate, j: int) -> list[Candidate]:
        """Return the candidate with rule ``j`` changed: out, or in with any wording; and, if in, first or last."""
        inside = [
            candidate.with_rule(j, use=True, wording=number)
            for number in range(len(self.space.rules[j].wordings))
            if not candidate.use[j] or number != candidate.wording[j]
        ]
        if not candidate.use[j]:
            return inside
        ends = [candidate.move_rule(j, first=first) for first in (True, False)]
        return [candidate.with_rule(j, use=False), *inside, *ends]


@dataclass(frozen=True, kw_only=True)
class Posterior(ABC):
    """A Gaussian posterior of a model's F effects, in units of their prior standard deviation."""

    mean: Floats
    precision: Floats  # F x F, the inverse of the covariance

    @abstractmethod
    def student(self, effects: Floats) -> Surrogate:
        """Return the student under the given F effects."""

    @cached_property
    def surrogate(self) -> Surrogate:
        """The student under the posterior mean."""
        return self.student(self.mean)

    def draw(self, rng: np.random.Generator) -> Surrogate:
        """Return the student under one draw of the effects (Thompson sampling)."""
        noise = rng.standard_normal(len(self.mean))
        with one_thread():
            return self.student(self.mean + np.asarray(solve_triangular(self._factor.T, noise)))

    @cached_property
    def _factor(self) -> Floats:
        with one_thread():
            return np.asarray(np.linalg.cholesky(self.precision), dtype=np.float64)
