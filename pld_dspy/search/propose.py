"""Which candidate to race next: what did well in screening, and small changes of what did best since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .belief import Belief
from .config import SearchConfig
from .gaussian import GaussianPosterior
from .space import Candidate, Space
from .trials import Seen, asked_in_full, incumbent

TURNS = 6
PROMOTED = 8
"""One in so many races is for a screened set."""
LEADERS = 4
"""Changes are made to one of so many best sets: a single one may owe its place to luck."""
REDRAWS = 8
"""Tries to propose a set that was not asked before."""


@dataclass(frozen=True)
class Proposer:
    """Proposes candidates from what was seen.

    Attributes:
        space: the rules.
        belief: what is believed of them.
        config: of the search.
        seed: of every random choice.
    """

    space: Space
    belief: Belief
    config: SearchConfig
    seed: int

    def race(self, number: int, seen: Sequence[Seen]) -> Candidate | None:
        """Propose the ``number``-th candidate to race; None leaves it to the sampler.

        The first of them are the best of the screened sets. Then, in turn, five times a few changes to a set that did
        well, after draws from the model (Thompson sampling), and once the sampler's own idea.
        """
        posterior = self.belief.posterior(seen)
        if posterior is None or number % TURNS == TURNS - 1:
            return None
        if number < self.config.trials // PROMOTED and (best := self._screened(seen)) is not None:
            return best
        return self._changed(np.random.default_rng([self.seed, 1 + number]), seen, posterior)

    def confirm(self, number: int, seen: Sequence[Seen]) -> Candidate | None:
        """Propose the best set that was never asked in full, then the model's own optimum; None: to the sampler."""
        posterior = self.belief.posterior(seen)
        if posterior is None:
            return None
        whole = {self._digest(trial) for trial in asked_in_full(seen)}
        left = [trial for trial in seen if self._digest(trial) not in whole]
        if number == 0 and left:
            return max(left, key=lambda trial: self._value(seen, trial)).candidate
        start = incumbent(seen, self.config.parsimony).candidate
        return posterior.surrogate.best(start, self.config.parsimony)

    def _changed(self, rng: np.random.Generator, seen: Sequence[Seen], posterior: GaussianPosterior) -> Candidate:
        leaders = sorted(seen, key=lambda trial: -self._value(seen, trial))[:LEADERS]
        asked = {self._digest(trial) for trial in seen}
        for _ in range(REDRAWS):
            start = leaders[int(rng.integers(len(leaders)))].candidate
            moves = int(rng.integers(1, self.config.moves + 1))
            candidate = posterior.draw(rng).best(start, self.config.parsimony, moves=moves)
            if self.space.digest(candidate) not in asked:
                break
        return candidate

    def _screened(self, seen: Sequence[Seen]) -> Candidate | None:
        """Return the most promising screened set that was not raced yet."""
        raced = {self._digest(trial) for trial in seen if trial.kind != "screen"}
        left = [trial for trial in seen if trial.kind == "screen" and self._digest(trial) not in raced]
        best = max(left, key=lambda trial: self._value(seen, trial), default=None)
        return None if best is None else best.candidate

    def _value(self, seen: Sequence[Seen], trial: Seen) -> float:
        return self.belief.value(seen, trial.candidate, trial.asked, trial.objective)

    def _digest(self, trial: Seen) -> str:
        return self.space.digest(trial.candidate)
