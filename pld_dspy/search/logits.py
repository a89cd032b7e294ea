"""The model of label log-probabilities: where the server gives them, each answer says far more than right or wrong.

Most of what a rule set does to a small student is to make it like some labels more and others less, on all examples
alike; a bit an answer hides that, log-probabilities show it. They are modelled as a linear mixed model:

    log p(label | example, rules) = example's own + what the rules for the label push + shares of labels among the rules
                                    + the set's own + noise

With the sets' own effects, some twenty answers tell a set's quality almost as well as all examples would. How it is
fitted is in ``mixed.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import softmax

from ..rules import Rule
from ..scoring.matching import match
from ..scoring.objective import Objective
from .effects import Observation
from .gaussian import GaussianPosterior
from .mixed import SET_SD, Answers, MixedModel, centred
from .space import Candidate, Space
from .surrogate import Floats, Surrogate

FLOOR = -9.0
"""Log-probabilities below this are as good as none, and would weigh too much."""

PUSH_SD, PLACE_SD, GOLD_SD, ABOUT_SD, WORDING_SD = 0.6, 0.3, 0.5, 1.0, 0.3
SHARE_SD = 2.0
NOISE, LEAST_NOISE = 0.7, 0.2
SHARPNESS = 0.9
"""Temperature of the answer in units of the noise: a softmax close to the chance that the noisiest label wins."""
MATCH_ROUNDS = 8
"""Offsets are then within some hundredths, at a sixth of the price."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class LogitPosterior(GaussianPosterior):
    """The Gaussian posterior of all effects but the examples' own, which follow from them.

    Attributes:
        model: what the effects mean.
        answers: what they were fitted to.
        assumed: standard deviation of the noise that the fit was given.
        noise: the same, as the fit leaves it.
    """

    model: LogitModel
    answers: MixedModel
    assumed: float
    noise: float

    def student(self, effects: Floats) -> Surrogate:
        """Return the student under given effects."""
        model, space = self.model, self.model.space
        k, c, wordings = len(space), model.labels, model.wordings
        push, place, gold, about = effects[: 4 * k].reshape(4, k)
        share = effects[4 * k : 4 * k + c * c].reshape(c, c) * SHARE_SD
        worded = effects[4 * k + c * c : model.fixed - c].reshape(k, wordings) * WORDING_SD
        intercept = effects[model.fixed - c : model.fixed]
        steady = (push * PUSH_SD)[:, None] + worded
        on_examples = (model.gold * (gold * GOLD_SD) + model.about * (about * ABOUT_SD)).T
        temperature = SHARPNESS * self.noise
        rows = np.arange(len(model.weights))

        def chance(utilities: Floats) -> Floats:
            if model.shares is not None:
                utilities = utilities + match(utilities, model.shares, rounds=MATCH_ROUNDS)[..., None, :]
            return np.asarray(softmax(utilities / temperature, axis=-1)[..., rows, model.truth])

        return Surrogate(
            space=space,
            weights=model.weights,
            chance=chance,
            empty=self.answers.examples(effects, self.assumed) + intercept,
            column=model.column,
            base=steady[:, :, None] + on_examples[:, None, :],
            slope=np.repeat((place * PLACE_SD)[:, None], len(rows), axis=1),
            share=share,
            own={
                digest: effects[model.fixed + c * number : model.fixed + c * (number + 1)] * SET_SD
                for number, digest in enumerate(self.answers.sets)
            },
        )


