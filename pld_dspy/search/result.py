"""What a search found, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from ..rules import Rule, RuleSet


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One finished trial.

    Attributes:
        step: 0 is the unchanged student, 1 all rules, then screening, race and confirmation.
        kind: "baseline", "all rules", "reworded" (all rules in their second wordings), "screen", "race" or "confirm".
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


Kind: TypeAlias = Literal["rule", "wording", "place"]


class Effect(BaseModel):
    """What one change to the chosen set does to its value on validation, by the model.

    The model adds up what rules do. Where they stand in for each other or work together, a change can do more, less or
    the opposite, more often than the interval allows. Only asking the student without a rule tells.

    Attributes:
        kind: "rule": in rather than out; "wording": this wording rather than the one in use; "place": last rather
            than first.
        rule: the rule's id.
        wording: its number; None for the other kinds.
        mean: of the posterior, in units of the objective.
        interval: 95% of the posterior.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    rule: str
    wording: int | None
    mean: float
    interval: tuple[float, float]


class OrderSpread(BaseModel):
    """How much the order of the chosen rules matters, by the model: its own order, and random ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    own: float
    mean: float
    sd: float


class Rung(BaseModel):
    """The best set within some prompt tokens.

    Attributes:
        tokens: of the rendered rules.
        rules: the set.
        expected: its objective on validation; by the model alone where it was never asked in full.
        asked: whether it was asked in full.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int
    rules: RuleSet
    expected: float
    asked: bool


class OriginValue(BaseModel):
    """The chosen set with every rule in a wording of one origin, as far as it has one.

    Attributes:
        origin: where the wordings come from, such as "cues", or the second draw of the teacher.
        rules: how many of the chosen rules have such a wording; the others stand in the chosen one.
        asked: how many of these wordings some trial used. The less, the more of the figure is the prior's, which
            takes all wordings of a rule for alike.
        expected: the set's objective on validation, by the model.
        interval: 95% of the posterior.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str
    rules: int
    asked: int
    expected: float
    interval: tuple[float, float]


class Insight(BaseModel):
    """What the log of a search says for free.

    Attributes:
        effects: of each rule, wording and place.
        order: the order-sensitivity of the chosen set.
        ladder: ever longer sets, each better than all shorter ones.
        gain_of_1000_calls: what one thousand more student calls are expected to add to the objective.
        origins: of each origin of wordings that a trial used, what the chosen set is worth in it; empty where all
            wordings are of one.
        draw_spread: the best less the worst of ``origins`` among draws of the teacher; None with fewer than two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    effects: list[Effect]
    order: OrderSpread
    ladder: list[Rung]
    gain_of_1000_calls: float
    origins: list[OriginValue] = []
    draw_spread: float | None = None


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
        insight: what its log says besides; None where no model was fitted.
        own_seconds: wall seconds that went into fitting, proposing and telling here, not into waiting for answers.
    """

    best: RuleSet | None
    bench: list[Rule]
    baseline: float
    all_rules: float | None
    objective: float
    trials: list[TrialRow] = field(default_factory=list)
    stopped: str | None = None
    insight: Insight | None = None
    own_seconds: float = field(default=0.0, compare=False)
