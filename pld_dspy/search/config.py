"""How to spend student calls."""

from __future__ import annotations

import math
from dataclasses import dataclass

from optuna.samplers import BaseSampler

from ..errors import DataError

CONFIRMS = 2
"""Candidates asked in full at the end, after screening: the best that was not, and the model's own optimum."""
PLAIN_IN_FULL, SCREENED_IN_FULL = 2, 3 + CONFIRMS
"""Sets that are asked in full beside the races: the unchanged student and all rules; after screening also all rules in
their second wordings and the two that are confirmed."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How to spend student calls. ``screen_calls=0, alpha=0, parsimony=0`` is a plain full-evaluation search.

    Attributes:
        screen_calls: calls for small random sets on slices of the validation set, from which the effects of
            rules are learned; 0 turns the model off.
        trials: candidates raced on the validation set after that, the best of the screened first.
        block: examples asked of a candidate at once; also the size of a screening slice.
        alpha: a candidate is dropped once its chance to beat the incumbent falls below this.
        parsimony: what a rule must be worth, in units of the objective.
        moves: changes that a proposal makes to a set that did well, at most.
        logprobs: learn from the log-probabilities of the labels where adapter and server give them: they show how near
            each answer was to another one.
        most: about the most rules in a screened set; None for no bound.
        sampler: any Optuna sampler; None for a seeded multivariate TPE, with which a resumed search makes the very
            trials that an uninterrupted one would.
    """

    screen_calls: int = 960
    trials: int = 10
    block: int = 24
    alpha: float = 0.15
    parsimony: float = 0.0003
    moves: int = 6
    logprobs: bool = True
    most: int | None = None
    sampler: BaseSampler | None = None

    def most_calls(self, n: int) -> int:
        """Return the student calls that a search makes at most on ``n`` validation examples, guards included."""
        slices = -(-self.screen_calls // self.block) * min(self.block, n)
        return slices + n * (self.trials + (SCREENED_IN_FULL if self.screen_calls else PLAIN_IN_FULL))

    @staticmethod
    def within(calls: int, n: int) -> CappedSearchConfig:
        """Return a configuration that spends about ``calls`` student calls on ``n`` validation examples, and no more.

        Of what the sets asked in full leave, a bit less than half goes into screening, the rest into races. These end
        after one block or ask everything, 30% to 85% of the examples on average, from student to student: as many are
        planned as 60% allow, and where that is too little, the last ones are cut short. The guards alone take 2 n.
        """
        left, block = max(calls - SCREENED_IN_FULL * n, 0), SearchConfig.block
        screened = int(0.45 * left) // block * block
        trials = min(round(0.55 * left / (0.6 * n)), (left - screened) // min(block, n))
        return CappedSearchConfig(calls=calls, screen_calls=screened, trials=trials)

    def room(self, *, asked: int, races: int, n: int) -> float:
        """Return how many examples a race may ask, as the confirmation still needs its calls: any number, uncapped.

        Args:
            asked: examples asked by the trials before it.
            races: that are to follow.
            n: validation examples.
        """
        return math.inf

    @property
    def learns_from_logprobs(self) -> bool:
        """Whether the search has any use for log-probabilities."""
        return self.logprobs and self.screen_calls > 0

    def __post_init__(self) -> None:
        for name, least in (("screen_calls", 0), ("trials", 0), ("block", 1), ("moves", 1), ("most", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise DataError(f"SearchConfig.{name} is {value}; give at least {least}.")
        if not 0 <= self.alpha < 0.5 or self.parsimony < 0:
            raise DataError("SearchConfig.alpha must be in [0, 0.5) and parsimony at least 0.")


@dataclass(frozen=True, kw_only=True)
class CappedSearchConfig(SearchConfig):
    """The same with a cap: races are cut short, down to one block, so that what follows them still fits.

    A race that is cut short is no winner unless it is confirmed. Several workers do not see what the others are asking
    just now, and may exceed the cap by that.

    Attributes:
        calls: student calls to keep within, if guards, screening, confirmation and a block a race do.
    """

    calls: int

    def most_calls(self, n: int) -> int:
        """Return the student calls that a search makes at most on ``n`` validation examples, guards included."""
        uncapped = super().most_calls(n)
        return min(uncapped, max(self.calls, uncapped - self.trials * (n - min(self.block, n))))

    def room(self, *, asked: int, races: int, n: int) -> float:
        """Return how many examples a race may ask; arguments as there."""
        confirms = CONFIRMS if self.screen_calls else 0
        return self.calls - asked - races * min(self.block, n) - confirms * n
