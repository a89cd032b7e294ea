"""The search space: which rules, wordings, order and demonstrations; and the same as Optuna parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from ..rules import CUES, MICRO_RULE, Demonstration, Rule, RuleSet

Parameters = dict[str, Any]
Lines = tuple[str, ...]  # of a rendered rule set: equal for two candidates that make the same prompt


@dataclass(frozen=True)
class Candidate:
    """One point of the space over K rules."""

    use: NDArray[np.bool_]  # K flags
    key: NDArray[np.float64]  # K sort keys in [0, 1]; the rules in use stand in ascending order of key
    wording: NDArray[np.int64]  # K numbers
    demos: int = 0  # number of the demonstrations in the space; 0 for none

    @property
    def size(self) -> int:
        """Number of rules in use."""
        return int(self.use.sum())

    @property
    def order(self) -> list[int]:
        """The numbers of the rules in use, first to last."""
        return [int(j) for j in np.argsort(self.key, kind="stable") if self.use[j]]

    def with_rule(self, j: int, *, use: bool, wording: int | None = None) -> Candidate:
        """Return this candidate with rule ``j`` in or out, and in ``wording`` where that is given."""
        flags, wordings = self.use.copy(), self.wording.copy()
        flags[j] = use
        if wording is not None:
            wordings[j] = wording
        return replace(self, use=flags, wording=wordings)

    def move_rule(self, j: int, *, first: bool) -> Candidate:
        """Return this candidate with rule ``j`` first or last of all; the keys are spread evenly in the new order."""
        keys = self.key.copy()
        keys[j] = -1.0 if first else 2.0
        order = np.argsort(keys, kind="stable")
        keys[order] = (np.arange(len(keys)) + 0.5) / len(keys)
        return replace(self, key=keys)


@dataclass(frozen=True)
class Space:
    """All candidates over K rules. Optuna has no distribution of permutations, so each rule gets a sort key."""

    rules: tuple[Rule, ...]
    demos: tuple[tuple[Demonstration, ...], ...] = ((),)  # to choose one of; the first is empty
    pinned: tuple[Rule, ...] = ()  # first in every set, and no part of the choice

    @classmethod
    def of(cls, pool: Sequence[Rule], demos: Iterable[tuple[Demonstration, ...]]) -> Space:
        """Return the space over a pool, some rules of which may be pinned."""
        free, pinned = (tuple(rule for rule in pool if rule.pin is pin) for pin in (False, True))
        return cls(free, tuple(demos), pinned)

    @property
    def pool(self) -> tuple[Rule, ...]:
        """The pinned rules, then the K others."""
        return (*self.pinned, *self.rules)

    def __len__(self) -> int:
        """Return the number of rules, K."""
        return len(self.rules)

    @property
    def wordings(self) -> int:
        """The most wordings that any rule has, at least 1."""
        return max((len(rule.wordings) for rule in self.rules), default=1)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the Optuna parameters: ``use:ID``, ``key:ID``, for several wordings ``wording:ID``, and ``demos``."""
        found: dict[str, BaseDistribution] = {}
        if len(self.demos) > 1:
            found["demos"] = CategoricalDistribution(list(range(len(self.demos))))
        for rule in self.rules:
            found[f"use:{rule.id}"] = CategoricalDistribution([False, True])
            found[f"key:{rule.id}"] = FloatDistribution(0.0, 1.0)
            if len(rule.wordings) > 1:
                found[f"wording:{rule.id}"] = CategoricalDistribution(list(range(len(rule.wordings))))
        return found

    def parameters(self, candidate: Candidate) -> Parameters:
        """Encode a candidate as values of :meth:`distributions`."""
        found: Parameters = {"demos": candidate.demos} if len(self.demos) > 1 else {}
        for j, rule in enumerate(self.rules):
            found[f"use:{rule.id}"] = bool(candidate.use[j])
            found[f"key:{rule.id}"] = float(candidate.key[j])
            if len(rule.wordings) > 1:
                found[f"wording:{rule.id}"] = int(candidate.wording[j])
        return found

    def candidate(self, parameters: Parameters) -> Candidate:
        """Decode values of :meth:`distributions`."""
        return Candidate(
            use=np.array([parameters[f"use:{rule.id}"] for rule in self.rules], dtype=bool),
            key=np.array([parameters[f"key:{rule.id}"] for rule in self.rules], dtype=float),
            wording=np.array([parameters.get(f"wording:{rule.id}", 0) for rule in self.rules], dtype=np.int64),
            demos=parameters.get("demos", 0),
        )

    def rule_set(self, candidate: Candidate) -> RuleSet:
        """Return the pinned rules, those in use in the candidate's order and wordings, and its demonstrations."""
        chosen = (self.rules[j].with_wording(int(candidate.wording[j])) for j in candidate.order)
        return RuleSet(rules=(*self.pinned, *chosen), demos=self.demos[candidate.demos])

    def lines(self, candidate: Candidate) -> Lines:
        """Return the lines of the candidate's rendered rules; many times faster than ``rule_set(...).render()``.

        A last line stands for its demonstrations, if it has any.
        """
        lines = tuple(self._rendered[j][candidate.wording[j]] for j in candidate.order)
        return (*lines, f"demonstrations {candidate.demos}") if candidate.demos else lines

    @cached_property
    def _rendered(self) -> list[list[str]]:
        return [
            [RuleSet(rules=(rule.with_wording(number),)).render() for number in range(len(rule.wordings))]
            for rule in self.rules
        ]

    def none(self, *, demos: int = 0) -> Candidate:
        """Return the candidate without rules but the pinned ones, with the ``demos``-th demonstrations."""
        return replace(self._in_given_order(use=False), demos=demos)

    @cached_property
    def whole_lists(self) -> dict[str, Candidate]:
        """The whole lists by kind, those to ask first before the others.

        All rules in their first and in their second wordings. Where a teacher wrote rules, these and the extracted ones
        are a list each; other rules, such as a person's, are in both. Where calls suffice for one of each, these are
        a teacher's sentences and the extracted cues: cues carry more in a small student (docs/results.md).
        """
        written = np.array([rule.is_teachers for rule in self.rules], dtype=bool)
        extracted = np.array([bool({*rule.origins} & {CUES, MICRO_RULE}) for rule in self.rules], dtype=bool) & ~written
        first, second = self.all(), self.all(wording=1)
        if not (written.any() and extracted.any()):
            found = {"all rules": first, "reworded": second}
        else:
            found = {
                "all rules": replace(first, use=~extracted),
                "extracted reworded": replace(second, use=~written),
                "reworded": replace(second, use=~extracted),
                "extracted rules": replace(first, use=~written),
            }
        texts: dict[Lines, str] = {}
        for kind, candidate in found.items():  # rules may have no second wording
            texts.setdefault(self.lines(candidate), kind)
        return {kind: found[kind] for kind in texts.values()}

    def all(self, *, wording: int = 0) -> Candidate:
        """Return the candidate with all rules, in PLD order, each in wording ``wording`` or its last before that."""
        return replace(self._in_given_order(use=True), wording=self._same_wording(wording))

    def random(self, rng: np.random.Generator) -> Candidate:
        """Return a random set of a fifth to four fifths of the rules, in random order.

        Half of the sets have all rules in their first or all in their second wording; the others mix wordings.
        """
        share = rng.uniform(0.2, 0.8)
        use = rng.random(len(self)) < share
        mixed = np.array([rng.integers(len(rule.wordings)) for rule in self.rules], dtype=np.int64)
        wordings = mixed if rng.random() < 0.5 else self._same_wording(int(rng.integers(2)))
        key = rng.random(len(self))
        demos = int(rng.integers(len(self.demos))) if len(self.demos) > 1 else 0  # else no draw: seeds keep their sets
        return Candidate(use, key, wordings, demos)

    def placed(self, rules: RuleSet | None) -> Candidate:
        """Return the candidate of a rule set, the keys of its rules spread evenly; None stands for no rules."""
        given = rules or RuleSet()
        candidate = self.none(demos=self.demos.index(given.demos))
        place = {rule.id: j for j, rule in enumerate(self.rules)}
        chosen = [rule for rule in given.rules if not rule.pin]
        for number, rule in enumerate(chosen):
            j = place[rule.id]
            candidate.use[j], candidate.wording[j] = True, rule.chosen
            candidate.key[j] = (number + 0.5) / len(chosen)
        return candidate

    def extended(self, candidate: Candidate) -> Candidate:
        """Return a candidate over this space's first rules, with the rules after them unused."""
        more = len(self) - len(candidate.use)
        return replace(
            candidate,
            use=np.append(candidate.use, np.zeros(more, dtype=bool)),
            key=np.append(candidate.key, np.full(more, 0.5)),
            wording=np.append(candidate.wording, np.zeros(more, dtype=np.int64)),
        )

    def crossed(self, one: Candidate, other: Candidate, rng: np.random.Generator) -> Candidate:
        """Return ``one`` with half of the rules in which the two differ as they are in ``other``, out or in and worded.

        The order is that of one of the two. With the same draws and the two exchanged, it is the other half.
        """
        differ = np.flatnonzero((one.use != other.use) | (one.use & other.use & (one.wording != other.wording)))
        theirs = np.isin(np.arange(len(self)), rng.permutation(differ)[: len(differ) // 2])
        first, second = (one, other) if rng.random() < 0.5 else (other, one)
        return Candidate(
            np.where(theirs, other.use, one.use),
            np.where(first.use, first.key, second.key),
            np.where(theirs, other.wording, one.wording),
            one.demos,
        )

    def _same_wording(self, wording: int) -> NDArray[np.int64]:
        return np.array([min(wording, len(rule.wordings) - 1) for rule in self.rules], dtype=np.int64)

    def _in_given_order(self, *, use: bool) -> Candidate:
        keys = (np.arange(len(self)) + 0.5) / max(len(self), 1)
        return Candidate(np.full(len(self), use), keys, np.zeros(len(self), dtype=np.int64))
