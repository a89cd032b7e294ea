"""The model of right and wrong answers: what each rule, wording and place does to each example.

A trial gives a sampler one number, but a regression one bit per example. All bits of all trials go into one Bayesian
logistic regression: P(correct) = difficulty of the example + the sum of what the rules in use do to it. A rule pushes
answers towards its own label, so it has one effect on examples of that label and another on all others; an effect of
its place and of its wording; and, for each pair of labels, an effect of the number of rules for the one on examples of
the other. Priors are Gaussian, so most effects
stay near 0 until the answers say otherwise. The idea of covariates for prompts and examples is that of PromptEval
(Polo et al. 2024); the covariates are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from ..rules import Rule
from ..scoring.f1 import Floats
from ..task.labels import labels_in
from .space import Candidate, Space
from .surrogate import Posterior, Surrogate
from .threads import one_thread
from .trials import FinishedTrial

DIFFICULTY_SD, OWN_SD, OTHER_SD = 1.5, 0.8, 0.3
PLACE_SD, WORDING_SD, SIZE_SD, CROWD_SD, DEMOS_SD = 0.3, 0.3, 0.5, 0.3, 0.5
CROWD_LABELS = 12  # with more labels, pairs of labels are too many to learn from one search
FEWEST_TRIALS = 8  # fewer say nothing about rules


@dataclass(frozen=True, kw_only=True)
class CorrectnessPosterior(Posterior):
    """Gaussian approximation (Laplace) of the effects."""

    model: CorrectnessModel
    intercept: float

    def student(self, effects: Floats) -> Surrogate:
        """Return the student under given effects."""
        return self.model.surrogate(effects, self.intercept)


@dataclass(eq=False)
class CorrectnessModel:
    """Effects of K rules on whether n validation examples are answered right."""

    space: Space
    golds: Sequence[str]
    labels: Sequence[str]
    weights: Floats  # of the n examples, sum 1
    scale: float = 1.0  # factor on the prior sd of all but the examples' difficulty; small where rules do little

    def __post_init__(self) -> None:
        """Compare the rules' labels with the gold ones."""
        self.own = own_labels(self.space.rules, self.golds, self.labels)
        self.crowd = _crowd(self.space.rules, self.golds, self.labels)

    def features(self, candidate: Candidate, rows: NDArray[np.int64]) -> Floats:
        """Return the covariates of a candidate's answers to examples ``rows``, scaled by prior sd: rows x F."""
        n, use = len(self.weights), candidate.use.astype(float)
        own = self.own[rows] * use
        place = own * (2 * candidate.key - 1)
        blocks = [
            own * OWN_SD,
            (1 - self.own[rows]) * use * OTHER_SD,
            place * PLACE_SD,
            *(own * (candidate.wording == number) * WORDING_SD for number in range(1, self.space.wordings)),
            np.full((len(rows), 1), candidate.size / max(len(self.space), 1) * SIZE_SD),
        ]
        if self.crowd is not None:
            answers, gold = self.crowd
            blocks.append((gold[rows][:, :, None] * (use @ answers)).reshape(len(rows), -1) * CROWD_SD)
        shown = np.arange(1, len(self.space.demos)) == candidate.demos
        blocks.append(np.tile(shown * DEMOS_SD, (len(rows), 1)))
        return np.hstack([np.eye(n)[rows] * DIFFICULTY_SD, *(block * self.scale for block in blocks)])

    def fit(self, trials: Sequence[FinishedTrial]) -> CorrectnessPosterior | None:
        """Fit all answers so far; None while there are too few trials, or all answers agree."""
        if len(trials) < FEWEST_TRIALS:
            return None
        matrix, correct, _ = self._stacked(trials)
        if correct.all() or not correct.any():
            return None
        fitted = _regression(matrix, correct)
        mean, intercept = fitted.coef_[0], float(fitted.intercept_[0])
        chance = expit(matrix @ mean + intercept)
        curvature = matrix * (chance * (1 - chance))[:, None]
        with one_thread():
            precision = curvature.T @ matrix + np.eye(len(mean))
        return CorrectnessPosterior(mean=mean, precision=precision, model=self, intercept=intercept)

    def error(self, trials: Sequence[FinishedTrial]) -> float:
        """Return the log-loss on answers of trials that were left out of the fit (cross-validation)."""
        matrix, correct, groups = self._stacked(trials)
        folds = GroupKFold(min(5, len(trials)))
        predicted = np.empty(len(correct))
        for train, test in folds.split(matrix, correct, groups):
            predicted[test] = (
                _regression(matrix[train], correct[train]).predict_proba(matrix[test])[:, 1]
                if len(set(correct[train])) > 1
                else correct[train].mean()
            )
        return float(log_loss(correct, predicted, labels=[False, True]))

    def surrogate(self, effects: Floats, intercept: float) -> Surrogate:
        """Return the student under given effects: the linear predictor is a sum over the rules in use."""
        k, n = len(self.space), len(self.weights)
        nothing, middle, last = self._single_rules
        base = (middle @ effects).reshape(k, self.space.wordings, n)
        empty = nothing @ effects + intercept
        return Surrogate(
            space=self.space,
            weights=self.weights,
            chance=lambda utilities: np.asarray(expit(utilities[..., 0])),
            empty=empty[:, None],
            column=np.zeros(k, dtype=np.int64),
            base=base,
            slope=(last @ effects).reshape(k, n) - base[:, 0],
            demos=self._demos @ effects[:, None],
        )

    @cached_property
    def _demos(self) -> Floats:
        """What each choice of demonstrations adds to the features, D x n x F."""
        rows = np.arange(len(self.weights))
        nothing = self.features(self.space.none(), rows)
        return np.stack(
            [self.features(self.space.none(demos=number), rows) - nothing for number in range(len(self.space.demos))]
        )

    @cached_property
    def _single_rules(self) -> tuple[Floats, sp.csr_matrix, sp.csr_matrix]:
        """The features without rules, n x F, and what each rule alone adds to them.

        First in the middle of the order, (K wordings n) x F; then in the first wording and last, (K n) x F.
        """
        k, rows = len(self.space), np.arange(len(self.weights))
        nothing = self.features(self.space.none(), rows)

        def added(j: int, key: float, wording: int) -> sp.csr_matrix:
            single = Candidate(np.arange(k) == j, np.full(k, key), np.full(k, wording))
            return sp.csr_matrix(self.features(single, rows) - nothing)

        middle = [
            added(j, 0.5, min(number, len(rule.wordings) - 1))  # wordings that a rule lacks are never looked up
            for j, rule in enumerate(self.space.rules)
            for number in range(self.space.wordings)
        ]
        last = [added(j, 1.0, 0) for j in range(k)]
        return nothing, sp.vstack(middle, format="csr"), sp.vstack(last, format="csr")

    def _stacked(self, trials: Sequence[FinishedTrial]) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        matrix = np.vstack([self.features(trial.candidate, trial.rows) for trial in trials])
        correct = np.concatenate([trial.correct for trial in trials])
        return matrix, correct, np.repeat(np.arange(len(trials)), [trial.asked for trial in trials])


