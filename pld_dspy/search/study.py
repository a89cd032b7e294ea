"""The study: guards, screening, racing and confirming, all as trials of one Optuna study.

Every trial stores which validation examples it asked and which were right, so the study alone holds all that the
search knows: a resumed search reads it and goes on with the same next step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import dspy
import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from ..errors import BudgetExceeded
from ..evaluation import Evaluator
from ..rules import Rule, RuleSet
from .config import SearchConfig
from .effects import EffectModel, Floats, Observation, Posterior
from .race import chance_to_win
from .result import SearchResult, TrialRow
from .space import Candidate, Space, stratified_order

logger = logging.getLogger(__name__)

SCALES = (0.25, 0.5, 1.0)
"""Scales of the prior on effects to choose from: how much rules move a student differs from student to student."""

PRIOR_EXAMPLES = 60
"""A trial's told value weighs its own answers against the model as if the model were this many answers."""


@dataclass(frozen=True)
class _Seen:
    """A trial as the search thinks of it."""

    step: int
    kind: str
    candidate: Candidate
    rows: NDArray[np.int64]
    correct: NDArray[np.bool_]
    objective: float | None
    told: float


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
        on_trial: called once a finished trial, for progress and tracking.
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
        seed: int = 0,
        on_trial: Callable[[TrialRow], object] | None = None,
    ) -> None:
        self.space = Space(tuple(rules))
        self.evaluator = evaluator
        self.valset = list(valset)
        self.study = study
        self.config = config or SearchConfig()
        self.seed = seed
        self.on_trial = on_trial
        self.golds = evaluator.task.golds(valset)
        provenance = [None] if about is None else [None, about]
        self.models = [
            EffectModel(self.space, self.golds, known, scale=scale) for known in provenance for scale in SCALES
        ]
        self._chosen: EffectModel | None = None
        self.seen = self._recover()

    @property
    def steps(self) -> int:
        """Number of trials of a search that nothing stops."""
        return 2 + self._screens + self.config.trials + (1 if self.config.screen_calls else 0)

    def run(self) -> SearchResult:
        """Search until the steps or the budget are used up; return the best seen.

        Raises:
            BudgetExceeded: the budget does not even allow scoring the unchanged student.
        """
        stopped = None
        try:
            while len(self.seen) < self.steps:
                self._step(len(self.seen))
        except BudgetExceeded as error:
            if not self.seen:
                raise
            stopped = str(error)
            logger.warning("Search stopped early: %s", error)
        return self._result(stopped)

    @property
    def _screens(self) -> int:
        return -(-self.config.screen_calls // self.config.block)

    def _step(self, step: int) -> None:
        """Make one trial; which one follows from the step's number and the trials before."""
        rng = np.random.default_rng([self.seed, step])
        first_race = 2 + self._screens
        if step == 0:
            self._trial(step, "baseline", self.space.none(), self._whole())
        elif step == 1:
            self._trial(step, "all rules", self.space.all(), self._whole())
        elif step < first_race:
            self._trial(step, "screen", self.space.half(rng, self.config.most), [self._slice(step - 2)])
        elif step < first_race + self.config.trials:
            self._trial(step, "race", self._proposal(step - first_race, rng), self._blocks(rng))
        else:
            self._trial(step, "confirm", self._proposal(0, rng), self._whole())

    def _proposal(self, number: int, rng: np.random.Generator) -> Candidate | None:
        """Propose a candidate: the model's best first, then its draws and the sampler's ideas in turn."""
        model, posterior = self._fitted()
        if posterior is None or number % 3 == 2:
            return None
        start = self._incumbent().candidate
        effects = posterior.mean if number == 0 else posterior.draw(rng)
        return model.best(effects, posterior.intercept, start, self.config.parsimony)

    def _trial(self, step: int, kind: str, candidate: Candidate | None, blocks: list[NDArray[np.int64]]) -> None:
        """Ask one candidate block by block, until done or beaten; None takes the sampler's next idea."""
        if candidate is not None:
            self.study.enqueue_trial(self.space.parameters(candidate))
        self.study.sampler = self.config.sampler or TPESampler(
            seed=int(np.random.default_rng([self.seed, step]).integers(2**31)),
            multivariate=True,
            constant_liar=False,
        )
        trial = self.study.ask(self.space.distributions())
        candidate = self.space.candidate(trial.params)
        rules = None if kind == "baseline" else self.space.rule_set(candidate)
        try:
            rows, correct = self._race(rules, blocks, racing=kind == "race")
        except BudgetExceeded:
            self.study.tell(trial, state=TrialState.FAIL)
            raise
        objective = None
        if len(rows) == len(self.valset):
            objective = self.evaluator.evaluate(rules, self.valset, stage="search").score.objective
        self._finish(trial, step, kind, candidate, rows, correct, objective)

    def _race(
        self, rules: RuleSet | None, blocks: list[NDArray[np.int64]], *, racing: bool
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        rows = np.empty(0, dtype=np.int64)
        correct = np.empty(0, dtype=bool)
        incumbent = self._correct_by_row(self._incumbent()) if racing else None
        for block in blocks:
            answers = self.evaluator.labels(rules, [self.valset[row] for row in block], stage="search")
            right = [answer == self.golds[row] for answer, row in zip(answers, block, strict=True)]
            rows, correct = np.append(rows, block), np.append(correct, right)
            if incumbent is not None and chance_to_win(correct, incumbent[rows]) < self.config.alpha:
                break
        order = np.argsort(rows)  # as a resumed search reads them: sums in another order would differ in the last bit
        return rows[order], correct[order]

    def _finish(
        self,
        trial: Trial,
        step: int,
        kind: str,
        candidate: Candidate,
        rows: NDArray[np.int64],
        correct: NDArray[np.bool_],
        objective: float | None,
    ) -> None:
        bits = np.full(len(self.valset), "-")
        bits[rows] = np.where(correct, "1", "0")
        for name, value in (("step", step), ("kind", kind), ("answers", "".join(bits)), ("objective", objective)):
            trial.set_user_attr(name, value)
        told = self._told(candidate, rows, correct, objective)
        self.study.tell(trial, told)
        self.seen.append(_Seen(step, kind, candidate, rows, correct, objective, told))
        if self.on_trial is not None:
            self.on_trial(self._row(self.seen[-1]))

    def _told(
        self,
        candidate: Candidate,
        rows: NDArray[np.int64],
        correct: NDArray[np.bool_],
        objective: float | None,
    ) -> float:
        """Blend a trial's own answers with the model's view, so that half-asked and fully asked compare."""
        weights = self.models[0].weights[rows]
        own = objective if objective is not None else float(weights @ correct / weights.sum())
        cost = self.config.parsimony * candidate.size
        if not self.config.screen_calls:
            return own - cost
        model, posterior = self._fitted()
        if posterior is not None:
            believed = model.value(candidate, posterior.mean, posterior.intercept)
        else:
            believed = float(np.mean([seen.correct.mean() for seen in self.seen] or [own]))
        share = len(rows) / (len(rows) + PRIOR_EXAMPLES)
        return share * own + (1 - share) * believed - cost

    def _fitted(self) -> tuple[EffectModel, Posterior | None]:
        """Fit all answers so far, with provenance only where it predicts unseen candidates better."""
        if not self.config.screen_calls or len(self.seen) < 2 + self._screens:
            return self.models[0], None
        return self._model, self._model.fit(self._observations())

    @cached_property
    def _model(self) -> EffectModel:
        """The model that predicts the screened candidates best; asked for when all of them are in."""
        if len(self.models) == 1:
            return self.models[0]
        screened = self._observations()[: 2 + self._screens]
        return min(self.models, key=lambda model: model.log_loss(screened))

    def _observations(self) -> list[Observation]:
        return [Observation(seen.candidate, seen.rows, seen.correct) for seen in self.seen]

    def _incumbent(self) -> _Seen:
        return max(self._full(), key=lambda seen: (seen.objective or 0.0) - self.config.parsimony * seen.candidate.size)

    def _full(self) -> list[_Seen]:
        return [seen for seen in self.seen if seen.objective is not None]

    def _whole(self) -> list[NDArray[np.int64]]:
        return [np.arange(len(self.valset))]

    def _slice(self, number: int) -> NDArray[np.int64]:
        """Return the ``number``-th stratified slice; slices go round so that all examples are asked alike."""
        order = stratified_order(self.golds, np.random.default_rng(self.seed))
        start = number * self.config.block
        return order[np.arange(start, start + min(self.config.block, len(order))) % len(order)]

    def _blocks(self, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        order = stratified_order(self.golds, rng)
        return [order[start : start + self.config.block] for start in range(0, len(order), self.config.block)]

    def _correct_by_row(self, seen: _Seen) -> NDArray[np.bool_]:
        correct = np.zeros(len(self.valset), dtype=bool)
        correct[seen.rows] = seen.correct
        return correct

    def _recover(self) -> list[_Seen]:
        """Take over the study's finished trials; a trial that was cut off is told so and made again."""
        found = []
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state == TrialState.COMPLETE:
                found.append(self._from_trial(frozen))
            elif frozen.state == TrialState.RUNNING:
                self.study.tell(frozen.number, state=TrialState.FAIL)
            elif frozen.state == TrialState.WAITING:  # Optuna tells only of a trial that was asked for
                self.study.tell(self.study.ask(), state=TrialState.FAIL)
        return sorted(found, key=lambda seen: seen.step)

    def _from_trial(self, frozen: FrozenTrial) -> _Seen:
        bits = np.array(list(frozen.user_attrs["answers"]))
        rows = np.flatnonzero(bits != "-")
        return _Seen(
            frozen.user_attrs["step"],
            frozen.user_attrs["kind"],
            self.space.candidate(frozen.params),
            rows,
            bits[rows] == "1",
            frozen.user_attrs["objective"],
            float(frozen.value or 0.0),
        )

    def _row(self, seen: _Seen) -> TrialRow:
        return TrialRow(
            step=seen.step,
            kind=seen.kind,
            rules=None if seen.kind == "baseline" else self.space.rule_set(seen.candidate),
            asked=len(seen.rows),
            correct=int(seen.correct.sum()),
            objective=seen.objective,
            told=seen.told,
        )

    def _result(self, stopped: str | None) -> SearchResult:
        """Choose among fully asked candidates; the model's view shrinks the luck of the best of many."""
        model, posterior = self._fitted()

        def merit(seen: _Seen) -> float:
            value = (seen.objective or 0.0) - self.config.parsimony * seen.candidate.size
            if posterior is None:
                return value
            believed = model.value(seen.candidate, posterior.mean, posterior.intercept)
            return value + believed - self.config.parsimony * seen.candidate.size

        baseline = self.seen[0]
        best = max(self._full(), key=merit)
        if (best.objective or 0.0) <= (baseline.objective or 0.0):
            best = baseline
        effects = model.rule_effects(best.candidate, posterior) if posterior is not None else {}
        rules = [rule.model_copy(update={"effect": effects.get(rule.id)}) for rule in self.space.rules]
        chosen = Space(tuple(rules)).rule_set(best.candidate)
        return SearchResult(
            best=None if best is baseline else chosen,
            bench=[rule for j, rule in enumerate(rules) if best is baseline or not best.candidate.use[j]],
            baseline=baseline.objective or 0.0,
            all_rules=self.seen[1].objective if len(self.seen) > 1 else None,
            objective=best.objective or 0.0,
            trials=[self._row(seen) for seen in self.seen],
            stopped=stopped,
        )
