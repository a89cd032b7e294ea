"""Settings of the search: how to spend student calls."""

from __future__ import annotations

import math
from typing import Literal

from optuna.samplers import BaseSampler
from pydantic import Field

from ..errors import Settings

Style = Literal["any", "rules", "cues"]
CONFIRMATIONS = 2  # after screening: the best set not yet asked in full, and the model's own optimum
WHOLE_LISTS, WITH_TEACHER = 2, 4
"""Most whole lists that are asked: in their first and in their second wordings; a teacher's and the extracted ones."""
SHOWN = 2
"""Sets with demonstrations that are asked in full, where there are any: the best whole list, and no rules."""
LEAST = 100
"""Fewer validation examples cannot choose rules. With 60, what a search chooses is 0.00, 0.02 and 0.03 below the best
whole list in three draws of StereoSet, and with 32 0.10, 0.02 and 0.07 below all rules in three draws of the demo task,
and 0.05 and 0.00 above them in two of StereoSet, for three times the calls. These are macro-F1 on 92 to 176 examples
that were not drawn (experiments/results: stereoset-60, demo-unseen, stereoset-unseen)."""


class SearchConfig(Settings):
    """How to spend student calls. ``screen_calls=0, alpha=0, parsimony=0`` is a plain full-evaluation search.

    Attributes:
        screen_calls: calls for small random sets on slices of the validation set, from which the search learns what
            rules do; 0 turns this model off.
        trials: candidates to race on the validation set after that, starting with the best screened sets.
        block: examples asked at once in a race; also the size of a screening slice.
        alpha: stop a race once the candidate's chance to beat the best set so far falls below this.
        parsimony: cost of one rule, in units of the objective.
        demos: most fixed demonstrations below the rules; the search chooses among three draws of so many training
            examples, their halves, and none, or between the last draw and none where there is no search. 0 for none.
        style: which wordings may be chosen: "rules", sentences only; "cues", lists of cue words only; or "any". A rule
            without such a wording is left out. What people wrote, and what a teacher revises, may always be chosen.
        logprobs: learn from label log-probabilities where adapter and server give them: they show how close each
            answer was to another label.
        calls: keep the whole search within this many student calls; None for no limit. Races are cut short, down to
            one block; a race cut short can only win after a confirmation. All else is always asked. Several workers
            may exceed the limit by what they are asking at the moment.
        sampler: any Optuna sampler; None for a seeded multivariate TPE, which resumes exactly.
    """

    screen_calls: int = Field(default=960, ge=0)
    trials: int = Field(default=10, ge=0)
    block: int = Field(default=24, ge=1)
    alpha: float = Field(default=0.15, ge=0, lt=0.5)
    parsimony: float = Field(default=0.0003, ge=0)
    demos: int = Field(default=0, ge=0)
    style: Style = "any"
    logprobs: bool = True
    calls: int | None = Field(default=None, ge=0)
    sampler: BaseSampler | None = None

    @classmethod
    def within(cls, calls: int, n: int, *, whole: int = WHOLE_LISTS) -> SearchConfig:
        """Return settings that spend about ``calls`` student calls on ``n`` validation examples, and no more.

        Sets asked in full come first: the unchanged student and up to ``whole`` whole lists (``WITH_TEACHER``, where
        one writes rules). Of what two confirmations leave, a bit less than half goes to screening. A race asks 30% to
        85% of the examples on average; 60% are assumed. Fewer than ``LEAST`` examples are asked about whole lists
        alone.
        """
        if n < LEAST:
            return cls(calls=calls).on(n)
        screened, trials = _shares(calls - (1 + whole + CONFIRMATIONS) * n, n, cls().block)
        return cls(calls=calls, screen_calls=screened, trials=trials)

    def on(self, n: int) -> SearchConfig:
        """Return these settings for ``n`` validation examples: below ``LEAST``, no screening or races unless set."""
        if n >= LEAST or {"screen_calls", "trials"} & self.model_fields_set:
            return self
        return self.model_copy(update={"screen_calls": 0, "trials": 0})

    def continued(self, calls: int, n: int) -> dict[str, int]:
        """Return the settings of a search that goes on from one with these, for about ``calls`` more student calls.

        The revised list and the confirmations come first; from three times ``n`` calls on, there are no more.
        """
        if not self.screen_calls:
            return {"calls": calls, "trials": max(calls - n, 0) // n}
        left = calls - (1 + CONFIRMATIONS) * n
        screened, trials = _shares(left, n, self.block, least=self.block)  # 0 would be no model
        return {"calls": calls, "screen_calls": screened, "trials": trials}

    @property
    def learns_from_logprobs(self) -> bool:
        """Whether the search uses log-probabilities."""
        return self.logprobs and self.screen_calls > 0

    def most_calls(self, n: int, *, whole: int = WHOLE_LISTS) -> int:
        """Return the most student calls that a search makes on ``n`` validation examples, whole lists included."""
        slices = -(-self.screen_calls // self.block) * min(self.block, n)
        confirmations = CONFIRMATIONS if self.screen_calls else 0
        lists = self.whole_lists(n, whole)
        full = 1 + lists + self.with_demos(n, lists) + confirmations
        most = slices + n * (self.trials + full)
        if self.calls is None:
            return most
        return min(most, max(self.calls, most - self.trials * (n - min(self.block, n))))

    def whole_lists(self, n: int, whole: int) -> int:
        """Return how many of ``whole`` lists are asked in full: all that ``calls`` allow beside the others, or one.

        The student is asked before them, and the best of them with demonstrations after them.
        """
        others = 1 + bool(self.demos)
        return whole if self.calls is None else max(min(whole, self.calls // n - others), 1)

    def with_demos(self, n: int, lists: int) -> int:
        """Return how many sets with demonstrations are asked in full after the student and so many whole ``lists``.

        The best list with them; then, where ``calls`` allow, they alone.
        """
        if not self.demos:
            return 0
        return 1 if self.calls is not None and self.calls // n < 1 + lists + SHOWN else SHOWN

    def race_limit(self, *, asked: int, races: int, n: int) -> float:
        """Return how many of ``n`` examples a race may ask, ``asked`` before it and with ``races`` after it."""
        if self.calls is None:
            return math.inf
        confirmations = CONFIRMATIONS if self.screen_calls else 0
        return self.calls - asked - races * min(self.block, n) - confirmations * n


def _shares(left: int, n: int, block: int, least: int = 0) -> tuple[int, int]:
    """Divide ``left`` calls: return those that screen, at ``least`` so many, and the number of races."""
    left = max(left, 0)
    screened = max(int(0.45 * left) // block * block, least)
    trials = min(round(0.55 * left / (0.6 * n)), (left - screened) // min(block, n))
    return screened, max(trials, 0)
