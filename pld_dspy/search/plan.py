"""The plan: every step of a search, queued in the study as a waiting trial that Optuna gives to one worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from ..errors import BudgetExceeded
from .search_config import CONFIRMATIONS, SearchConfig
from .space import Candidate, Space
from .trials import KIND, SECONDS, STEP

logger = logging.getLogger(__name__)

WITH_DEMOS = "rules and demonstrations"
POLL_SECONDS = 0.5
LOST_SECONDS = 600.0  # a trial is lost if it runs longer than this, and than five times the slowest so far


@dataclass(frozen=True)
class Plan:
    """The steps of one search, queued in its study; ``seed`` is that of the screened sets.

    A search that goes on from another begins with the ``carried`` trials of that; its screened sets are ``crossed``
    from the best set before and the revised one. ``whole`` is how many of the space's whole lists are asked, ``shown``
    how many sets with demonstrations after them.
    """

    study: optuna.Study
    space: Space
    config: SearchConfig
    seed: int
    whole: int = 1
    shown: int = 0
    carried: int = 0
    crossed: tuple[Candidate, Candidate] | None = None  # None also at a further worker, which queues nothing
    stop: Path | None = None  # a file that ends the search once it is there
    _first_seen: dict[int, float] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def guards(self) -> int:
        """Number of sets that are asked in full before anything else, after the carried ones."""
        if self.carried:
            return self.carried + 1
        return 1 + self.whole + self.shown

    @property
    def first_race(self) -> int:
        """The first step that races, after the guards and the screened sets."""
        return self.guards - (-self.config.screen_calls // self.config.block)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.first_race + self.config.trials + (CONFIRMATIONS if self.config.screen_calls else 0)

    def queue(self) -> bool:
        """Queue all steps not done, in order, so that a resumed search is the same; return whether any was new."""
        waiting, missing = self._trials(TrialState.WAITING), self._missing()
        if {trial.user_attrs[STEP] for trial in waiting} == missing and not self._trials(TrialState.RUNNING):
            return False
        # Other workers go on meanwhile: only once nothing waits or runs is it certain what is missing.
        while self._trials(TrialState.RUNNING) or self._trials(TrialState.WAITING):
            for trial in self._trials(TrialState.RUNNING):
                self._give_up(trial)
            for _ in self._trials(TrialState.WAITING):  # Optuna can end only trials that were asked for
                self.study.tell(self.study.ask(), state=TrialState.FAIL, skip_if_finished=True)
        missing = self._missing()
        for step, (kind, candidate) in enumerate(self._steps()):
            if step in missing:
                known = {} if candidate is None else self.space.parameters(candidate)
                self.study.enqueue_trial(known, user_attrs={STEP: step, KIND: kind})
        return bool(missing)

    def _missing(self) -> set[int]:
        done = {trial.user_attrs[STEP] for trial in self._trials(TrialState.COMPLETE)}
        return set(range(self.steps)) - done

    def next(self) -> FrozenTrial | None:
        """Return the trial that Optuna gives out next, if any waits; BudgetExceeded if a person stopped the search."""
        if self.stop is not None and self.stop.exists() and self._trials(TrialState.COMPLETE):
            raise BudgetExceeded(f"The file {self.stop.name!r} in the run folder asked for it.")
        self._running()
        return min(self._trials(TrialState.WAITING), key=lambda trial: trial.number, default=None)

    def wait_for_others(self) -> bool:
        """Wait for trials that run at other workers; return whether a step waits again, since its worker was lost."""
        while running := self._running():
            complete = self._trials(TrialState.COMPLETE)
            slowest = max((trial.user_attrs.get(SECONDS, 0.0) for trial in complete), default=0.0)
            patience = max(LOST_SECONDS, 5 * slowest)
            lost = [trial for trial, seconds in running if seconds >= patience and self._give_up(trial)]
            for trial in lost:
                logger.warning("Trial %d was lost with its worker; its step is made again.", trial.number)
                self.study.enqueue_trial(trial.system_attrs.get("fixed_params", {}), user_attrs=trial.user_attrs)
            if lost:
                return True
            time.sleep(POLL_SECONDS)
        return bool(self._trials(TrialState.WAITING))

    def _running(self) -> list[tuple[FrozenTrial, float]]:
        """Return the running trials, each with the seconds since this worker first saw it run.

        Optuna stores local times without their zone, so the times of another machine cannot be compared.
        """
        now = time.monotonic()
        return [
            (trial, now - self._first_seen.setdefault(trial.number, now)) for trial in self._trials(TrialState.RUNNING)
        ]

    def _give_up(self, trial: FrozenTrial) -> bool:
        """End the trial of a lost worker; return False where it finished after all, or another worker ended it."""
        try:
            self.study.tell(trial.number, state=TrialState.FAIL)
        except (UpdateFinishedTrialError, ValueError):
            return False
        return True

    def _steps(self) -> Iterator[tuple[str, Candidate | None]]:
        """Yield the kind of each step, and its candidate where that is known beforehand."""
        if self.crossed is not None:
            yield from self._further_steps(*self.crossed)
            return
        yield "pinned rules" if self.space.pinned else "baseline", self.space.none()
        yield from islice(self.space.whole_lists.items(), self.whole)
        shown = (WITH_DEMOS, None), ("demonstrations", self.space.none(demos=len(self.space.demos) - 1))
        yield from shown[: self.shown]
        for step in range(self.guards, self.first_race):
            yield "screen", self.space.random(np.random.default_rng([self.seed, step]))
        for step in range(self.first_race, self.steps):
            yield self._late_kind(step), None

    def _further_steps(self, best: Candidate, revised: Candidate) -> Iterator[tuple[str, Candidate | None]]:
        """Yield the steps of a search that goes on: it first learns which of the changes make the difference.

        Every second set has the changes that the one before it left out. Without screening there is no model to
        propose what is raced, so that crosses the two sets as well.
        """
        yield from (("carried", None) for _ in range(self.carried))  # never missing
        yield "revised", revised
        for step in range(self.guards, self.steps):
            pair, second = divmod(step - self.guards, 2)
            parents, rng = (revised, best) if second else (best, revised), np.random.default_rng([self.seed, pair])
            screens = step < self.first_race
            kind = "screen" if screens else self._late_kind(step)
            yield kind, self.space.crossed(*parents, rng) if screens or not self.config.screen_calls else None

    def _late_kind(self, step: int) -> str:
        return "race" if step < self.first_race + self.config.trials else "confirm"

    def _trials(self, state: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(state,))
