"""What a search found, and what its trials say beside the winner."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from ..rules import Rule, RuleSet
from .trials import FinishedTrial


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrderSpread(_Stored):
    """How much the order of the chosen rules matters, by the model.

    Attributes:
        own: expected objective in the chosen order.
        mean, sd: mean and standard deviation of the same over random orders.
    """

    own: float
    mean: float
    sd: float


class Rung(_Stored):
    """The best set within a number of prompt tokens.

    Attributes:
        tokens: of the rendered rules.
        rules: the set.
        expected: its objective on validation; by the model alone where it was never asked in full.
        asked: whether it was asked in full.
    """

    tokens: int
    rules: RuleSet
    expected: float
    asked: bool


class OriginValue(_Stored):
    """The chosen set with every rule in a wording of one origin, where the rule has one.

    Attributes:
        origin: where the wordings come from, such as "cues", or the second draw of the teacher.
        rules: how many of the chosen rules have such a wording; the others keep the chosen one.
        asked: how many of these wordings some trial used. The fewer, the more the figure rests on the prior, which
            takes all wordings of a rule to be alike.
        expected: the set's objective on validation, by the model.
        interval: 95% of the posterior.
    """

    origin: str
    rules: int
    asked: int
    expected: float
    interval: tuple[float, float]


class Insight(_Stored):
    """What the trials of a search say at no further cost.

    Attributes:
        order: how much the order of the chosen set matters.
        ladder: ever longer sets, each better than all shorter ones.
        gain_of_1000_calls: expected gain of the objective from one thousand more student calls.
        origins: for each origin of wordings that a trial used, the value of the chosen set in these wordings; empty
            where all wordings have one origin.
        draw_spread: difference between the best and the worst of ``origins`` among draws of the teacher; None with
            fewer than two.
    """

    order: OrderSpread
    ladder: list[Rung]
    gain_of_1000_calls: float
    origins: list[OriginValue] = []
    draw_spread: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What the search found.

    Attributes:
        best: the winning rule set; None where nothing beats the unchanged student.
        bench: the rules left out.
        baseline, all_rules, objective: objective on validation of the unchanged student, of all rules in PLD
            order, and of the winner.
        trials: every finished trial.
        stopped: why the search ended early; None where it did not.
        insight: what its trials say besides; None where no model was fitted.
        own_seconds: wall seconds spent here on fitting, proposing and storing, without the wait for answers.
    """

    best: RuleSet | None
    bench: list[Rule]
    baseline: float
    all_rules: float | None
    objective: float
    trials: list[FinishedTrial] = field(default_factory=list)
    stopped: str | None = None
    insight: Insight | None = None
    own_seconds: float = field(default=0.0, compare=False)
