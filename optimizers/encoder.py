"""Without a language model: what labels alone give in seconds, with sentence vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from pld_dspy.ledger.keys import digest
from pld_dspy.local.classifier import TextClassifier, vote
from pld_dspy.local.embedding import sentence_encoder
from pld_dspy.task.task import Task

from .linear import LinearClassifier

if TYPE_CHECKING:
    from . import Setting


NEIGHBOURS = 5


class NearestNeighbours:
    """The label that most of the five nearest labelled texts have; of several, the nearest one's."""

    def __init__(self, classifier: TextClassifier) -> None:
        self.classifier = classifier

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return a label per text."""
        nearest = self.classifier.nearest(self.classifier.embed(texts), NEIGHBOURS)
        return vote(self.classifier.golds, nearest)


def encoder_logistic(setting: Setting, *, neighbours: bool = False) -> dspy.Module:
    """Fit the library's classifier on sentence vectors of the training and validation texts: the labels that PLD has.

    With ``neighbours``, the nearest of these texts vote instead.

    Raises:
        DataError: the encoder is not installed.
    """
    examples = [*setting.trainset, *setting.valset]
    task = Task.of(setting.student, examples)
    texts, labels = [task.text(example) for example in examples], task.golds(examples)
    model = TextClassifier.of(texts, labels, task.labels, sentence_encoder)
    return LinearClassifier(
        NearestNeighbours(model) if neighbours else model, task.label_field, digest([texts, labels, neighbours])
    )
