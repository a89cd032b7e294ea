"""The surrogate: a student as the model sees it, under the mean of its posterior or under one draw from it.

A utility an example and column is a sum over the rules in use, so that thousands of candidates are valued in the time
of one call to the real student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .space import Candidate, Space
from .threads import one_thread

Floats = NDArray[np.float64]

MOVES = 60
"""More changes than this no climb needs."""

CHUNK = 2_000_000
"""Utilities that are held at once."""


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """A function from candidates to values, for n examples and C columns (one a label, or one for being right).

    Attributes:
        space: the K rules.
        weights: n weights of the examples, sum 1.
        chance: utilities ... x n x C -> ... x n chances of being right.
        empty: n x C, utilities without rules.
        column: K columns that the rules act on.
        base: K x wordings x n, what a rule in the middle of the order adds to its column.
        slope: K x n, what standing last rather than in the middle adds.
        share: C x C, what a column's share among the rules adds to each column; None where it adds nothing.
        own: what sets that were asked have beyond the sum of their rules, C numbers a set, by digest.
    """

    space: Space
    weights: Floats
    chance: Callable[[Floats], Floats]
    empty: Floats
    column: NDArray[np.int64]
    base: Floats
    slope: Floats
    share: Floats | None = None
    own: Mapping[str, Floats] = field(default_factory=dict)

    def value(self, candidate: Candidate) -> float:
        """Return the expected weighted accuracy of a candidate, 0 to 1."""
        return self.values([candidate])[0]

    def values(self, candidates: Sequence[Candidate]) -> list[float]:
        """Return the expected weighted accuracy of each candidate."""
        return list(map(float, self._values(candidates, np.array([self._own(one) for one in candidates]))))

    def best(self, start: Candidate, parsimony: float, *, moves: int | None = None) -> Candidate:
        """Climb from ``start`` to the set with the best value less ``parsimony`` a rule.

        Args:
            start: where to climb from.
            parsimony: what a rule must be worth.
            moves: most changes to make, each the best there is: a rule out, in, in another wording, first or last.
                The model is surest near what was asked, and a set's neighbours share what it has beyond its rules:
                so few changes of a good set are a safer bet than the model's own optimum. None: until nothing pays,
                with every rule where its place effect wants it.
        """
        own = self._own(start)
        if moves is None:
            start, own = Candidate(start.use, self._keys(start), start.wording), np.zeros(self.empty.shape[1])
        candidate, reached = start, self._values([start], own)[0] - parsimony * start.size
        for _ in range(MOVES if moves is None else moves):
            options = [option for j in range(len(self.space)) for option in self._options(candidate, j)]
            values = self._values(options, own) - parsimony * np.array([option.size for option in options])
            top = int(np.argmax(values))
            if values[top] <= reached + 1e-9:
                break
            candidate, reached = options[top], values[top]
        return candidate

    def rule_effects(self, candidate: Candidate) -> dict[str, float]:
        """Return what each rule adds to the value: taken out of the candidate, or put into it."""
        sides = [candidate.with_rule(j, use=use) for use in (True, False) for j in range(len(self.space))]
        inside, outside = np.array(self.neighbours(candidate, sides)).reshape(2, -1)
        return {rule.id: float(gap) for rule, gap in zip(self.space.rules, inside - outside, strict=True)}

    def neighbours(self, centre: Candidate, candidates: Sequence[Candidate]) -> list[float]:
        """Return the values of candidates that differ little from ``centre``, with what it has beyond its rules."""
        return list(map(float, self._values(candidates, self._own(centre))))

    def _own(self, candidate: Candidate) -> Floats:
        none = np.zeros(self.empty.shape[1])
        return self.own.get(self.space.digest(candidate), none) if self.own else none

    def _values(self, candidates: Sequence[Candidate], own: Floats) -> Floats:
        """Return the values of candidates; ``own`` is what they have beyond their rules, for each or for all alike."""
        chunks = min(max(1, round(len(candidates) * self.empty.size / CHUNK)), len(candidates))
        owns = np.broadcast_to(own, (len(candidates), self.empty.shape[1]))
        parts = np.array_split(np.arange(len(candidates)), chunks)
        with one_thread():
            return np.concatenate(
                [
                    self.chance(self._utilities([candidates[i] for i in part], owns[part])) @ self.weights
                    for part in parts
                ]
            )

    def _utilities(self, candidates: Sequence[Candidate], own: Floats) -> Floats:
        """Return candidates x n x C utilities."""
        _, wordings, n = self.base.shape
        use = np.array([candidate.use for candidate in candidates], dtype=float)
        place = use * (2 * np.array([candidate.key for candidate in candidates]) - 1)
        wording = np.array([candidate.wording for candidate in candidates])
        worded = use[:, :, None] * (wording[:, :, None] == np.arange(wordings))
        utilities = self.empty + own[:, None, :]
        counts = np.zeros((len(candidates), self.empty.shape[1]))
        for column in range(counts.shape[1]):
            of = self.column == column
            base = worded[:, of].reshape(len(candidates), -1) @ self.base[of].reshape(-1, n)
            utilities[:, :, column] += base + place[:, of] @ self.slope[of]
            counts[:, column] = use[:, of].sum(axis=1)
        if self.share is not None:
            utilities += (counts @ self.share.T / np.maximum(use.sum(axis=1), 1)[:, None])[:, None, :]
        return np.asarray(utilities)

    def _keys(self, start: Candidate) -> Floats:
        """Slopes multiply 2 key - 1: a rule that gains from standing late gets a high key; ties as in ``start``."""
        k = len(self.space)
        order = np.lexsort((start.key, np.round(self.slope.mean(axis=1), 1)))
        keys = np.empty(k)
        keys[order] = (np.arange(k) + 0.5) / k
        return keys

    def _options(self, candidate: Candidate, j: int) -> list[Candidate]:
        """The other states of rule ``j``: out, or in with any wording; and, if in, first or last."""
        inside = [
            candidate.with_rule(j, use=True, wording=number)
            for number in range(len(self.space.rules[j].wordings))
            if not candidate.use[j] or number != candidate.wording[j]
        ]
        if not candidate.use[j]:
            return inside
        ends = [candidate.moved(j, first=first) for first in (True, False)]
        return [candidate.with_rule(j, use=False), *inside, *ends]