def own_labels(rules: Sequence[Rule], golds: Sequence[str], labels: Sequence[str] = ()) -> Floats:
    """Return n x K: 1 where the rule's first label (its answer) is gold, or one of the labels that gold joins."""
    answers = [rule.labels[0] if rule.labels else "" for rule in rules]
    return np.array([[answer in found for answer in answers] for found in _gold_labels(golds, labels)], dtype=float)


def _crowd(rules: Sequence[Rule], golds: Sequence[str], labels: Sequence[str]) -> tuple[Floats, Floats] | None:
    """Return K x C labels that rules answer and n x C gold labels: many rules for one label crowd out another."""
    gold_labels = _gold_labels(golds, labels)
    answers = [rule.labels[:1] for rule in rules]
    known = sorted({*chain.from_iterable(gold_labels), *filter(None, chain.from_iterable(answers))})
    if len(known) > CROWD_LABELS:
        return None
    answered, gold = (
        np.array([[label in row for label in known] for row in rows], dtype=float) for rows in (answers, gold_labels)
    )
    return answered, gold


def _gold_labels(golds: Sequence[str], labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the labels that each gold text joins; the text itself where it does not consist of ``labels``."""
    found = [labels_in(gold, labels) for gold in golds]
    return [(gold,) if one is None else one for gold, one in zip(golds, found, strict=True)]


def _regression(matrix: Floats, correct: NDArray[np.bool_]) -> LogisticRegression:
    """With features scaled by their prior sd, an L2 penalty of C = 1 is the Gaussian prior."""
    with one_thread():
        return LogisticRegression(C=1.0, max_iter=200).fit(matrix, correct)
