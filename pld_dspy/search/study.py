"""The study: guards, screening, races and confirmations, all as trials of one Optuna study.

The plan is in the study from the start, one waiting trial per step. Every finished trial stores which validation
examples it asked and what came back. So the study alone holds all that the search knows: a resumed search, or another
worker, reads it and goes on.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import dspy
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ..errors import BudgetExceeded
from ..rules import Demonstration, Rule, RuleSet
from ..student.evaluator import Evaluator
from ..student.redecide import objective_of
from ..task.splits import stratified_order
from .ask import Asker
from .insight import CountTokens, Insights, estimate_tokens
from .plan import WITH_DEMOS, Plan
from .propose import Proposer
from .race import chance_to_win
from .search_config import SearchConfig
from .search_result import SearchResult
from .space import Candidate, Space
from .storage import damaged
from .student_model import StudentModel
from .surrogate import Posterior
from .trials import KIND, SECONDS, STEP, FinishedTrial, asked_in_full, carry_over, incumbent

logger = logging.getLogger(__name__)


class RuleSearch:
    """One search over the choice, wordings and order of rules, and the demonstrations below them.

    Args:
        rules: the K candidate rules, in PLD order; and those that are pinned, which are in every set.
        evaluator: the student as a function of its rules.
        valset: the n validation examples.
        study: a study from :func:`open_study`; the search goes on from its finished trials.
        config: how to spend calls.
        demos: the choices of demonstrations, the first of them empty.
        calibrated: whether answers will be decided with offsets that undo the student's leaning between labels, where
            there are log-probabilities; sets are then compared so.
        seed: of every random choice.
        on_trial: called once for each trial that finishes, here or at another worker.
        count_tokens: the student's tokenizer: rendered rules -> prompt tokens; an estimate where None.
        joins: whether this is a further worker on a study whose plan another search has queued and will report.
        before: the search, over the first of ``rules``, from which this one goes on in a study of its own: its trials
            are carried over, without a call, and what is chosen may be one of them.
        revised: the rule set that is asked first after that.
        stage: under which calls are counted.
        stop: the search ends after the trial under way once this file is there.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        evaluator: Evaluator,
        valset: Sequence[dspy.Example],
        *,
        study: optuna.Study,
        config: SearchConfig | None = None,
        demos: Sequence[tuple[Demonstration, ...]] = ((),),
        calibrated: bool = False,
        seed: int = 0,
        on_trial: Callable[[FinishedTrial], object] | None = None,
        count_tokens: CountTokens | None = None,
        joins: bool = False,
        before: SearchResult | None = None,
        revised: RuleSet | None = None,
        stage: str = "search",
        stop: Path | None = None,
    ) -> None:
        self.space = Space.of(rules, demos)
        self.evaluator = evaluator
        self.valset = list(valset)
        self.study = study
        self.config = config or SearchConfig()
        self.seed = seed
        self.asker = Asker(evaluator, self.valset, calibrated, stage)
        if before is not None:
            carry_over(before.trials, study, self.space, len(self.valset))
        self.trials: list[FinishedTrial] = []  # finished ones, in the order of the plan
        self._on_trial: Callable[[FinishedTrial], object] = lambda _: None
        self._read()
        crossed = None if before is None else (self.space.placed(before.best), self.space.placed(revised))
        whole = self.config.whole_lists(len(self.valset), len(self.space.whole_lists))
        shown = self.config.with_demos(len(self.valset), whole) if len(self.space.demos) > 1 else 0
        carried = sum(one.carried for one in self.trials)
        self.plan = Plan(study, self.space, self.config, seed, whole, shown, carried, crossed, stop)
        self.model = StudentModel(
            self.space,
            self.asker.golds,
            evaluator.task.labels,
            evaluator.objective.example_weights(self.asker.golds, evaluator.task.labels),
            self.config,
            screened=self.plan.first_race if self.config.screen_calls else 0,
            calibrated=calibrated,
        )
        self.count_tokens = count_tokens or estimate_tokens
        self.made = 0  # trials made here, not at other workers
        self._waited_for_others = 0.0
        self._on_trial = on_trial or self._on_trial
        if not joins:
            self.plan.queue()

    def run(self) -> SearchResult:
        """Search until the steps or the budget are used up; return the best set, by all workers.

        Raises:
            BudgetExceeded: the budget does not even allow scoring the first set: no rules, or the pinned ones alone.
        """
        started = time.perf_counter()
        stopped = self.work()
        while self._others_left_work() and stopped is None:
            stopped = self.work()
        if stopped is not None and not any(trial.step == 0 for trial in self.trials):
            raise BudgetExceeded(stopped)
        found = self._result(stopped)
        return replace(found, own_seconds=time.perf_counter() - started - self.asker.waited - self._waited_for_others)

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
        """Wait for other workers; return whether a step is left, because its worker was lost or out of budget."""
        started = time.perf_counter()
        left = self.plan.wait_for_others()
        self._waited_for_others += time.perf_counter() - started
        self._read()
        return left or self.plan.queue()

    def _read(self) -> None:
        """Read finished trials that are new here; where two made one step, the first counts."""
        known = {trial.step for trial in self.trials}
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        try:
            fresh = [trial for trial in complete if trial.user_attrs[STEP] not in known]
            first = {trial.user_attrs[STEP]: trial for trial in reversed(fresh)}
            new = [FinishedTrial.decode(one, self.space) for one in fresh if first[one.user_attrs[STEP]] is one]
            self.trials = sorted([*self.trials, *new], key=lambda trial: trial.step)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise damaged("The study of the search", error) from error
        for trial in new:
            self._on_trial(trial)

    def _step(self, waiting: FrozenTrial) -> None:
        """Make the trial that waits, or a later one where another worker was faster."""
        step, kind = waiting.user_attrs[STEP], waiting.user_attrs[KIND]
        self.study.sampler = self._sampler(step, self._proposal(step, kind))
        try:
            trial = self.study.ask(self.space.distributions())
            if STEP not in trial.user_attrs:  # other workers took the last ones meanwhile, so Optuna made a new one
                self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                return
            self._make(trial)
        except BudgetExceeded:
            self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
            raise
        except UpdateFinishedTrialError:
            logger.warning("A trial of this worker counted as lost elsewhere; its step is made again.")
        self._read()

    def _proposal(self, step: int, kind: str) -> Candidate | None:
        """Return the candidate to try; None where the plan has it, or leaves it to the sampler."""
        if kind == WITH_DEMOS:  # the best list so far, with the largest draw
            lists = [trial for trial in asked_in_full(self.trials) if trial.candidate.size]
            best = incumbent(lists, self.config.parsimony).candidate if lists else self.space.all()
            return replace(best, demos=len(self.space.demos) - 1)
        posterior = self.model.posterior(self.trials) if kind in ("race", "confirm") else None
        if posterior is None:
            return None
        value = partial(self.model.value, self.trials)
        proposer = Proposer(self.space, self.config, self.seed, self.trials, posterior, value)
        race = step - self.plan.first_race
        return proposer.race(race) if kind == "race" else proposer.confirm(race - self.config.trials)

    def _sampler(self, step: int, proposal: Candidate | None) -> BaseSampler:
        """Return a sampler of the proposal; without one the user's, or TPE seeded by the step, so that it resumes."""
        if proposal is None:
            seed = int(np.random.default_rng([self.seed, step]).integers(2**31))
            return self.config.sampler or TPESampler(seed=seed, multivariate=True, constant_liar=True)
        with warnings.catch_warnings():  # experimental since Optuna 2.4, and part of every release since
            warnings.simplefilter("ignore", ExperimentalWarning)
            return PartialFixedSampler(self.space.parameters(proposal), RandomSampler())

    def _make(self, trial: Trial) -> None:
        """Ask the trial's candidate, and give Optuna the answers and their value."""
        started, step, kind = time.perf_counter(), trial.user_attrs[STEP], trial.user_attrs[KIND]
        candidate = self.space.candidate(trial.params)
        rules = None if kind == "baseline" else self.space.rule_set(candidate)
        made = self._ask(FinishedTrial(step=step, kind=kind, candidate=candidate, rules=rules))
        if made.asked == len(self.valset):
            stage, calibrated = self.asker.stage, self.asker.calibrated
            value = objective_of(rules, self.valset, self.evaluator, stage=stage, calibrated=calibrated)
            made = replace(made, objective=value)
        value = self.model.value(self.trials, made)
        attributes = {**made.encode(len(self.valset)), SECONDS: time.perf_counter() - started}
        for name, attribute in attributes.items():
            trial.set_user_attr(name, attribute)  # raises where another worker gave the trial up, and tell does not
        self.study.tell(trial, value)
        self.made += 1

    def _ask(self, trial: FinishedTrial) -> FinishedTrial:
        """Ask one candidate block by block, until done or, in a race, unlikely to win."""
        rival, limit = None, math.inf
        if trial.kind == "race":
            races = self.plan.first_race + self.config.trials - trial.step - 1
            asked = sum(one.asked for one in self.trials if not one.carried)
            limit = self.config.race_limit(asked=asked, races=races, n=len(self.valset))
            if asked_in_full(self.trials):
                rival = incumbent(self.trials, self.config.parsimony)
        for block in self._blocks(trial.step, trial.kind):
            if trial.asked and trial.asked + len(block) > limit:
                break
            trial = self.asker.ask(trial, block)
            if self.config.alpha and rival is not None and trial.asked < len(self.valset):
                rng = np.random.default_rng([self.seed, trial.step, trial.asked])
                chance = self.model.chance_to_win(self.trials, trial, rival.candidate, rng)
                if chance is None:  # then right answers decide; the rival's are those to all examples, in order
                    chance = chance_to_win(trial.correct, rival.correct[trial.rows])
                if chance < self.config.alpha:
                    break
        return trial.in_row_order()

    def _blocks(self, step: int, kind: str) -> list[NDArray[np.int64]]:
        """Return the rows to ask, block by block, each with all labels in proportion."""
        n, block = len(self.valset), self.config.block
        if kind == "screen":  # slices go round, so that all examples are asked equally often
            order = stratified_order(self.asker.golds, np.random.default_rng(self.seed))
            start = (step - self.plan.guards) * block
            return [order[np.arange(start, start + min(block, n)) % n]]
        if kind == "race":
            order = stratified_order(self.asker.golds, np.random.default_rng([self.seed, step]))
            return [order[start : start + block] for start in range(0, n, block)]
        return [np.arange(n)]

    def _result(self, stopped: str | None) -> SearchResult:
        """Choose among the sets asked in full; the model's view shrinks the luck of the best of many.

        Some dozens of right and wrong answers cannot tell sets apart that differ by 0.1. Log-probabilities can tell
        more: a set under which the gold labels are less likely than under all rules owes its place to luck.
        """
        posterior = self.model.posterior(self.trials)

        def merit(trial: FinishedTrial) -> float:
            value = (trial.objective or 0.0) - self.config.parsimony * trial.candidate.size
            if posterior is None:
                return value
            return value + posterior.surrogate.value(trial.candidate) - self.config.parsimony * trial.candidate.size

        baseline = self.trials[0]
        full = asked_in_full(self.trials)
        least = next((self.asker.gold_logprob(one) for one in full if one.kind == "all rules"), math.nan)
        better = [
            one
            for one in full
            # Where there are no log-probabilities, both are NaN, and nothing is less likely.
            if (one.objective or 0.0) > (baseline.objective or 0.0) and not self.asker.gold_logprob(one) < least
        ]
        best = max(better, key=merit, default=baseline)
        return SearchResult(
            best=None if best is baseline and not self.space.pinned else self.space.rule_set(best.candidate),
            bench=[rule for j, rule in enumerate(self.space.rules) if best is baseline or not best.candidate.use[j]],
            baseline=baseline.objective or 0.0,
            objective=best.objective or 0.0,
            trials=self.trials,
            stopped=stopped,
            around=None if posterior is None else self._insights(posterior).around,
        )

    def _insights(self, posterior: Posterior) -> Insights:
        return Insights(self.space, self.config, self.trials, posterior, self.seed, self.count_tokens)
