"""The model: what each rule, wording and place does to each example, learned from every answer seen so far.

A trial gives one number to a sampler, but one bit an example to a regression. All bits of all candidates go into
one Bayesian logistic regression: P(correct) = difficulty of the example + the sum of what the rules in use do to
it. A rule pushes answers towards its own labels, so it has one effect on examples of these labels and another on
all others; an effect of its place and of its wording; for each pair of labels, what the number of rules for the
one does to examples of the other; and, where provenance says which examples a rule is about, an effect on those.
Priors are Gaussian, so most effects stay near 0 until the answers say otherwise. The idea of covariates for prompts
and examples is that of PromptEval (Polo et al. 2024); the covariates are ours.
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
from ..scoring.objective import Objective
from ..task.labels import labels_in
from .gaussian import GaussianPosterior
from .space import Candidate, Space
from .surrogate import Floats, Surrogate
from .threads import one_thread

DIFFICULTY_SD = 1.5
OWN_SD = 0.8
OTHER_SD = 0.3
ABOUT_SD = 1.0
PLACE_SD = 0.3
WORDING_SD = 0.3
SIZE_SD = 0.5
CROWD_SD = 0.3
CROWD_LABELS = 12
"""With more labels than this, pairs of labels are too many to learn from one search."""
SCREENED = 8
"""Fewer candidates than this teach nothing about rules; the model is then not asked."""


@dataclass(frozen=True)
class Observation:
    """What a candidate's answers were.

    Attributes:
        candidate: what was asked.
        rows: m rows of the validation set.
        correct: m flags.
        logits: m x C label log-probabilities, a row of NaN for an answer without; None where no answer has any.
    """

    candidate: Candidate
    rows: NDArray[np.int64]
    correct: NDArray[np.bool_]
    logits: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Posterior(GaussianPosterior):
    """Gaussian approximation (Laplace) of the effects."""

    model: EffectModel
    intercept: float

    def student(self, effects: Floats) -> Surrogate:
        """Return the student under given effects."""
        return self.model.surrogate(effects, self.intercept)


class EffectModel:
    """Effects of rules on validation examples.

    Args:
        space: the rules.
        golds: n gold labels of the validation set.
        about: n x K in [0, 1], how much an example is like those that a rule came from; None if unknown.
        labels: the label set, where a gold text may join several of its labels.
        weights: n weights of the examples, sum 1; those of macro-F1 where None.
        scale: of the prior sd of everything but the examples' difficulty; small where rules do little to the student.
    """

    def __init__(
        self,
        space: Space,
        golds: Sequence[str],
        about: Floats | None = None,
        *,
        labels: Sequence[str] = (),
        weights: Floats | None = None,
        scale: float = 1.0,
    ) -> None:
        self.scale = scale
        self.space = space
        self.own = own_labels(space.rules, golds, labels)
        self.about = about
        self.weights = Objective().example_weights(golds, labels) if weights is None else weights
        self.crowd = _crowd(space.rules, golds, labels)
        self.wordings = max((len(rule.wordings) for rule in space.rules), default=1)

    def features(self, candidate: Candidate, rows: NDArray[np.int64]) -> Floats:
        """Return the covariates of a candidate's answers to examples ``rows``, scaled by prior sd: rows x F."""
        n, use = len(self.weights), candidate.use.astype(float)
        own = self.own[rows] * use
        place = own * (2 * candidate.key - 1)
        blocks = [
            own * OWN_SD,
            (1 - self.own[rows]) * use * OTHER_SD,
            place * PLACE_SD,
            *(own * (candidate.wording == number) * WORDING_SD for number in range(1, self.wordings)),
            np.full((len(rows), 1), candidate.size / max(len(self.space), 1) * SIZE_SD),
        ]
        if self.crowd is not None:
            told, gold = self.crowd
            blocks.append((gold[rows][:, :, None] * (use @ told)).reshape(len(rows), -1) * CROWD_SD)
        if self.about is not None:
            blocks.append(self.about[rows] * use * ABOUT_SD)
        return np.hstack([np.eye(n)[rows] * DIFFICULTY_SD, *(block * self.scale for block in blocks)])

    def fit(self, observations: Sequence[Observation]) -> Posterior | None:
        """Fit all answers seen so far; None while there are too few candidates, or all answers agree."""
        if len(observations) < SCREENED:
            return None
        matrix, correct, _ = self._stacked(observations)
        if correct.all() or not correct.any():
            return None
        fitted = _regression(matrix, correct)
        mean, intercept = fitted.coef_[0], float(fitted.intercept_[0])
        chance = expit(matrix @ mean + intercept)
        curvature = matrix * (chance * (1 - chance))[:, None]
        with one_thread():
            precision = curvature.T @ matrix + np.eye(len(mean))
        return Posterior(mean=mean, precision=precision, model=self, intercept=intercept)

    def log_loss(self, observations: Sequence[Observation]) -> float:
        """Return the cross-validated log-loss of answers of unseen candidates."""
        matrix, correct, groups = self._stacked(observations)
        folds = GroupKFold(min(5, len(observations)))
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
        nothing, middle, last = self._single
        base = (middle @ effects).reshape(k, self.wordings, n)
        empty = nothing @ effects + intercept
        return Surrogate(
            space=self.space,
            weights=self.weights,
            chance=lambda utilities: np.asarray(expit(utilities[..., 0])),
            empty=empty[:, None],
            column=np.zeros(k, dtype=np.int64),
            base=base,
            slope=(last @ effects).reshape(k, n) - base[:, 0],
        )

    @cached_property
    def _single(self) -> tuple[Floats, sp.csr_matrix, sp.csr_matrix]:
        """The features without rules, n x F, and what each rule alone adds to them, mostly zeros.

        In the middle of the order, (K wordings n) x F, and in its first wording and last, (K n) x F. They are found by
        asking ``features`` for single rules, so that it alone knows the layout of the effects.
        """
        k, rows = len(self.space), np.arange(len(self.weights))
        nothing = self.features(self.space.none(), rows)

        def added(j: int, key: float, wording: int) -> sp.csr_matrix:
            single = Candidate(np.arange(k) == j, np.full(k, key), np.full(k, wording))
            return sp.csr_matrix(self.features(single, rows) - nothing)

        middle = [
            # a rule with fewer wordings than others is never asked for in the missing ones
            added(j, 0.5, min(number, len(rule.wordings) - 1))
            for j, rule in enumerate(self.space.rules)
            for number in range(self.wordings)
        ]
        last = [added(j, 1.0, 0) for j in range(k)]
        return nothing, sp.vstack(middle, format="csr"), sp.vstack(last, format="csr")

    def _stacked(self, observations: Sequence[Observation]) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        matrix = np.vstack([self.features(seen.candidate, seen.rows) for seen in observations])
        correct = np.concatenate([seen.correct for seen in observations])
        groups = np.repeat(np.arange(len(observations)), [len(seen.rows) for seen in observations])
        return matrix, correct, groups


