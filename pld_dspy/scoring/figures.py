"""Figures of a whole set of answers, by name.

An answer is a text: a label, or several labels joined. A missing answer is None; it is wrong for its gold label and
adds no class. F1 takes each label as a decision of its own; accuracy compares whole answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.metrics import recall_score

from ..errors import DataError
from ..task.labels import indicator
from .f1 import F1

Golds: TypeAlias = Sequence[str]
Answers: TypeAlias = Sequence[str | None]
Labels: TypeAlias = Sequence[str]
Figure = Callable[[Golds, Answers, Labels], float]
"""(gold texts, answered texts, label set) -> a value from 0 to 1."""

ONE_LABEL = "f1:"
"""``f1:LABEL`` names the F1 of one label."""


def macro_f1(golds: Golds, answers: Answers, labels: Labels) -> float:
    """Return the mean F1 over all labels of the set; 0 for a label that is neither gold nor answered."""
    return float(_f1(golds, answers, labels).macro())


def weighted_f1(golds: Golds, answers: Answers, labels: Labels) -> float:
    """Return the mean F1 over labels, each weighted by its share of ``golds``."""
    support = indicator(golds, labels)[:, :-1].sum(axis=0)
    return float(np.average(_f1(golds, answers, labels).per_label(), weights=support)) if support.any() else 0.0


def accuracy(golds: Golds, answers: Answers, labels: Labels) -> float:
    """Return the share of right answers; an answer of several labels is right if it has exactly the gold ones."""
    return float(np.mean([gold == answer for gold, answer in zip(golds, answers, strict=True)]))


def balanced_accuracy(golds: Golds, answers: Answers, labels: Labels) -> float:
    """Return the mean recall over the labels that occur in ``golds``, as scikit-learn defines it."""
    texts = ["" if answer is None else answer for answer in answers]  # scikit-learn refuses None
    return float(recall_score(golds, texts, labels=sorted(set(golds)), average="macro", zero_division=0.0))


def balanced_accuracy_per_label(golds: Golds, answers: Answers, labels: Labels) -> float:
    """Return the mean, over labels, of each label's balanced accuracy as a yes-or-no decision.

    Mean recall alone would be best where every label is always answered. A missing answer is always wrong. Labels that
    are gold everywhere or nowhere are left out; the value is 0 where no label remains.
    """
    gold, answer = indicator(golds, labels)[:, :-1] == 1, indicator(answers, labels) == 1
    right = (gold == answer[:, :-1]) & ~answer[:, -1:]
    with_label, without = gold.sum(axis=0), (~gold).sum(axis=0)
    decided = (with_label > 0) & (without > 0)
    if not decided.any():
        return 0.0
    recall = (right & gold).sum(axis=0)[decided] / with_label[decided]
    return float(np.mean((recall + (right & ~gold).sum(axis=0)[decided] / without[decided]) / 2))


FIGURES: dict[str, Figure] = {
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
}


def figure(name: str, labels: Sequence[str], *, several: bool = False) -> Figure:
    """Return the figure called ``name``, a key of ``FIGURES`` or ``f1:LABEL``; DataError for an unknown label."""
    if name == "balanced_accuracy" and several:
        return balanced_accuracy_per_label
    if name in FIGURES:
        return FIGURES[name]
    label = name.removeprefix(ONE_LABEL)
    if label not in labels:
        raise DataError(
            f"objective={name!r} is the F1 of a label that is not in the label set ({', '.join(labels)}). "
            f"Name one of these after {ONE_LABEL!r}."
        )
    column = list(labels).index(label)
    return lambda golds, answers, labels: float(_f1(golds, answers, labels).per_label()[column])


def _f1(golds: Golds, answers: Answers, labels: Labels) -> F1:
    return F1.of(indicator(golds, labels), indicator(answers, labels)).total(np.ones(len(golds)))
