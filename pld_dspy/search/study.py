"""The study: guards, screening, racing and confirming, all as trials of one Optuna study.

The plan is in the study from the start, one waiting trial a step. Every finished trial stores which validation
examples it asked and which were right, so the study alone holds all that the search knows: a resumed search, or
another worker, reads it and goes on.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import dspy
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ..errors import BudgetExceeded
from ..rules import Rule, RuleSet
from ..scoring.difference import chance_to_win
from ..student.evaluator import Evaluator, Reply
from ..student.redecide import redecide_to_match_gold
from ..task.splits import stratified_order
from .belief import Belief
from .config import SearchConfig
from .insight import CountTokens, Insights, characters
from .plan import Plan
from .propose import Proposer
from .result import SearchResult, TrialRow
from .sampler import SeededTPE, proposing
from .space import Candidate, Space
from .surrogate import Floats
from .trials import KIND, STEP, Asked, Seen, asked_in_full, incumbent

logger = logging.getLogger(__name__)


class RuleSearch:
    """One search over the wordings, choice and order of rules.

    Args:
        rules: the K candidate rules, in PLD order.
        evaluator: the student as a function of its rules.
        valset: the n validation examples.
        study: a study from :func:`open_study`; its finished trials are taken over.
        config: how to spend calls.
        about: n x K in [0, 1], how much an example is like those that a rule came from; it is used only if it
            predicts held-out answers better than doing without.
        seed: of every random choice.
        on_trial: called once a trial that finishes, here or at another worker.
        calibrated: whether answers will be decided with offsets that make up for leanings to labels: then sets are
            compared by what they do besides, where the server gives log-probabilities.
        count_tokens: the student's tokenizer: rendered rules -> prompt tokens; an estimate where None.
        joins: whether this is a further worker on a study whose plan another search has queued and will report.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        evaluator: Evaluator,
        valset: Sequence[dspy.Example],
        *,
        study: optuna.Study,
        config: SearchConfig | None = None,
        about: Floats | None = None,
        calibrated: bool = False,
        seed: int = 0,
        on_trial: Callable[[TrialRow], object] | None = None,
        count_tokens: CountTokens | None = None,
        joins: bool = False,
    ) -> None:
        self.space = Space(tuple(rules))
        self.evaluator = evaluator
        self.valset = list(valset)
        self.study = study
        self.config = config or SearchConfig()
        self.seed = seed
        self.calibrated = calibrated
        self.golds = evaluator.task.golds(valset)
        self.plan = Plan(study, self.space, self.config, seed)
        self.belief = Belief(
            self.space,
            self.golds,
            evaluator.task.labels,
            self.config,
            known=self.plan.first_race if self.plan.screens else 0,
            about=about,
            objective=evaluator.objective,
            calibrated=calibrated,
        )
        self.proposer = Proposer(self.space, self.belief, self.config, seed)
        self.count_tokens = count_tokens or characters
        self._waited = 0.0
        self.made = 0
        """Trials made here, not at other workers."""
        self.seen: list[Seen] = []
        self.on_trial: Callable[[TrialRow], object] | None = None
        self._read()
        self.on_trial = on_trial
        if not joins:
            self.plan.queue([trial.step for trial in self.seen])

    @cached_property
    def _truth(self) -> NDArray[np.int64]:
        """The validation examples' labels by number, for answers that are decided with offsets."""
        return np.array([self.evaluator.task.labels.index(gold) for gold in self.golds])

    @property
    def steps(self) -> int:
        """Number of trials of a search that nothing stops."""
        return self.plan.steps

    def run(self) -> SearchResult:
        """Search until the steps or the budget are used up; return the best seen, by all workers.

        Raises:
            BudgetExceeded: the budget does not even allow scoring the unchanged student.
        """
        started = time.perf_counter()
        stopped = self.work()
        while self._others_left_work() and stopped is None:
            stopped = self.work()
        if stopped is not None and not any(trial.kind == "baseline" for trial in self.seen):
            raise BudgetExceeded(stopped)
        found = self._result(stopped)
        return replace(found, own_seconds=time.perf_counter() - started - self._waited)

    def work(self) -> str | None:
        """Make trials until none waits; return why it stopped before that, if it did."""
        try:
            while (waiting := self.plan.next()) is not None:
                self._step(waiting)
        except BudgetExceeded as error:
            logger.warning("Search stopped early: %s", error)
            return str(error)
        return None

    def _others_left_work(self) -> bool:
        """Wait for other workers; return whether one of them left a step, lost or given up for want of budget."""
        started = time.perf_counter()
        left = self.plan.others_left_work()
        self._waited += time.perf_counter() - started
        self._read()
        return left or self.plan.queue([trial.step for trial in self.seen])

    def _read(self) -> None:
        """Take over finished trials that are new here; of two of one step, the first."""
        known = {trial.step for trial in self.seen}
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        fresh = [trial for trial in complete if trial.user_attrs[STEP] not in known]
        first = {trial.user_attrs[STEP]: trial for trial in reversed(fresh)}
        new = [Seen.of(trial, self.space) for trial in fresh if first[trial.user_attrs[STEP]] is trial]
        self.seen = sorted([*self.seen, *new], key=lambda trial: trial.step)
        if self.on_trial is not None:
            for trial in new:
                self.on_trial(trial.row(self.space))

    def _step(self, waiting: FrozenTrial) -> None:
        """Make the trial that waits, or a later one where another worker was faster."""
        distributions = self.space.distributions()
        proposal = self._proposal(waiting)
        self.study.sampler = (
            self._sampler(waiting.user_attrs[STEP]) if proposal is None else proposing(self.space.parameters(proposal))
        )
        trial = self.study.ask(distributions)
        if STEP not in trial.user_attrs:  # other workers took the last ones meanwhile, so Optuna made a new one
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            return
        try:
            self._make(trial, trial.user_attrs[STEP], trial.user_attrs[KIND])
        except BudgetExceeded:
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        except UpdateFinishedTrialError:
            logger.warning("Trial %d took so long here that it was taken for lost and made elsewhere.", trial.number)
        self._read()

    def _make(self, trial: Trial, step: int, kind: str) -> None:
        """Ask the trial's candidate and tell Optuna."""
        candidate = self.space.candidate(trial.params)
        rules = None if kind == "baseline" else self.space.rule_set(candidate)
        asked = self._ask(candidate, rules, step, kind)
        objective = None
        if len(asked.rows) == len(self.valset):
            objective = self._objective(rules)
        told = self.belief.value(self.seen, candidate, asked, objective)
        for name, value in {**asked.attrs(len(self.valset)), "objective": objective}.items():
            trial.set_user_attr(name, value)  # where another worker gave the trial up, this says so, and tell does not
        self.study.tell(trial, told)
        self.made += 1

    def _objective(self, rules: RuleSet | None) -> float:
        """Return what the whole validation set's answers, all in the ledger, come to."""
        answers = self.evaluator.answers(rules, self.valset, stage="search")
        if self.calibrated:
            answers = redecide_to_match_gold(answers, self.valset, self.evaluator)
        return self.evaluator.value(self.valset, answers)

    def _proposal(self, waiting: FrozenTrial) -> Candidate | None:
        step, kind = waiting.user_attrs[STEP], waiting.user_attrs[KIND]
        if kind == "race":
            return self.proposer.race(step - self.plan.first_race, self.seen)
        if kind == "confirm":
            return self.proposer.confirm(step - self.plan.first_race - self.config.trials, self.seen)
        return None

    def _sampler(self, step: int) -> BaseSampler:
        seed = int(np.random.default_rng([self.seed, step]).integers(2**31))
        return self.config.sampler or SeededTPE(seed, self.space.distributions())

    def _ask(self, candidate: Candidate, rules: RuleSet | None, step: int, kind: str) -> Asked:
        """Ask one candidate block by block, until done or, in a race, beaten."""
        rival = None
        if kind == "race" and asked_in_full(self.seen):
            rival = incumbent(self.seen, self.config.parsimony)
        asked = Asked(np.empty(0, dtype=np.int64), np.empty(0, dtype=bool), None)
        replies: list[Reply] = []
        room = self._room(step) if kind == "race" else math.inf
        for block in self._blocks(step, kind):
            if len(asked.rows) and len(asked.rows) + len(block) > room:
                break
            started = time.perf_counter()
            replies += self.evaluator.replies(rules, [self.valset[row] for row in block], stage="search")
            self._waited += time.perf_counter() - started
            asked = self._asked(np.append(asked.rows, block), replies)
            if rival is not None and len(asked.rows) < len(self.valset) and self._beaten(candidate, asked, rival, step):
                break
        return asked.sorted()

    def _asked(self, rows: NDArray[np.int64], replies: Sequence[Reply]) -> Asked:
        right = np.array([reply.label == self.golds[row] for reply, row in zip(replies, rows, strict=True)])
        asked = Asked(rows, right, _logits(replies, self.evaluator.task.labels))
        return asked.matched(self._truth) if self.calibrated else asked

    def _room(self, step: int) -> float:
        """Return how many examples the race may ask."""
        before = sum(len(trial.asked.rows) for trial in self.seen)
        races = self.plan.first_race + self.config.trials - step - 1
        return self.config.room(asked=before, races=races, n=len(self.valset))

    def _beaten(self, candidate: Candidate, asked: Asked, rival: Seen, step: int) -> bool:
        """Return whether a candidate is unlikely to be worth more than the incumbent."""
        if not self.config.alpha:
            return False
        rng = np.random.default_rng([self.seed, step, len(asked.rows)])
        chance = self.belief.chance_to_win(self.seen, candidate, asked, rival.candidate, rng)
        if chance is None:
            chance = chance_to_win(asked.correct, rival.by_row(len(self.valset))[asked.rows])
        return chance < self.config.alpha

    def _blocks(self, step: int, kind: str) -> list[NDArray[np.int64]]:
        """Return the rows to ask, block by block, each with all labels in proportion."""
        n, block = len(self.valset), self.config.block
        if kind == "screen":  # slices go round, so that all examples are asked alike
            order = stratified_order(self.golds, np.random.default_rng(self.seed))
            start = (step - self.plan.guards) * block
            return [order[np.arange(start, start + min(block, n)) % n]]
        if kind == "race":
            order = stratified_order(self.golds, np.random.default_rng([self.seed, step]))
            return [order[start : start + block] for start in range(0, n, block)]
        return [np.arange(n)]

    def _result(self, stopped: str | None) -> SearchResult:
        """Choose among fully asked candidates; the model's view shrinks the luck of the best of many."""
        posterior = self.belief.posterior(self.seen)

        def merit(trial: Seen) -> float:
            value = (trial.objective or 0.0) - self.config.parsimony * trial.candidate.size
            if posterior is None:
                return value
            believed = posterior.surrogate.value(trial.candidate)
            return value + believed - self.config.parsimony * trial.candidate.size

        baseline = self.seen[0]
        better = [one for one in asked_in_full(self.seen) if (one.objective or 0.0) > (baseline.objective or 0.0)]
        best = max(better, key=merit, default=baseline)
        effects = {} if posterior is None else posterior.surrogate.rule_effects(best.candidate)
        rules = [rule.model_copy(update={"effect": effects.get(rule.id)}) for rule in self.space.rules]
        chosen = Space(tuple(rules)).rule_set(best.candidate)
        return SearchResult(
            best=None if best is baseline else chosen,
            bench=[rule for j, rule in enumerate(rules) if best is baseline or not best.candidate.use[j]],
            baseline=baseline.objective or 0.0,
            all_rules=next((trial.objective for trial in self.seen if trial.kind == "all rules"), None),
            objective=best.objective or 0.0,
            trials=[trial.row(self.space) for trial in self.seen],
            stopped=stopped,
            insight=Insights(self.space, self.belief, self.seen, self.seed).of(best, self.count_tokens),
        )


def _logits(replies: Sequence[Reply], labels: Sequence[str]) -> Floats | None:
    """Return m x C label log-probabilities, a row of NaN for a reply that lacks them; None where all do."""
    missing = dict.fromkeys(labels, math.nan)
    given = [reply.logprobs or missing for reply in replies]
    found = [logprobs if set(logprobs) == set(labels) else missing for logprobs in given]
    if all(logprobs is missing for logprobs in found):
        return None
    return np.array([[round(logprobs[label], 3) for label in labels] for logprobs in found])