def own_labels(rules: Sequence[Rule], golds: Sequence[str], labels: Sequence[str] = ()) -> Floats:
    """Return n x K: 1 where the rule's first label (its answer) is gold, else 0; ``labels`` as of ``EffectModel``."""
    answers = [rule.labels[0] if rule.labels else "" for rule in rules]
    found = [_named(gold, labels) for gold in golds]
    return np.array([[answer in named for answer in answers] for named in found], dtype=np.float64)


def _crowd(rules: Sequence[Rule], golds: Sequence[str], labels: Sequence[str]) -> tuple[Floats, Floats] | None:
    """Return K x C labels that rules answer and n x C gold labels: many rules for one label drown out another."""
    named = [_named(gold, labels) for gold in golds]
    answers = [rule.labels[0] if rule.labels else "" for rule in rules]
    known = sorted({*chain.from_iterable(named), *filter(None, answers)})
    if len(known) > CROWD_LABELS:
        return None
    told, gold = (
        np.array([[label in row for label in known] for row in rows], dtype=np.float64)
        for rows in ([(answer,) for answer in answers], named)
    )
    return told, gold


def _named(gold: str, labels: Sequence[str]) -> tuple[str, ...]:
    found = labels_in(gold, labels) if labels else None
    return (gold,) if found is None else found


def _regression(matrix: Floats, correct: NDArray[np.bool_]) -> LogisticRegression:
    """With features scaled by their prior sd, an L2 penalty of C = 1 is the Gaussian prior."""
    with one_thread():
        return LogisticRegression(C=1.0, max_iter=200).fit(matrix, correct)
