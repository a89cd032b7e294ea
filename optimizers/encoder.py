"""Without a language model: what labels alone give in seconds, with sentence vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dspy

from pld_dspy.explain import match_records, notes_about
from pld_dspy.ledger.keys import digest
from pld_dspy.local.classifier import TextClassifier, vote
from pld_dspy.local.embedding import sentence_encoder
from pld_dspy.task.task import Task

from .linear import LinearClassifier
from .metric import recorded

if TYPE_CHECKING:
    from . import Setting

NEIGHBOURS = 5


def encoder_logistic(setting: Setting, *, neighbours: bool = False, notes: bool = False) -> dspy.Module:
    """Fit the library's classifier on sentence vectors of the training and validation texts: the labels that PLD has.

    With ``notes``, on the recorded micro-rules too. With ``neighbours``, the five nearest of the texts vote instead; of
    equals, the label of the nearest.

    Raises:
        DataError: the encoder is not installed.
    """
    examples = [*setting.trainset, *setting.valset]
    task = Task.of(setting.student, examples)
    texts, labels = [task.text(example) for example in examples], task.golds(examples)
    matched, _ = match_records(setting.trainset, task, recorded(setting) if notes else [])
    said = notes_about(setting.trainset, [*matched.values()], task)
    model = TextClassifier.of(texts, labels, task.labels, sentence_encoder, notes=said)

    def voted(asked: Sequence[str]) -> list[str]:
        return vote(model.golds, model.nearest(model.embed(asked), NEIGHBOURS))

    predict = voted if neighbours else model.predict
    return LinearClassifier(predict, task.label_field, digest([texts, labels, neighbours, said]))
