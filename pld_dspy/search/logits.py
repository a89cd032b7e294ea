"""The model of label log-probabilities: where the server gives them, each answer says far more than right or wrong.

Most of what a rule set does to a small student is to make it like some labels more and others less, on all examples
alike; a bit an answer hides that, log-probabilities show it. They are modelled as a linear mixed model:

    log p(label | example, rules) = example's own + what the rules for the label push + shares of labels among the rules
                                    + the set's own + noise

All effects have Gaussian priors, so the posterior is Gaussian in closed form. The examples' own effects are integrated
out (the random-effects transform of Fuller and Battese 1974), so that the equations stay as many as the rules and sets.
With the sets' own effects, some twenty answers tell a set's quality almost as well as all examples would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import softmax

from ..calibration.matching import match
from ..rules import Rule
from .effects import Observation, example_weights
from .gaussian import GaussianPosterior, one_thread
from .space import Candidate, Space
from .surrogate import Floats, Surrogate

FLOOR = -9.0
"""Log-probabilities below this are as good as none, and would weigh too much."""

PUSH_SD, PLACE_SD, GOLD_SD, ABOUT_SD, WORDING_SD = 0.6, 0.3, 0.5, 1.0, 0.3
SHARE_SD, SET_SD, EXAMPLE_SD = 2.0, 0.5, 1.5
NOISE, LEAST_NOISE = 0.7, 0.2
SHARPNESS = 0.9
"""Temperature of the answer in units of the noise: a softmax close to the chance that the noisiest label wins."""
MATCH_ROUNDS = 8
"""Offsets are then within some hundredths, at a sixth of the price."""
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class LogitPosterior(GaussianPosterior):
    """The Gaussian posterior of all effects but the examples' own, which follow from them."""

    model: LogitModel
    noise: float
    own_share: Floats
    example_mean: Floats
    example_features: sp.csr_matrix
    sets: tuple[str, ...]

    def examples(self, effects: Floats) -> Floats:
        """Return n x C, the examples' own effects given the others."""
        n, c = self.example_mean.shape
        explained = (self.example_features @ effects).reshape(n, c)
        return np.asarray(self.own_share[:, None] * (self.example_mean - _centred(explained)))

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
                utilities = utilities + match(utilities, model.shares, rounds=MATCH_ROUNDS)
            return np.asarray(softmax(utilities / temperature, axis=1)[rows, model.truth])

        return Surrogate(
            space=space,
            weights=model.weights,
            chance=chance,
            empty=self.examples(effects) + intercept,
            column=model.column,
            base=steady[:, :, None] + on_examples[:, None, :],
            slope=np.repeat((place * PLACE_SD)[:, None], len(rows), axis=1),
            share=share,
            own={
                digest: effects[model.fixed + c * number : model.fixed + c * (number + 1)] * SET_SD
                for number, digest in enumerate(self.sets)
            },
        )


