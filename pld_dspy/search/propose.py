"""Which candidate to try next: what did well in screening, then small changes of what has done best since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .search_config import SearchConfig
from .space import Candidate, Space
from .surrogate import FEW_MOVES, Posterior
from .trials import FinishedTrial, asked_in_full, incumbent

TURNS = 6  # one race in so many is left to Optuna's sampler
PROMOTED = 8  # one race in so many is for a screened set
LEADERS = 4  # changes start from one of so many best sets: a single one may owe its place to luck
REDRAWS = 8  # most tries to propose a set that was not asked before


@dataclass(frozen=True)
class Proposer:
    """Proposes candidates from the finished ``trials``, by their ``posterior``; ``value`` values one of them."""

    space: Space
    config: SearchConfig
    seed: int
    trials: Sequence[FinishedTrial]
    posterior: Posterior
    value: Callable[[FinishedTrial], float]

    def race(self, number: int) -> Candidate | None:
        """Propose the best screened sets, then changes of good sets (Thompson sampling), or None: ask the sampler."""
        if number % TURNS == TURNS - 1:
            return None
        if number < self.config.trials // PROMOTED and (best := self._best_screened()) is not None:
            return best
        return self._changed_leader(np.random.default_rng([self.seed, 1 + number]))

    def confirm(self, number: int) -> Candidate:
        """Propose first the best set that was never asked in full, then the model's own optimum."""
        known = {self.space.lines(trial.candidate) for trial in asked_in_full(self.trials)}
        left = [trial for trial in self.trials if self.space.lines(trial.candidate) not in known]
        if number == 0 and left:
            return max(left, key=self.value).candidate
        start = incumbent(self.trials, self.config.parsimony).candidate
        return self.posterior.surrogate.best(start, self.config.parsimony)

    def _changed_leader(self, rng: np.random.Generator) -> Candidate:
        leaders = sorted(self.trials, key=lambda trial: -self.value(trial))[:LEADERS]
        known = {self.space.lines(trial.candidate) for trial in self.trials}
        for _ in range(REDRAWS):
            start = leaders[int(rng.integers(len(leaders)))].candidate
            moves = int(rng.integers(1, FEW_MOVES + 1))
            candidate = self.posterior.draw(rng).best(start, self.config.parsimony, moves=moves)
            if self.space.lines(candidate) not in known:
                break
        return candidate

    def _best_screened(self) -> Candidate | None:
        """Return the most promising screened set that was not raced yet."""
        raced = {self.space.lines(trial.candidate) for trial in self.trials if trial.kind != "screen"}
        left = [
            trial for trial in self.trials if trial.kind == "screen" and self.space.lines(trial.candidate) not in raced
        ]
        best = max(left, key=self.value, default=None)
        return None if best is None else best.candidate
