"""What the search maximizes: a figure by its name, a user's own, or the mean of a per-example DSPy metric."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
import numpy as np
from sklearn.metrics import f1_score, recall_score

from ..errors import DataError
from ..ledger.keys import digest
from ..task.labels import indicator
from .score import macro_f1

Objective = Callable[[Sequence[dspy.Example], Sequence[dspy.Prediction]], float]
"""A figure over a whole set: (examples, predictions) -> float, higher is better. A failed call's prediction is
an empty ``dspy.Prediction()``."""

Metric = Callable[..., Any]
"""A per-example DSPy metric of 2, 3 or 5 arguments, giving bool, float or ``Prediction(score=..., feedback=...)``."""

Figure = Callable[[Sequence[str], Sequence[str | None], Sequence[str]], float]
"""A figure over a whole set of labels: (gold labels, answers, label set) -> float from 0 to 1. A missing answer is
None, and is wrong for its gold label. An answer may be several labels joined, as of ``task.labels``; F1 then takes each
label for a decision of its own."""

ONE_LABEL = "f1:"
"""``f1:LABEL`` names the F1 of one label."""


def accuracy(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return the share of right answers; of several labels, of those that are exactly the gold ones."""
    return float(np.mean([gold == answer for gold, answer in zip(golds, answers, strict=True)]))


