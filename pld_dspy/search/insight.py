"""What the trials say at no further cost: the weight of order, shorter rule sets, and what more calls would gain.

The figures are the model's view of the validation set, shrunk towards 0 where little was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..rules import UNKNOWN, RuleSet
from ..scoring.f1 import LEVELS
from ..task.task import input_text
from .search_config import SearchConfig
from .search_result import Insight, OrderSpread, OriginValue, Rung
from .space import Candidate, Space
from .surrogate import FEW_MOVES, Posterior, Surrogate
from .trials import FinishedTrial, asked_in_full

DRAWS = 60
ORDERS = 200

CountTokens = Callable[[str], float]


def estimate_tokens(text: str) -> float:
    """Estimate tokens without a tokenizer: one per four characters of English."""
    return len(text) / 4


@dataclass(frozen=True)
class Insights:
    """Reads the finished ``trials`` of a search, by their ``posterior``; ``seed`` is that of its draws."""

    space: Space
    config: SearchConfig
    trials: Sequence[FinishedTrial]
    posterior: Posterior
    seed: int
    count_tokens: CountTokens

    def around(self, chosen: FinishedTrial) -> Insight:
        """Return what is known around the winner."""
        mean, rng = self.posterior.surrogate, np.random.default_rng(self.seed)
        draws = [self.posterior.draw(rng) for _ in range(DRAWS)]
        origins = self._origins(mean, draws, chosen.candidate)
        return Insight(
            order=self._order(mean, chosen.candidate, rng),
            ladder=self._ladder(mean, chosen),
            gain_of_1000_calls=self._gain_of_1000_calls(draws, chosen.candidate),
            origins=origins,
        )

    def _origins(self, mean: Surrogate, draws: Sequence[Surrogate], chosen: Candidate) -> list[OriginValue]:
        """Value the chosen rules in the wordings of one origin after the other."""
        used = np.flatnonzero(chosen.use)
        tried = {(j, trial.candidate.wording[j]) for trial in self.trials for j in np.flatnonzero(trial.candidate.use)}
        found = dict.fromkeys(origin for j in used for origin in self.space.rules[j].origins)
        origins = [origin for origin in found if origin != UNKNOWN]
        rows: list[tuple[str, int, int]] = []
        sides: list[Candidate] = []
        for origin in origins if len(origins) > 1 else ():
            own = [(j, number) for j in used if (number := self.space.rules[j].wording_from(origin)) is not None]
            if asked := sum(pair in tried for pair in own):
                wording = chosen.wording.copy()
                for j, number in own:
                    wording[j] = number
                rows.append((origin, len(own), asked))
                sides.append(replace(chosen, wording=wording))
        if not sides:
            return []
        low, high = np.quantile([drawn.neighbours(chosen, sides) for drawn in draws], LEVELS, axis=0)
        return [
            OriginValue(origin=origin, rules=rules, asked=asked, expected=value, interval=(float(a), float(b)))
            for (origin, rules, asked), value, a, b in zip(rows, mean.neighbours(chosen, sides), low, high, strict=True)
        ]

    def _order(self, mean: Surrogate, chosen: Candidate, rng: np.random.Generator) -> OrderSpread:
        shuffled = [replace(chosen, key=rng.permutation(chosen.key)) for _ in range(ORDERS)]
        own, *others = mean.neighbours(chosen, [chosen, *shuffled])
        return OrderSpread(own=own, mean=float(np.mean(others)), sd=float(np.std(others)))

    def _ladder(self, mean: Surrogate, chosen: FinishedTrial) -> list[Rung]:
        """Shorten the chosen set rule by rule, add the sets asked in full, and keep those that no shorter set beats.

        The chosen set is the last: longer ones are left out, and none counts as better. A set that was not asked counts
        as the model expects, less what the model expects too much of the chosen set, and never more than the set it was
        shortened from: the search tried such sets and preferred this one.
        """
        count = cache(self.count_tokens)
        own, expected_of_own = chosen.objective or 0.0, mean.value(chosen.candidate)
        optimism = expected_of_own - own
        sets = [(self.space.rule_set(chosen.candidate), own, True)]
        for trial in asked_in_full(self.trials):
            if trial.candidate.size:  # half its own answers, half the model
                gap = (mean.value(trial.candidate) - expected_of_own) - ((trial.objective or 0.0) - own)
                sets.append((self.space.rule_set(trial.candidate), min((trial.objective or 0.0) + gap / 2, own), True))
        candidate, worth = chosen.candidate, own
        while candidate.size > 1:
            candidate = self._shorter(mean, chosen.candidate, candidate, count)
            (expected,) = mean.neighbours(chosen.candidate, [candidate])
            worth = min(worth, expected - optimism)
            sets.append((self.space.rule_set(candidate), worth, False))
        rungs = [
            Rung(tokens=round(count(_shown(rules))), rules=rules, expected=value, asked=asked)
            for rules, value, asked in sets
        ]
        ladder: list[Rung] = []
        for rung in sorted(rungs, key=lambda rung: (rung.tokens, -rung.expected, not rung.asked)):
            rank = rung.expected, rung.asked  # of two sets with the same value, the one that was asked is better
            if not ladder or (rung.tokens > ladder[-1].tokens and rank >= (ladder[-1].expected, ladder[-1].asked)):
                ladder.append(rung)
            if rung is rungs[0]:
                break
        return ladder

    def _shorter(self, mean: Surrogate, centre: Candidate, candidate: Candidate, count: CountTokens) -> Candidate:
        """Return the candidate without the rule that is worth least per token."""
        used = np.flatnonzero(candidate.use)
        options = [candidate.with_rule(int(j), use=False) for j in used]
        own, *values = mean.neighbours(centre, [candidate, *options])
        saved = [count(self.space.rules[j].wordings[candidate.wording[j]]) for j in used]
        return options[int(np.argmin((own - np.array(values)) / np.maximum(saved, 1)))]

    def _gain_of_1000_calls(self, draws: Sequence[Surrogate], chosen: Candidate) -> float:
        """Return the part of today's regret that 1,000 more calls would remove.

        Regret is what the best set under a draw is worth above the chosen one, averaged over draws (the expected
        value of perfect information). It shrinks about as 1 over the square root of calls.
        """
        regrets = []
        for drawn in draws[::6]:
            best = drawn.best(chosen, self.config.parsimony, moves=FEW_MOVES)
            value, own = drawn.neighbours(chosen, [best, chosen])
            regrets.append(max(value - own, 0.0))
        asked = sum(trial.asked for trial in self.trials)
        return float(np.mean(regrets) * (1 - np.sqrt(asked / (asked + 1000))))


def _shown(rules: RuleSet) -> str:
    """Return what a rule set adds to a prompt."""
    return "\n".join([rules.render(), *(f"{input_text(demo.inputs)}\n{demo.label}" for demo in rules.demos)]).strip()
