"""A sentence encoder and logistic regression: what the labels alone give, in seconds, without a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dspy

from pld_dspy.ledger.keys import digest
from pld_dspy.local.classifier import TextClassifier
from pld_dspy.local.embedding import sentence_encoder
from pld_dspy.task.task import Task

from .linear import LinearClassifier

if TYPE_CHECKING:
    from . import Setting


def encoder_logistic(setting: Setting) -> dspy.Module:
    """Fit the library's classifier on sentence vectors of the training and validation texts: the labels that PLD has.

    Raises:
        DataError: the encoder is not installed.
    """
    examples = [*setting.trainset, *setting.valset]
    task = Task.of(setting.student, examples)
    texts, labels = [task.text(example) for example in examples], task.golds(examples)
    model = TextClassifier.of(texts, labels, task.labels, sentence_encoder)
    return LinearClassifier(model, task.label_field, digest([texts, labels]))
