"""Precedents: what labelled examples like it say of an example, weighed against what the student says under its rules.

As in law: rules say what decides in general, precedents how it was decided in the nearest cases. A label's score is

    a * log p(label | the student under its rules) + b * log p(label | all labelled examples)
        + c * log p(label | the nearest labelled examples) + an offset

The second probability is that of a logistic regression on the vectors of the labelled texts, the third that of a vote.
The weights are fitted where neither has seen the example. No call is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ..errors import DataError
from ..local.classifier import Note, TextClassifier
from ..local.embedding import Embedder, embed, embedder_of, sentence_encoder, tfidf_svd
from ..scoring.f1 import Floats, Ints, Record
from ..task.splits import near_identity

DIGITS = 5
RIDGE = 1e-3
"""Penalty on the intercepts: it keeps them finite where few examples are all decided right."""
PRIOR, PRIOR_SD = (0.5, 1.0, 0.0), 0.25
"""What student, classifier and nearest examples weigh before any answer is seen, and how sure that is: some dozens of
examples cannot tell weights from each other, some hundreds can. (With 240 labels of StereoSet and 156 of the demo, the
student weighed 0.71, and the other two together 1.21 and 0.88.)"""

_NAMES: dict[Embedder, str] = {sentence_encoder: "encoder", tfidf_svd: "tfidf"}


class Weights(Record):
    """What each side of a decision weighs."""

    student: float = Field(default=1.0, ge=0)
    classifier: float = Field(default=0.0, ge=0)
    nearest: float = Field(default=0.0, ge=0)


class Precedents(Record):
    """Labelled examples to vote and to cite, and the weights of all sides; precedents.json holds this, texts and all.

    What a teacher or a person has said about an example is cited with it. The classifier does not learn from that: the
    student knows it already, by the rules that were made from it.

    Vectors are stored, so that loading embeds nothing again. An embedder of your own has to be given again after
    loading, with :meth:`with_embedder`.
    """

    labels: tuple[str, ...]
    ids: tuple[str, ...]  # of the n examples
    texts: tuple[str, ...]
    golds: tuple[str, ...]
    embedder: str  # "encoder", "tfidf" or "custom"
    vectors: tuple[tuple[float, ...], ...] = Field(default=(), repr=False)  # n unit vectors; none for "tfidf"
    notes: tuple[Note, ...] = ()
    weights: Weights = Weights()
    count: int = Field(default=10, ge=1)  # nearest examples that vote, and that a decision cites

    _embedder: Embedder | None = PrivateAttr(default=None)

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        golds: Sequence[str],
        ids: Sequence[str],
        labels: Sequence[str],
        embedder: Embedder,
        *,
        count: int,
        notes: Sequence[Note] = (),
    ) -> Precedents:
        """Return n labelled texts, and notes about some of them, as precedents, which weigh nothing yet."""
        vectors = [] if embedder is tfidf_svd else embed(texts, embedder).round(DIGITS).tolist()
        made = cls(
            labels=tuple(labels),
            ids=tuple(ids),
            texts=tuple(texts),
            golds=tuple(golds),
            embedder=_NAMES.get(embedder, "custom"),
            vectors=tuple(map(tuple, vectors)),
            notes=tuple(notes),
            count=count,
        )
        return made.with_embedder(embedder)

    def with_embedder(self, embedder: Embedder) -> Precedents:
        """Return these precedents with the embedder of new texts; it must be the one they were made with."""
        made = self.model_copy()
        made._embedder = embedder
        return made

    def with_weights(self, weights: Weights) -> Precedents:
        """Return these precedents with other weights."""
        return self.model_copy(update={"weights": weights})

    @cached_property
    def classifier(self) -> TextClassifier:
        """The logistic regression on all n examples."""
        embedder = self._embedder
        if embedder is None:
            if self.embedder == "custom":
                raise DataError(
                    "The precedents were made with an embedder of your own. Give it again: "
                    "program.precedents = program.precedents.with_embedder(...)."
                )
            embedder = embedder_of("encoder" if self.embedder == "encoder" else "tfidf")
        if embedder is tfidf_svd:
            return TextClassifier.of(self.texts, self.golds, self.labels, embedder)
        return TextClassifier(self.labels, self.golds, np.array(self.vectors), embedder)

    def evidence(self, texts: Sequence[str]) -> Floats:
        """Return m x C x 2 log-probabilities: by the classifier, and by the nearest examples."""
        return self.evidence_of(self.classifier.embed(texts))

    def evidence_of(self, vectors: Floats) -> Floats:
        """Return the evidence on m texts, given their m x d vectors."""
        return np.stack(
            [self.classifier.log_probabilities(vectors), self.classifier.votes(vectors, self.count)], axis=-1
        )

    def evidence_out_of_fold(self, *, seed: int = 0) -> Floats:
        """Return the evidence on the n examples themselves, for each from examples with other texts."""
        groups = [near_identity(text) for text in self.texts]
        found = self.classifier.out_of_fold(groups, seed=seed)
        return np.stack([found, self.classifier.votes_out_of_group(groups, self.count)], axis=-1)

    def combined(self, logprobs: Floats, evidence: Floats) -> Floats:
        """Return m x C log-probabilities of all sides together; rows of NaN stay so."""
        known = self.weights
        weighed = known.student * logprobs + evidence @ np.array([known.classifier, known.nearest])
        return np.asarray(log_softmax(weighed, axis=-1))

    def cite(self, vectors: Floats) -> list[dict[str, Any]]:
        """Return the nearest precedents of one text, given 1 x d: id, label, cosine similarity, and notes if any."""
        rows = self.classifier.nearest(vectors, self.count)[0].tolist()
        near = self.classifier.vectors[rows] @ vectors[0]
        return [self._cited(row, float(cosine)) for row, cosine in zip(rows, near, strict=True)]

    def _cited(self, row: int, cosine: float) -> dict[str, Any]:
        found = {"id": self.ids[row], "label": self.golds[row], "similarity": round(cosine, 4)}
        notes = [note.text for note in self.notes if note.row == row]
        return {**found, "notes": notes} if notes else found


def fit_weights(logprobs: Floats, evidence: Floats, gold: Ints) -> Weights:
    """Return the weights of the student's n x C log-probabilities and of n x C x 2 evidence that suit n gold labels.

    A conditional logit with an intercept per label, which is thrown away: offsets are fitted to macro-F1 afterwards.
    Labels weigh the same, however rare. Rows with NaN are left out. The weights are those of the highest posterior
    density under a normal prior.

    Source: McFadden 1974, "Conditional logit analysis of qualitative choice behavior".
    """
    known = ~np.isnan(logprobs).any(axis=1)
    sides, gold = np.concatenate([logprobs[:, :, None], evidence], axis=-1)[known], gold[known]
    n, c, count = sides.shape
    weights = 1.0 / np.bincount(gold, minlength=c)[gold]
    weights /= weights.sum()
    truth, prior = np.eye(c)[gold], np.array(PRIOR)
    tightness = 1 / (2 * PRIOR_SD**2 * max(n, 1))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = sides @ parameters[:count] + parameters[count:]
        wrong = softmax(scores, axis=1) - truth
        likelihood = -float(weights @ log_softmax(scores, axis=1)[np.arange(n), gold])
        gradient = np.append(np.einsum("n,nc,ncs->s", weights, wrong, sides), weights @ wrong)
        off, intercepts = parameters[:count] - prior, parameters[count:]
        penalty = tightness * float(off @ off) + RIDGE * float(intercepts @ intercepts)
        return likelihood + penalty, gradient + 2 * np.append(tightness * off, RIDGE * intercepts)

    start = np.append(prior, np.zeros(c))
    bounds = [(0.0, None)] * count + [(None, None)] * c
    student, classifier, nearest = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x[:count].tolist()
    return Weights(student=student, classifier=classifier, nearest=nearest)
