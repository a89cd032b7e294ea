"""What labelled texts, and notes about them, say of a new one: logistic regression on vectors, the nearest texts."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from .embedding import Embedder, Floats, embed, fitted

PENALTY = 100.0
"""Inverse strength of the L2 penalty: unit vectors of some hundred small numbers need a weak one."""
FOLDS = 10
FLOOR = -9.0
"""Natural log-probability of a label without examples, and the least of any label."""
UNSEEN = 1e-3
"""Votes for a label that no neighbour has; the nearest neighbour has one vote."""


class Note(NamedTuple):
    """What somebody said about a labelled text."""

    row: int  # of the text
    text: str


@dataclass(frozen=True)
class TextClassifier:
    """Logistic regression on n vectors of labelled texts, all labels with the same weight, and the nearest of them.

    A note says why a text has its label, or what it teaches. The regression learns from it as from one more text with
    that label; all notes about a text weigh as much as the text. They are no neighbours.
    """

    labels: tuple[str, ...]  # C labels; some may have no example
    golds: tuple[str, ...]  # n
    vectors: Floats  # n x d, unit vectors
    embedder: Embedder  # of further texts, into the same space
    about: tuple[int, ...] = ()  # k: the row of the text that each note is about
    notes: Floats | None = None  # k x d, unit vectors; None where there are none
    _reaches: dict[int, float] = field(default_factory=dict, repr=False, compare=False)  # number of neighbours -> h

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        golds: Sequence[str],
        labels: Sequence[str],
        embedder: Embedder,
        *,
        notes: Sequence[Note] = (),
    ) -> TextClassifier:
        """Fit n texts with their gold labels, and notes about some of them."""
        vectors, further = fitted(embedder, texts)
        about = tuple(note.row for note in notes)
        said = embed([note.text for note in notes], further) if notes else None
        return cls(tuple(labels), tuple(golds), vectors, further, about, said)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the unit vectors of m texts, m x d."""
        return embed(texts, self.embedder)

    def log_probabilities(self, vectors: Floats) -> Floats:
        """Return m x C natural log-probabilities of labels, for m vectors."""
        return _log_probabilities(self._model, vectors, self.labels)

    def decide(self, vectors: Floats) -> list[str]:
        """Return the likeliest label for each of m vectors."""
        return [self.labels[place] for place in self.log_probabilities(vectors).argmax(axis=1)]

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest label of each of m texts."""
        return self.decide(self.embed(texts))

    def part(self, rows: Sequence[int]) -> TextClassifier:
        """Return a classifier on some of the labelled texts, without notes."""
        return TextClassifier(
            self.labels, tuple(self.golds[row] for row in rows), self.vectors[list(rows)], self.embedder
        )

    def nearest(self, vectors: Floats, count: int) -> NDArray[np.int64]:
        """Return the rows of the ``count`` nearest labelled texts for each of m vectors, the nearest first."""
        return np.argsort(-(vectors @ self.vectors.T), axis=1, kind="stable")[:, :count]

    def votes(self, vectors: Floats, count: int) -> Floats:
        """Return m x C natural log-probabilities by the labels of the ``count`` nearest texts, for m vectors.

        A neighbour's vote falls by a factor e with every h of cosine that it is behind the nearest one; h is half of
        what the last neighbour of a labelled text is behind its first, in the median.

        Source: Nadaraya 1964 and Watson 1964 (kernel regression), among the nearest neighbours.
        """
        return self._counted(vectors @ self.vectors.T, count)

    def votes_out_of_group(self, groups: Sequence[Hashable], count: int) -> Floats:
        """Return :meth:`votes` on the n labelled texts themselves, in which no text of a text's own group votes."""
        numbers = {group: place for place, group in enumerate(dict.fromkeys(groups))}
        keys = np.array([numbers[group] for group in groups])
        if len(numbers) < 2:
            return np.full((len(self.golds), len(self.labels)), -np.log(len(self.labels)))
        return self._counted(np.where(keys[:, None] == keys, -np.inf, self.vectors @ self.vectors.T), count)

    def _counted(self, cosines: Floats, count: int) -> Floats:
        """Return m x C log-probabilities by the votes of the ``count`` nearest of n texts, given m x n cosines."""
        rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        near = np.take_along_axis(cosines, rows, axis=1)
        votes = np.exp((near - near[:, :1]) / self._reach(count))
        numbers = np.array([self.labels.index(gold) for gold in self.golds])[rows]
        found = (votes[:, :, None] * (numbers[:, :, None] == np.arange(len(self.labels)))).sum(axis=1) + UNSEEN
        return np.asarray(np.log(found / found.sum(axis=1, keepdims=True)))

    def _reach(self, count: int) -> float:
        if count not in self._reaches:  # once, not for each decision
            self._reaches[count] = self._median_reach(count)
        return self._reaches[count]

    def _median_reach(self, count: int) -> float:
        cosines = self.vectors @ self.vectors.T
        np.fill_diagonal(cosines, -np.inf)
        near = -np.sort(-cosines, axis=1)[:, : min(count, len(cosines) - 1)]
        return max(float(np.median(near[:, 0] - near[:, -1])) / 2, 1e-6) if near.size else 1.0

    def out_of_fold(self, groups: Sequence[Hashable], *, seed: int = 0) -> Floats:
        """Return n x C log-probabilities of the labelled texts, each by a classifier that has not seen its group.

        Notes are left out. At most ten folds, and no more than the commonest label has examples; copies of a text
        should be one group. With fewer than two folds, all labels get the same.
        """
        numbers = {group: place for place, group in enumerate(dict.fromkeys(groups))}
        found = np.full((len(self.golds), len(self.labels)), -np.log(len(self.labels)))
        folds = min(FOLDS, len(numbers), max(Counter(self.golds).values()))
        if folds < 2:
            return found
        shuffled = np.random.default_rng(seed).permutation(len(numbers))
        keys, golds = shuffled[[numbers[group] for group in groups]], np.array(self.golds)
        with warnings.catch_warnings():  # a rare label cannot be in every fold
            warnings.filterwarnings("ignore", message="The least populated class")
            splits = list(StratifiedGroupKFold(folds).split(self.vectors, golds, keys))
        for seen, unseen in splits:
            model = _fitted_model(self.vectors[seen], golds[seen], np.ones(len(seen)))
            found[unseen] = _log_probabilities(model, self.vectors[unseen], self.labels)
        return found

    @cached_property
    def _model(self) -> LogisticRegression | DummyClassifier:
        golds, one_each = np.array(self.golds), np.ones(len(self.golds))
        if self.notes is None:
            return _fitted_model(self.vectors, golds, one_each)
        about = np.array(self.about)
        weights = np.append(one_each, 1 / np.bincount(about)[about])
        return _fitted_model(np.vstack([self.vectors, self.notes]), np.append(golds, golds[about]), weights)


def vote(golds: Sequence[str], nearest: NDArray[np.int64]) -> list[str]:
    """Return the commonest label of the k nearest texts, for m x k row numbers; of equals, that of the nearest."""
    found = []
    for row in nearest:
        near = [golds[place] for place in row]
        found.append(max(near, key=near.count))
    return found


def _fitted_model(vectors: Floats, golds: NDArray[np.str_], weights: Floats) -> LogisticRegression | DummyClassifier:
    """Return the fitted model; logistic regression needs two labels, so a single one is taken for certain."""
    found, numbers = np.unique(golds, return_inverse=True)
    if len(found) < 2:
        return DummyClassifier().fit(vectors, golds)
    share = len(found) * np.bincount(numbers, weights) / weights.sum()  # all labels weigh the same, however rare
    return LogisticRegression(C=PENALTY, max_iter=2000).fit(vectors, golds, weights / share[numbers])


def _log_probabilities(model: LogisticRegression | DummyClassifier, vectors: Floats, labels: Sequence[str]) -> Floats:
    found = np.full((len(vectors), len(labels)), FLOOR)
    columns = [labels.index(label) for label in model.classes_]
    found[:, columns] = np.maximum(model.predict_log_proba(vectors), FLOOR)
    return found
