"""The input of a method, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field

import dspy

from pld_dspy.rules import Rule, RuleSet

from .synthetic_evaluator import SyntheticEvaluator


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The input of a method.

    Attributes:
        evaluator: the student as a function of its rules; counts the calls.
        rules: K candidate rules.
        valset: n validation examples.
        budget: number of student calls to spend, roughly.
        seed: of every random choice.
    """

    evaluator: SyntheticEvaluator
    rules: tuple[Rule, ...]
    valset: list[dspy.Example]
    budget: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a method.

    Attributes:
        chosen: the rule set; empty if nothing beat the unchanged student.
        calls: student calls made.
        curve: (calls made so far, the rule set it would have returned then), at each change; starts at 0 calls.
    """

    chosen: RuleSet
    calls: int
    curve: list[tuple[int, RuleSet]]


@dataclass
class Curve:
    """Records what a search would return if it stopped now."""

    evaluator: SyntheticEvaluator
    points: list[tuple[int, RuleSet]] = field(default_factory=lambda: [(0, RuleSet())])

    def note(self, rules: RuleSet | None) -> None:
        """Record that ``rules`` (None: the unchanged student) are the best from now on."""
        self.points.append((self.evaluator.calls, rules or RuleSet()))

    def outcome(self, chosen: RuleSet | None) -> Outcome:
        """Return the outcome; the curve ends with the search's own choice."""
        self.note(chosen)
        return Outcome(chosen=chosen or RuleSet(), calls=self.evaluator.calls, curve=self.points)
