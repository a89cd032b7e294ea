"""What a search found, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..rules import Rule, RuleSet


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One finished trial.

    Attributes:
        step: 0 is the unchanged student, 1 all rules, then screening, race and confirmation.
        kind: "baseline", "all rules", "screen", "race" or "confirm".
        rules: the rule set in order; None for the unchanged student.
        asked: validation examples asked.
        correct: how many of these were right.
        objective: on the whole validation set; None for a trial that stopped before.
        told: the value Optuna was told.
    """

    step: int
    kind: str
    rules: RuleSet | None
    asked: int
    correct: int
    objective: float | None
    told: float


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What the search found.

    Attributes:
        best: the winning rule set, with effects; None where nothing beats the unchanged student.
        bench: the rules left out, with effects.
        baseline, all_rules, objective: objective on validation of the unchanged student, of all rules in PLD
            order, and of the winner.
        trials: every finished trial.
        stopped: why the search ended early; None if it did not.
    """

    best: RuleSet | None
    bench: list[Rule]
    baseline: float
    all_rules: float | None
    objective: float
    trials: list[TrialRow] = field(default_factory=list)
    stopped: str | None = None