@dataclass(frozen=True, kw_only=True)
class Equations:
    """What the answers are and what the effects may explain of them, whatever the noise.

    Attributes:
        sets: digests of the sets that were asked.
        design: features, one row an answer and label.
        target: answers x C, centred log-probabilities.
        rows: the example of each answer.
        counts: n answers to each example.
        gram, right: the normal equations of the centred answers.
        example_features, example_mean: design and target, averaged over the answers to each example.
    """

    sets: tuple[str, ...]
    design: sp.csr_matrix
    target: Floats
    rows: NDArray[np.int64]
    counts: NDArray[np.int64]
    gram: Floats
    right: Floats
    example_features: sp.csr_matrix
    example_mean: Floats


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
        self.weights = example_weights(golds) if weights is None else weights
        self.shares = np.bincount(self.truth, minlength=self.labels) / len(self.truth) if calibrated else None
        k, c = len(space), self.labels
        self.fixed = 4 * k + c * c + k * self.wordings + c
        """Number of effects that are not of single sets or examples."""
        self._built: dict[tuple[bytes, ...], sp.csr_matrix] = {}

    def fit(self, observations: Sequence[Observation]) -> LogitPosterior:
        """Fit all log-probabilities seen so far; the noise is estimated once on the way."""
        equations = self._equations(observations)
        return self._solved(equations, self._solved(equations, NOISE).noise)

    def error(self, observations: Sequence[Observation]) -> float:
        """Return the cross-validated mean squared error on log-probabilities of unseen candidates."""
        numbers, errors = np.arange(len(observations)) % FOLDS, []
        for fold in range(FOLDS):
            others = [one for one, n in zip(observations, numbers, strict=True) if n != fold]
            posterior = self._solved(self._equations(others), NOISE)
            examples = posterior.examples(posterior.mean)
            for one in (one for one, n in zip(observations, numbers, strict=True) if n == fold):
                expected = examples[one.rows] + self._explained(self._of_rules(one), posterior.mean[: self.fixed])
                errors.append((_target(one) - _centred(expected)) ** 2)
        return float(np.mean(np.vstack(errors)))

    def _equations(self, observations: Sequence[Observation]) -> Equations:
        asked = [self.space.rule_set(one.candidate).digest for one in observations]
        sets = tuple(dict.fromkeys(asked))
        target = np.vstack([_target(one) for one in observations])
        rows = np.concatenate([one.rows for one in observations])
        n, c, answers = len(self.weights), self.labels, len(rows)
        counts = np.bincount(rows, minlength=n)
        number = np.repeat([sets.index(digest) for digest in asked], [len(one.rows) for one in observations])
        own = sp.csr_matrix(
            (
                np.full(answers * c, SET_SD),
                (np.arange(answers * c), np.repeat(number * c, c) + np.tile(np.arange(c), answers)),
            ),
            shape=(answers * c, len(sets) * c),
        )
        design = sp.hstack([sp.vstack([self._of_rules(one) for one in observations]), own], format="csr")
        # Sums over the answers to one example, label by label; and over the labels of one answer.
        to_example = sp.csr_matrix(
            (
                np.repeat(1 / np.maximum(counts[rows], 1), c),
                (np.repeat(rows * c, c) + np.tile(np.arange(c), answers), np.arange(answers * c)),
            ),
            shape=(n * c, answers * c),
        )
        return Equations(
            sets=sets,
            design=design,
            target=target,
            rows=rows,
            counts=counts,
            gram=_gram(design, c),
            right=design.T @ target.ravel(),
            example_features=(to_example @ design).tocsr(),
            example_mean=(to_example @ target.ravel()).reshape(n, c),
        )

    def _solved(self, given: Equations, noise: float) -> LogitPosterior:
        c = self.labels
        own_share = given.counts * EXAMPLE_SD**2 / (noise**2 + given.counts * EXAMPLE_SD**2)
        weight = np.sqrt(np.repeat(own_share * given.counts, c))
        weighted = sp.diags(weight) @ given.example_features
        gram = given.gram - _gram(weighted.tocsr(), c)
        right = given.right - weighted.T @ (weight * given.example_mean.ravel())
        precision = gram / noise**2 + np.eye(given.design.shape[1])
        with one_thread():
            mean = np.linalg.solve(precision, right / noise**2)
        posterior = LogitPosterior(
            mean=mean,
            precision=precision,
            model=self,
            noise=noise,
            own_share=own_share,
            example_mean=given.example_mean,
            example_features=given.example_features,
            sets=given.sets,
        )
        expected = posterior.examples(mean)[given.rows] + _centred(self._explained(given.design, mean))
        spread = float(np.sqrt(np.mean((given.target - expected) ** 2)))
        return replace(posterior, noise=max(spread, LEAST_NOISE))

    def _explained(self, design: sp.csr_matrix, effects: Floats) -> Floats:
        return np.asarray((design @ effects[: design.shape[1]]).reshape(-1, self.labels))

    def _of_rules(self, one: Observation) -> sp.csr_matrix:
        """Return the features that all sets share, in units of their prior sd: one row an answer and label.

        A race fits again after each block, so what was built for earlier answers is kept.
        """
        candidate = one.candidate
        key = tuple(part.tobytes() for part in (candidate.use, candidate.key, candidate.wording, one.rows))
        if key not in self._built:
            self._built[key] = self._features(candidate, one.rows)
        return self._built[key]

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


def _gram(design: sp.csr_matrix, labels: int) -> Floats:
    """Return X'PX, where P takes from each answer its mean over the labels."""
    answers = design.shape[0] // labels
    over_labels = sp.kron(sp.eye(answers), np.ones((1, labels)), format="csr")
    sums = over_labels @ design
    return np.asarray((design.T @ design - (sums.T @ sums) / labels).todense())


def _target(one: Observation) -> Floats:
    if one.logits is None:
        raise ValueError("an observation without log-probabilities")
    return _centred(np.maximum(one.logits, FLOOR))


def _centred(values: Floats) -> Floats:
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def _answer(rule: Rule, labels: Sequence[str]) -> int:
    return labels.index(rule.labels[0]) if rule.labels and rule.labels[0] in labels else 0
