"""What a search found, and what its trials say beside the winner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import Field

from ..errors import Stored
from ..rules import Rule, RuleSet
from .trials import FinishedTrial, asked_in_full


class OrderSpread(Stored):
    """The expected objective in the chosen order, and its mean and standard deviation over random orders."""

    own: float
    mean: float
    sd: float


class Rung(Stored):
    """The best set within a number of prompt tokens."""

    tokens: int
    rules: RuleSet
    expected: float  # objective on validation; by the model alone where the set was never asked in full
    asked: bool  # in full


class OriginValue(Stored):
    """The chosen set with every rule in a wording of one origin, where the rule has one."""

    origin: str  # such as "cues" or "teacher contrast draw 2"
    rules: int  # how many of the chosen rules have such a wording
    asked: int  # how many of these wordings some trial used; the fewer, the more the figure rests on the prior
    expected: float  # objective on validation, by the model
    interval: tuple[float, float]  # 95% of the posterior


class Insight(Stored):
    """What the trials of a search say at no further cost."""

    order: OrderSpread
    ladder: list[Rung]  # ever longer sets, each better than all shorter ones
    gain_of_1000_calls: float  # expected gain of the objective
    origins: list[OriginValue] = Field(default=[])  # empty where all wordings that a trial used have one origin


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What the search found; objectives are those on validation."""

    best: RuleSet | None  # None where nothing beats the unchanged student; the pinned rules at least, if there are any
    bench: list[Rule]  # the rules left out
    baseline: float  # of the unchanged student, or of the pinned rules alone
    objective: float
    trials: list[FinishedTrial] = field(default_factory=list)
    stopped: str | None = None  # why the search ended early
    around: Callable[[FinishedTrial], Insight] | None = field(default=None, compare=False)  # None: no model was fitted
    own_seconds: float = field(default=0.0, compare=False)  # fitting, proposing, storing; without waiting for answers

    @cached_property
    def insight(self) -> Insight | None:
        """What the trials say around ``best``; None where no model was fitted."""
        if self.around is None:
            return None
        chosen = (self.best or RuleSet()).digest
        return self.around(next(one for one in asked_in_full(self.trials) if (one.rules or RuleSet()).digest == chosen))
