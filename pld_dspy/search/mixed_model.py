"""The linear mixed model of log-probabilities: its equations, kept as sums that grow with the answers, and its fit.

    log p(label | example, set) = what features explain + the set's own effect + the example's own effect + noise

All effects have Gaussian priors, so the posterior is Gaussian in closed form. An answer's log-probabilities are centred
over the labels: their mean says nothing. The examples' own effects are integrated out (the random-effects transform of
Fuller and Battese 1974) and the sets' own enter by counts. So the equations stay as many as the features and sets, and
a fit after a few more answers costs no more than updating the sums and one solution.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import solve

from ..scoring.f1 import Floats
from .space import Lines
from .threads import one_thread

SET_SD, EXAMPLE_SD = 0.5, 1.5
"""Prior standard deviations of a set's and of an example's own effect on each label."""


@dataclass(frozen=True, eq=False)
class Answers:
    """A set's answers to m examples, with the F features that explain them."""

    lines: Lines
    rows: NDArray[np.int64]  # m different examples
    features: sp.csr_matrix  # (m C) x F, in units of the effects' prior sd
    target: Floats  # m x C log-probabilities, centred


class MixedModel:
    """All answers so far, as sums; n examples, C labels, F features, S sets.

    Effects are F of the features, then C of each set, all in units of their prior standard deviation.
    """

    def __init__(self, examples: int, labels: int, features: int) -> None:
        self.answers: tuple[Answers, ...] = ()
        self.sets: tuple[Lines, ...] = ()
        self.gram = np.zeros((features, features))  # products of centred features
        self.right = np.zeros(features)  # products of features and targets
        self.features = sp.csr_matrix((examples * labels, features))  # sums over the answers to each example
        self.target = np.zeros((examples, labels))  # the same
        self.of_sets = np.zeros((0, labels, features))  # sums of centred features over a set's answers
        self.target_of_sets = np.zeros((0, labels))
        self.counts = np.zeros((0, examples))  # S x n, how often a set was asked an example

    def plus(self, new: Answers) -> MixedModel:
        """Return the model with a set's further answers."""
        (n, c), m, made = self.target.shape, len(new.rows), copy(self)
        made.answers = (*self.answers, new)
        if new.lines in self.sets:
            made.of_sets, made.target_of_sets = self.of_sets.copy(), self.target_of_sets.copy()
            made.counts = self.counts.copy()
        else:
            made.sets = (*self.sets, new.lines)
            made.of_sets = np.concatenate([self.of_sets, np.zeros((1, *self.of_sets.shape[1:]))])
            made.target_of_sets = np.concatenate([self.target_of_sets, np.zeros((1, c))])
            made.counts = np.concatenate([self.counts, np.zeros((1, n))])
        number = made.sets.index(new.lines)
        made.of_sets[number] += centred(_summed(new.features, np.tile(np.arange(c), m), c).toarray(), axis=0)
        made.target_of_sets[number] += new.target.sum(axis=0)
        made.counts[number, new.rows] += 1
        made.target = self.target.copy()
        made.target[new.rows] += new.target
        made.gram = self.gram + _gram(new.features, c)
        made.right = self.right + new.features.T @ new.target.ravel()
        made.features = self.features + _summed(new.features, (new.rows[:, None] * c + np.arange(c)).ravel(), n * c)
        return made

    def fit(self, noise: float) -> tuple[Floats, Floats]:
        """Return mean and precision of the effects' posterior, given the noise's standard deviation."""
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
