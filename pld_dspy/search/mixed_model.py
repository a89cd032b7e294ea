"""The linear mixed model of log-probabilities: its equations, kept as sums that grow with the answers, and its fit.

    log p(label | example, set) = what features explain + the set's own effect + the example's own effect + noise

All effects have Gaussian priors, so the posterior is Gaussian in closed form. An answer's log-probabilities are centred
over the labels: their mean says nothing. The examples' own effects are integrated out (the random-effects transform of
Fuller and Battese 1974) and the sets' own enter by counts. So the equations stay as many as the features and sets, and
a fit after a few more answers costs no more than updating the sums and one solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import solve

from .space import Lines
from .threads import one_thread

Floats = NDArray[np.float64]

SET_SD, EXAMPLE_SD = 0.5, 1.5
"""Prior standard deviations of a set's and of an example's own effect on each label."""


@dataclass(frozen=True, eq=False)
class Answers:
    """A set's answers to m examples, with the F features that explain them.

    Attributes:
        lines: the set, as its rendered lines.
        rows: m different examples.
        features: (m C) x F, one row per answer and label, in units of the effects' prior sd.
        target: m x C log-probabilities, centred.
    """

    lines: Lines
    rows: NDArray[np.int64]
    features: sp.csr_matrix
    target: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedModel:
    """All answers so far, as sums; n examples, C labels, F features, S sets.

    Effects are F of the features, then C of each set, all in units of their prior standard deviation.

    Attributes:
        answers: what was summed.
        sets: the sets, in the order of their first answers.
        gram: F x F, products of centred features.
        right: F, products of features and targets.
        features, target: (n C) x F and n x C, sums over the answers to each example.
        of_sets, target_of_sets: S x C x F and S x C, sums of centred features and of targets over a set's answers.
        counts: S x n, how often a set was asked an example.
    """

    answers: tuple[Answers, ...]
    sets: tuple[Lines, ...]
    gram: Floats
    right: Floats
    features: sp.csr_matrix
    target: Floats
    of_sets: Floats
    target_of_sets: Floats
    counts: Floats

    @classmethod
    def empty(cls, examples: int, labels: int, features: int) -> MixedModel:
        """Return the model without answers."""
        return cls(
            answers=(),
            sets=(),
            gram=np.zeros((features, features)),
            right=np.zeros(features),
            features=sp.csr_matrix((examples * labels, features)),
            target=np.zeros((examples, labels)),
            of_sets=np.zeros((0, labels, features)),
            target_of_sets=np.zeros((0, labels)),
            counts=np.zeros((0, examples)),
        )

    def plus(self, new: Answers) -> MixedModel:
        """Return the model with a set's further answers."""
        (n, c), m = self.target.shape, len(new.rows)
        known = new.lines in self.sets
        sets = self.sets if known else (*self.sets, new.lines)
        number = sets.index(new.lines)
        of_sets, target_of_sets, counts = (
            values.copy() if known else np.concatenate([values, np.zeros((1, *values.shape[1:]))])
            for values in (self.of_sets, self.target_of_sets, self.counts)
        )
        of_sets[number] += centred(_summed(new.features, np.tile(np.arange(c), m), c).toarray(), axis=0)
        target_of_sets[number] += new.target.sum(axis=0)
        counts[number, new.rows] += 1
        target = self.target.copy()
        target[new.rows] += new.target
        place = (new.rows[:, None] * c + np.arange(c)).ravel()
        return MixedModel(
            answers=(*self.answers, new),
            sets=sets,
            gram=self.gram + _gram(new.features, c),
            right=self.right + new.features.T @ new.target.ravel(),
            features=self.features + _summed(new.features, place, n * c),
            target=target,
            of_sets=of_sets,
            target_of_sets=target_of_sets,
            counts=counts,
        )

    def fit(self, noise: float) -> tuple[Floats, Floats]:
        """Return mean and precision of the effects' posterior.

        Args:
            noise: standard deviation of what no effect explains.
        """
        c, f, s = self.target.shape[1], len(self.right), len(self.sets)
        # The part of the products of the sums over an example's answers that the example's own effect explains.
        share = self.own_share(noise) / np.maximum(self.counts.sum(axis=0), 1)
        asked = self.counts * share
        scaled = sp.diags(np.repeat(np.sqrt(share), c)) @ self.features
        by_label = np.stack([self.features[label::c].T @ asked.T for label in range(c)], axis=0)
        to_sets = SET_SD * (self.of_sets - centred(by_label.transpose(2, 0, 1), axis=1)).reshape(s * c, f)
        among_sets = SET_SD**2 * np.kron(np.diag(self.counts.sum(axis=1)) - asked @ self.counts.T, np.eye(c) - 1 / c)
        gram = np.block([[self.gram - _gram(scaled.tocsr(), c), to_sets.T], [to_sets, among_sets]])
        of_features = self.right - self.features.T @ (self.target * share[:, None]).ravel()
        of_sets = SET_SD * (self.target_of_sets - asked @ self.target).ravel()
        precision = gram / noise**2 + np.eye(f + s * c)
        with one_thread():
            mean = solve(precision, np.append(of_features, of_sets) / noise**2, assume_a="pos")
        return np.asarray(mean), precision

    def own_share(self, noise: float) -> Floats:
        """Return n in [0, 1): the part of each example's unexplained mean that is its own effect, not noise."""
        counts = self.counts.sum(axis=0)
        return np.asarray(counts * EXAMPLE_SD**2 / (noise**2 + counts * EXAMPLE_SD**2))

    def examples(self, effects: Floats, noise: float) -> Floats:
        """Return n x C, the examples' own effects given the others."""
        (n, c), f = self.target.shape, len(self.right)
        sets = SET_SD * self.counts.T @ effects[f:].reshape(-1, c)
        explained = centred((self.features @ effects[:f]).reshape(n, c) + sets, axis=1)
        counts = np.maximum(self.counts.sum(axis=0), 1)
        return np.asarray((self.own_share(noise) / counts)[:, None] * (self.target - explained))

    def residual(self, effects: Floats, noise: float) -> float:
        """Return the root mean square of the residuals under given effects."""
        c, f = self.target.shape[1], len(self.right)
        examples = self.examples(effects, noise)
        of_sets = SET_SD * effects[f:].reshape(-1, c)
        squares = []
        for one in self.answers:
            features = (one.features @ effects[:f]).reshape(-1, c) + of_sets[self.sets.index(one.lines)]
            squares.append((one.target - examples[one.rows] - centred(features, axis=1)) ** 2)
        return float(np.sqrt(np.mean(np.vstack(squares))))


def centred(values: Floats, *, axis: int) -> Floats:
    """Return the values less their mean along an axis."""
    return np.asarray(values - values.mean(axis=axis, keepdims=True))


def _summed(rows: sp.csr_matrix, to: NDArray[np.int64], size: int) -> sp.csr_matrix:
    """Return ``size`` rows, each the sum of the ``rows`` whose entry in ``to`` is its number."""
    count = rows.shape[0]
    return sp.csr_matrix((np.ones(count), (to, np.arange(count))), shape=(size, count)) @ rows


def _gram(features: sp.csr_matrix, labels: int) -> Floats:
    """Return X'PX, where P centres each answer over the labels."""
    answers = features.shape[0] // labels
    sums = _summed(features, np.repeat(np.arange(answers), labels), answers).toarray()
    with one_thread():
        return np.asarray((features.T @ features).toarray() - sums.T @ sums / labels)
