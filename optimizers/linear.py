"""Without a language model: TF-IDF with logistic regression, the classic text classifier, and the commonest label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dspy
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pld_dspy.ledger.keys import digest
from pld_dspy.task.task import Task, input_text

if TYPE_CHECKING:
    from . import Setting


class LinearClassifier(dspy.Module):
    """A fitted text classifier as a DSPy program.

    Args:
        predict: texts -> a label per text.
        label_field: the output field.
        fingerprint: a digest of the training data.
    """

    def __init__(self, predict: Callable[[Sequence[str]], Any], label_field: str, fingerprint: str) -> None:
        super().__init__()
        self.predict = predict
        self.label_field = label_field
        self.fingerprint = fingerprint

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Return the label of the inputs, read as one text."""
        return dspy.Prediction(**{self.label_field: str(self.predict([input_text(inputs)])[0])})


def tfidf_logistic(setting: Setting) -> dspy.Module:
    """Fit TF-IDF (words and word pairs) and logistic regression on the training texts.

    For macro-F1 and balanced accuracy all labels have the same weight; otherwise all examples do.
    """
    task = Task.of(setting.student, setting.trainset)
    texts, labels = [task.text(example) for example in setting.trainset], task.golds(setting.trainset)
    weights = "balanced" if setting.objective in ("macro_f1", "balanced_accuracy") else None
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        LogisticRegression(max_iter=1000, class_weight=weights, random_state=setting.seed),
    )
    return LinearClassifier(model.fit(texts, labels).predict, task.label_field, digest([texts, labels]))


def majority(setting: Setting) -> dspy.Module:
    """Answer the commonest label of the training examples, whatever the input."""
    task = Task.of(setting.student, setting.trainset)
    texts, labels = [task.text(example) for example in setting.trainset], task.golds(setting.trainset)
    model = DummyClassifier(strategy="most_frequent").fit(texts, labels)
    return LinearClassifier(model.predict, task.label_field, digest(labels))