def balanced_accuracy(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return the mean recall over those labels that are among ``golds``, as scikit-learn defines it."""
    present = sorted(set(golds))
    return float(recall_score(golds, _texts(answers), labels=present, average="macro", zero_division=0.0))


def weighted_f1(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return the mean F1 over labels, each weighted by its share of ``golds``."""
    columns = range(len(labels))
    found = f1_score(
        indicator(golds, labels), indicator(answers, labels), labels=columns, average="weighted", zero_division=0.0
    )
    return float(found)


def label_f1(label: str, golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return the F1 of one ``label``; 0 where it is neither a gold label nor answered."""
    column = [list(labels).index(label)]
    found = f1_score(
        indicator(golds, labels), indicator(answers, labels), labels=column, average="macro", zero_division=0.0
    )
    return float(found)


def balanced_accuracy_of_each(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return the balanced accuracy of each label as a yes-or-no decision, on average over labels.

    That is the mean of its recall and of the share of right answers to examples without it: mean recall alone would be
    best where every label is always answered. A missing answer is wrong for both. Labels that are gold everywhere or
    nowhere are left out; 0 where that leaves none.
    """
    gold, answer = indicator(golds, labels)[:, :-1] == 1, indicator(answers, labels) == 1
    right = (gold == answer[:, :-1]) & ~answer[:, -1:]
    with_label, without = gold.sum(axis=0), (~gold).sum(axis=0)
    decided = (with_label > 0) & (without > 0)
    if not decided.any():
        return 0.0
    recall = (right & gold).sum(axis=0)[decided] / with_label[decided]
    return float(np.mean((recall + (right & ~gold).sum(axis=0)[decided] / without[decided]) / 2))


NAMED: dict[str, Figure] = {
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
}
NAMED_OF_SEVERAL: dict[str, Figure] = {**NAMED, "balanced_accuracy": balanced_accuracy_of_each}
"""The same where an answer may hold several labels."""


def chosen_objective(objective: str | Objective, metric: Metric | None) -> Objective | str:
    """Return what the evaluator maximizes, as far as it can be checked without a label set.

    Args:
        objective: a key of ``NAMED``, ``f1:LABEL``, or a callable over (examples, predictions).
        metric: a per-example DSPy metric instead; its mean.

    Raises:
        DataError: both are given, the name is unknown, or the metric takes other arguments.
    """
    if metric is not None:
        if objective != "macro_f1":
            raise DataError("Give objective= or metric=, not both.")
        return MeanMetric(metric)
    if callable(objective):
        return partial(_checked, objective)
    named = isinstance(objective, str) and objective.startswith(ONE_LABEL) and objective != ONE_LABEL
    if named or objective in NAMED:
        return objective
    raise DataError(f"objective={objective!r} is unknown. Give one of {', '.join(NAMED)}, f1:LABEL, or a callable.")


def figure(objective: str, labels: Sequence[str], *, several: bool = False) -> Figure:
    """Return the figure that ``objective`` names.

    Args:
        objective: a key of ``NAMED``, or ``f1:LABEL``.
        labels: the label set.
        several: whether an answer may hold several labels.

    Raises:
        DataError: it names a label that is not one of ``labels``.
    """
    if objective in NAMED:
        return (NAMED_OF_SEVERAL if several else NAMED)[objective]
    label = objective.partition(ONE_LABEL)[2]
    if label not in labels:
        raise DataError(
            f"objective={objective!r} is the F1 of a label that is not in the label set ({', '.join(labels)}). "
            f"Name one of these after {ONE_LABEL!r}."
        )
    return partial(label_f1, label)


def check_objective(objective: str | Objective, labels: Sequence[str]) -> None:
    """Refuse the F1 of a label that the task does not have.

    Raises:
        DataError: ``objective`` names a label that is not one of ``labels``.
    """
    if isinstance(objective, str):
        figure(objective, labels)


def objective_name(objective: str | Objective, metric: Metric | None) -> str:
    """Return the name under which values of what is maximized are recorded; MLflow refuses most signs in names."""
    chosen = objective if metric is None else metric
    return re.sub(r"[^\w. -]", "_", chosen if isinstance(chosen, str) else _name(chosen))


def objective_code(objective: str | Objective, metric: Metric | None) -> dict[str, str]:
    """Return a digest of the code of a user's own objective or metric; empty where there is neither.

    Their names do not tell an edited one from what was maximized before.
    """
    given = {"objective": objective, "metric": metric}
    return {f"{name}_code": _code(function) for name, function in given.items() if callable(function)}


@dataclass(frozen=True)
class MeanMetric:
    """A per-example DSPy metric as an objective: its mean, where a failed call counts 0.

    Attributes:
        metric: of (gold, prediction), optionally trace, optionally GEPA's pred_name and pred_trace; gives a bool, a
            number, or a prediction with ``score`` and perhaps ``feedback``.

    Raises:
        DataError: the metric takes other arguments, or gives something else.
    """

    metric: Metric

    def __post_init__(self) -> None:
        _extra_arguments(self.metric)

    def __call__(self, examples: Sequence[dspy.Example], predictions: Sequence[dspy.Prediction]) -> float:
        """Return the mean; the metric is given as little beside gold and prediction as it takes, and that is None."""
        extra = [None] * min(_extra_arguments(self.metric))
        values = [
            _number(self.metric(example, prediction, *extra), self.metric) if prediction.toDict() else 0.0
            for example, prediction in zip(examples, predictions, strict=True)
        ]
        return float(np.mean(values))

    def feedback(self, example: dspy.Example, prediction: dspy.Prediction, *, name: str, predictor: dspy.Module) -> str:
        """Return what the metric says of an answer beside its score; empty where it says nothing.

        Many metrics of GEPA's five arguments say something only when they are asked on behalf of a predictor, so they
        are asked as GEPA does: with its name, and a trace of one step, in which the program's inputs and answer stand
        for the predictor's.

        Args:
            example: the labelled example.
            prediction: the program's answer.
            name: of the deciding predictor.
            predictor: the predictor itself.
        """
        trace = [(predictor, example.inputs().toDict(), prediction)]
        taken = _extra_arguments(self.metric)
        # With a trace, a metric of three arguments is in DSPy's bootstrapping mode and answers yes or no.
        said = self.metric(example, prediction, *((trace, name, trace) if 3 in taken else [None] * min(taken)))
        words = said.get("feedback") if isinstance(said, dspy.Prediction) else None
        return str(words or "").strip()


def _extra_arguments(metric: Metric) -> list[int]:
    """Return how many arguments a metric takes beyond gold and prediction: those of 0, 1 and 3 that it can do with."""
    if not callable(metric):
        raise DataError(f"metric={metric!r} is no metric. Give a function, or name a figure with objective=.")
    # A module that judges, such as dspy.evaluate.SemanticF1, hands all that it is called with on to forward. That is
    # taken from its class: DSPy warns whoever takes it from the module.
    forward = getattr(type(metric), "forward", None) if isinstance(metric, dspy.Module) else None
    signature = inspect.signature(metric if forward is None else partial(forward, metric))
    taken = [extra for extra in (0, 1, 3) if _binds(signature, 2 + extra)]
    if not taken:
        raise DataError(
            f"The metric {_name(metric)!r} takes {signature}. Give one that takes (example, prediction), "
            "(example, prediction, trace) or GEPA's five arguments."
        )
    # "*args" is what a decorator leaves of a signature: it does not say how many more there may be.
    anything = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    return taken[:1] if anything else taken


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _checked(objective: Objective, examples: Sequence[dspy.Example], predictions: Sequence[dspy.Prediction]) -> float:
    return _number(objective(examples, predictions), objective)


def _number(value: Any, source: Callable[..., Any]) -> float:
    given = value.get("score") if isinstance(value, dspy.Prediction) else value
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{_name(source)!r} gave the score {given!r}. Return a bool, a finite number, or "
            "dspy.Prediction(score=..., feedback=...)."
        )
    return number


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _code(function: Callable[..., Any]) -> str:
    try:
        return digest(inspect.getsource(function if inspect.isroutine(function) else type(function)))
    except (OSError, TypeError):  # typed into a prompt, or made by a library in C: its name has to do
        return _name(function)


def _texts(answers: Sequence[str | None]) -> list[str]:
    """Answers as scikit-learn takes them: it refuses None, and no label is empty."""
    return ["" if answer is None else answer for answer in answers]
