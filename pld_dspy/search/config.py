"""How to spend student calls."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.samplers import BaseSampler

from ..errors import DataError

PLAIN_IN_FULL, SCREENED_IN_FULL = 2, 5
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
        logprobs: learn from the log-probabilities of the labels where adapter and server give them, which takes far
            fewer calls than learning from right and wrong.
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

    @classmethod
    def within(cls, calls: int, n: int) -> SearchConfig:
        """Return a configuration that spends about ``calls`` student calls on ``n`` validation examples.

        Of what the sets asked in full leave, a bit less than half goes into screening, the rest into races, which end
        after about 60% of the examples on average.
        """
        left = max(calls - SCREENED_IN_FULL * n, 0)
        return cls(screen_calls=round(0.45 * left), trials=round(0.55 * left / (0.6 * n)))

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
