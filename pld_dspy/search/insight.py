"""What the log gives for free: effects with intervals, the weight of order, shorter rule sets, and what more would buy.

Everything here is read off the fitted model and the trials; no call is made. The figures are the model's view of the
validation set, shrunk towards 0 where little was asked; test decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..rules import RuleSet, is_draw, origins_of
from .belief import Belief
from .result import Effect, Insight, Kind, OrderSpread, OriginValue, Rung
from .space import Candidate, Space
from .surrogate import Surrogate
from .trials import Seen, asked_in_full

DRAWS = 60
ORDERS = 200
LEVEL = (0.025, 0.975)

CountTokens = Callable[[str], float]
"""Text -> tokens."""


def characters(text: str) -> float:
    """Estimate tokens where no tokenizer is at hand: about four characters of English each."""
    return len(text) / 4


@dataclass(frozen=True)
class Insights:
    """Reads a finished search.

    Attributes:
        space: the rules.
        belief: what is believed of them.
        seen: the finished trials.
        seed: of the draws.
    """

    space: Space
    belief: Belief
    seen: Sequence[Seen]
    seed: int

    def of(self, chosen: Seen, count_tokens: CountTokens) -> Insight | None:
        """Return what is known around the chosen trial; None where no model was fitted.

        Args:
            chosen: the winner.
            count_tokens: the student's tokenizer, or an estimate.
        """
        posterior = self.belief.posterior(self.seen)
        if posterior is None:
            return None
        rng = np.random.default_rng(self.seed)
        count = cache(count_tokens)
        draws = [posterior.draw(rng) for _ in range(DRAWS)]
        origins = self._origins(posterior.surrogate, draws, chosen.candidate)
        return Insight(
            effects=self._effects(posterior.surrogate, draws, chosen.candidate),
            order=self._order(posterior.surrogate, chosen.candidate, rng),
            ladder=self._ladder(posterior.surrogate, chosen, count),
            gain_of_1000_calls=self._outlook(draws, chosen.candidate),
            origins=origins,
            draw_spread=_draw_spread(origins),
        )

    def _effects(self, mean: Surrogate, draws: Sequence[Surrogate], chosen: Candidate) -> list[Effect]:
        """Compare the chosen set with each of its neighbours, under the mean and under draws."""
        rows: list[tuple[Kind, str, int | None, Candidate, Candidate]] = []
        for j, rule in enumerate(self.space.rules):
            inside = chosen.with_rule(j, use=True)
            rows.append(("rule", rule.id, None, inside, chosen.with_rule(j, use=False)))
            rows += [
                ("wording", rule.id, number, inside.with_rule(j, use=True, wording=number), inside)
                for number in range(len(rule.wordings))
                if number != chosen.wording[j]
            ]
            rows.append(("place", rule.id, None, inside.moved(j, first=False), inside.moved(j, first=True)))
        sides = [candidate for row in rows for candidate in row[3:]]

        def gaps(student: Surrogate) -> NDArray[np.float64]:
            values = np.array(student.neighbours(chosen, sides))
            return np.asarray(values[0::2] - values[1::2])

        low, high = np.quantile([gaps(drawn) for drawn in draws], LEVEL, axis=0)
        return [
            Effect(kind=kind, rule=rule, wording=wording, mean=float(m), interval=(float(a), float(b)))
            for (kind, rule, wording, *_), m, a, b in zip(rows, gaps(mean), low, high, strict=True)
        ]

    def _origins(self, mean: Surrogate, draws: Sequence[Surrogate], chosen: Candidate) -> list[OriginValue]:
        """Put the chosen rules into the wordings of one origin after the other."""
        used = np.flatnonzero(chosen.use)
        tried = {(j, trial.candidate.wording[j]) for trial in self.seen for j in np.flatnonzero(trial.candidate.use)}
        named = origins_of(self.space.rules[j] for j in used)
        rows: list[tuple[str, int, int]] = []
        sides: list[Candidate] = []
        for origin in named if len(named) > 1 else ():
            own = [(j, number) for j in used if (number := self.space.rules[j].wording_from(origin)) is not None]
            if asked := sum(pair in tried for pair in own):
                wording = chosen.wording.copy()
                for j, number in own:
                    wording[j] = number
                rows.append((origin, len(own), asked))
                sides.append(Candidate(chosen.use, chosen.key, wording))
        if not sides:
            return []
        low, high = np.quantile([drawn.neighbours(chosen, sides) for drawn in draws], LEVEL, axis=0)
        return [
            OriginValue(origin=origin, rules=rules, asked=asked, expected=value, interval=(float(a), float(b)))
            for (origin, rules, asked), value, a, b in zip(rows, mean.neighbours(chosen, sides), low, high, strict=True)
        ]

    def _order(self, mean: Surrogate, chosen: Candidate, rng: np.random.Generator) -> OrderSpread:
        shuffled = [Candidate(chosen.use, rng.permutation(chosen.key), chosen.wording) for _ in range(ORDERS)]
        own, *others = mean.neighbours(chosen, [chosen, *shuffled])
        return OrderSpread(own=own, mean=float(np.mean(others)), sd=float(np.std(others)))

    def _ladder(self, mean: Surrogate, chosen: Seen, count_tokens: CountTokens) -> list[Rung]:
        """Shorten the chosen set rule by rule and add what was asked; keep what nothing shorter beats.

        A set that was not asked is worth what the model says of it, less what the model says too much of the
        chosen one, and no more than that: by the model some of the chosen rules do harm, or it would have been the
        model's own optimum, but the search tried such sets and chose this one.
        """
        own, believed_of_own = chosen.objective or 0.0, mean.value(chosen.candidate)
        optimism = believed_of_own - own
        rungs = []
        for trial in asked_in_full(self.seen):
            if trial.candidate.size:  # half its own answers, half the model, and exactly its own for the chosen set
                gap = (mean.value(trial.candidate) - believed_of_own) - ((trial.objective or 0.0) - own)
                rungs.append((self._rules(trial), (trial.objective or 0.0) + gap / 2, True))
        candidate, worth = chosen.candidate, own
        while candidate.size > 1:
            candidate = self._shorter(mean, chosen.candidate, candidate, count_tokens)
            (believed,) = mean.neighbours(chosen.candidate, [candidate])
            worth = min(worth, believed - optimism)
            rungs.append((self.space.rule_set(candidate), worth, False))
        priced = sorted(
            (
                Rung(tokens=round(count_tokens(rules.render())), rules=rules, expected=value, asked=asked)
                for rules, value, asked in rungs
            ),
            key=lambda rung: (rung.tokens, -rung.expected, not rung.asked),
        )
        ladder: list[Rung] = []
        for rung in priced:
            if not ladder or (rung.tokens > ladder[-1].tokens and _rank(rung) >= _rank(ladder[-1])):
                ladder.append(rung)
        return ladder

    def _shorter(
        self, mean: Surrogate, centre: Candidate, candidate: Candidate, count_tokens: CountTokens
    ) -> Candidate:
        """Return the candidate without the rule that is worth least a token."""
        used = np.flatnonzero(candidate.use)
        options = [candidate.with_rule(int(j), use=False) for j in used]
        own, *values = mean.neighbours(centre, [candidate, *options])
        saved = [count_tokens(self.space.rules[j].wordings[candidate.wording[j]]) for j in used]
        return options[int(np.argmin((own - np.array(values)) / np.maximum(saved, 1)))]

    def _outlook(self, draws: Sequence[Surrogate], chosen: Candidate) -> float:
        """Estimate what 1,000 more calls would add: the part of today's regret that they would clear up.

        Regret is what the best set under a draw is worth above the chosen one, averaged over draws (the expected
        value of perfect information, in the model's terms). It shrinks about as 1 over the square root of calls.
        """
        regrets = []
        for drawn in draws[::6]:
            best = drawn.best(chosen, self.belief.config.parsimony, moves=self.belief.config.moves)
            value, own = drawn.neighbours(chosen, [best, chosen])
            regrets.append(max(value - own, 0.0))
        asked = sum(len(trial.asked.rows) for trial in self.seen)
        return float(np.mean(regrets) * (1 - np.sqrt(asked / (asked + 1000))))

    def _rules(self, trial: Seen) -> RuleSet:
        return self.space.rule_set(trial.candidate)


def _rank(rung: Rung) -> tuple[float, bool]:
    """Of two sets that are worth the same, the one that was asked is the better bet."""
    return rung.expected, rung.asked


def _draw_spread(origins: Sequence[OriginValue]) -> float | None:
    values = [one.expected for one in origins if is_draw(one.origin)]
    return max(values) - min(values) if len(values) > 1 else None