class LogitModel:
    """Effects of rules on the label log-probabilities of validation examples.

    Args:
        space: the K rules.
        golds: n gold labels of the validation set.
        labels: the C labels, in the order of the observations' log-probabilities.
        about: n x K in [0, 1], how much an example is like those that a rule came from; None if unknown.
        weights: n weights of the examples, sum 1; those of macro-F1 where None.
        calibrated: whether answers will be decided with offsets that make up for leanings to labels.
    """

    def __init__(
        self,
        space: Space,
        golds: Sequence[str],
        labels: Sequence[str],
        about: Floats | None = None,
        *,
        weights: Floats | None = None,
        calibrated: bool = False,
    ) -> None:
        self.space = space
        self.labels = len(labels)
        self.wordings = max((len(rule.wordings) for rule in space.rules), default=1)
        self.truth = np.array([labels.index(gold) for gold in golds])
        self.column = np.array([_answer(rule, labels) for rule in space.rules], dtype=np.int64)
        self.gold = (self.truth[:, None] == self.column[None, :]).astype(float)
        self.about = np.zeros_like(self.gold) if about is None else about
        self.weights = Objective().example_weights(golds) if weights is None else weights
        self.shares = np.bincount(self.truth, minlength=self.labels) / len(self.truth) if calibrated else None
        k, c = len(space), self.labels
        self.fixed = 4 * k + c * c + k * self.wordings + c
        """Number of effects that are not of single sets or examples."""
        self._built: dict[tuple[bytes, ...], sp.csr_matrix] = {}
        self._summed: tuple[list[tuple[tuple[bytes, ...], bytes]], MixedModel] = (
            [],
            MixedModel.empty(len(golds), c, self.fixed),
        )

    def fit(self, observations: Sequence[Observation]) -> LogitPosterior:
        """Fit all log-probabilities seen so far; the noise is estimated once on the way.

        Answers without log-probabilities, as of calls that were lost, are left out.
        """
        answers = self._answers(_known(observations))
        return self._fitted(answers, self._fitted(answers, NOISE).noise)

    def error(self, observations: Sequence[Observation]) -> float:
        """Return the cross-validated mean squared error on log-probabilities of unseen candidates."""
        observations = _known(observations)
        numbers, errors = np.arange(len(observations)) % FOLDS, []
        for fold in range(FOLDS):
            answers = self._answers([one for one, n in zip(observations, numbers, strict=True) if n != fold])
            mean, _ = answers.fit(NOISE)
            examples = answers.examples(mean, NOISE)
            for one in (one for one, n in zip(observations, numbers, strict=True) if n == fold):
                explained = (self._features_of(one) @ mean[: self.fixed]).reshape(-1, self.labels)
                errors.append((_target(one) - centred(examples[one.rows] + explained, axis=1)) ** 2)
        return float(np.mean(np.vstack(errors)))

    def _answers(self, observations: Sequence[Observation]) -> MixedModel:
        """Sum up the observations; all but the last are kept, for a race adds to them what it asks, block by block."""
        keys = [(self._key(one), _logits(one).tobytes()) for one in observations]
        known, answers = self._summed
        if known != keys[: len(known)] or len(known) == len(keys):
            known, answers = [], MixedModel.empty(len(self.weights), self.labels, self.fixed)
        for one in observations[len(known) : -1]:
            answers = answers.plus(self._as_answers(one, self._features_of(one)))
        self._summed = keys[:-1], answers
        last = observations[-1]
        return answers.plus(self._as_answers(last, self._features(last.candidate, last.rows)))

    def _as_answers(self, one: Observation, features: sp.csr_matrix) -> Answers:
        return Answers(self.space.digest(one.candidate), one.rows, features, _target(one))

    def _fitted(self, answers: MixedModel, noise: float) -> LogitPosterior:
        mean, precision = answers.fit(noise)
        left = max(answers.left(mean, noise), LEAST_NOISE)
        return LogitPosterior(mean=mean, precision=precision, model=self, answers=answers, assumed=noise, noise=left)

    def _features_of(self, one: Observation) -> sp.csr_matrix:
        """Return the features that all sets share, in units of their prior sd: one row an answer and label.

        They are kept, for each fold of the check and each other order of trials sums them up anew.
        """
        key = self._key(one)
        if key not in self._built:
            self._built[key] = self._features(one.candidate, one.rows)
        return self._built[key]

    def _key(self, one: Observation) -> tuple[bytes, ...]:
        candidate = one.candidate
        return tuple(part.tobytes() for part in (candidate.use, candidate.key, candidate.wording, one.rows))

    def _features(self, candidate: Candidate, rows: NDArray[np.int64]) -> sp.csr_matrix:
        m, c, k = len(rows), self.labels, len(self.space)
        used = np.flatnonzero(candidate.use)
        columns = self.column[used]
        place = 2 * candidate.key[used] - 1
        fixed = sp.lil_matrix((c, self.fixed))  # what does not depend on the example
        fixed[columns, used] = PUSH_SD
        fixed[columns, k + used] = place * PLACE_SD
        shares = np.bincount(columns, minlength=c) / max(len(used), 1)
        for label in range(c):
            fixed[label, 4 * k + label * c : 4 * k + (label + 1) * c] = shares * SHARE_SD
        fixed[columns, 4 * k + c * c + used * self.wordings + candidate.wording[used]] = WORDING_SD
        fixed[np.arange(c), self.fixed - c + np.arange(c)] = 1.0
        repeated = sp.kron(np.ones((m, 1)), fixed.tocsr(), format="csr")
        place_of = (np.arange(m)[:, None] * c + columns[None, :]).ravel()
        varying = [
            sp.csr_matrix((values.ravel(), (place_of, np.tile(offset * k + used, m))), shape=(m * c, self.fixed))
            for offset, values in (
                (2, self.gold[rows][:, used] * GOLD_SD),
                (3, self.about[rows][:, used] * ABOUT_SD),
            )
        ]
        return (repeated + varying[0] + varying[1]).tocsr()


def _known(observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations without the answers that have no log-probabilities."""
    found = []
    for one in observations:
        if one.logits is not None:
            known = ~np.isnan(one.logits).any(axis=1)
            if known.any():
                found.append(Observation(one.candidate, one.rows[known], one.correct[known], one.logits[known]))
    return found


def _logits(one: Observation) -> Floats:
    if one.logits is None:
        raise ValueError("an observation without log-probabilities")
    return one.logits


def _target(one: Observation) -> Floats:
    return centred(np.maximum(_logits(one), FLOOR), axis=1)


def _answer(rule: Rule, labels: Sequence[str]) -> int:
    """Return the label that a rule pushes, up or down; the first one for a rule that names none of them."""
    return labels.index(rule.labels[0]) if rule.labels and rule.labels[0] in labels else 0
