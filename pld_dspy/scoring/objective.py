"""What the search maximizes: a figure by its name, a user's own, or the mean of a per-example DSPy metric."""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import dspy
import numpy as np

from ..errors import DataError
from ..ledger.content import source
from ..task.labels import labels_in
from ..task.task import Task
from .f1 import Floats
from .figures import FIGURES, ONE_LABEL, figure

Metric = Callable[..., Any]
"""A per-example DSPy metric of 2, 3 or 5 arguments; it gives bool, float or a prediction with score and feedback."""

SetMetric = Callable[[Sequence[dspy.Example], Sequence[dspy.Prediction]], float]
"""A user's own figure of a whole set: (examples, predictions) -> float, higher is better. A failed call's prediction is
an empty ``dspy.Prediction()``."""

LABEL_BALANCE = {"accuracy": 0.0, "weighted_f1": 0.0, "balanced_accuracy": 1.0}
"""How far a figure gives equal weight to labels (1) or to examples (0); 0.5 for those not listed."""


@dataclass(frozen=True)
class Objective:
    """What a compile maximizes; DataError if both are given, or one is unusable."""

    choice: str | SetMetric = "macro_f1"  # a key of FIGURES, f1:LABEL, or a function of (examples, predictions)
    metric: Metric | None = None  # its mean is maximized instead

    def __post_init__(self) -> None:
        choice = self.choice
        if self.metric is not None:
            if choice != "macro_f1":
                raise DataError("Give objective= or metric=, not both.")
            extra_arguments(self.metric)
        elif not callable(choice) and choice not in FIGURES and not re.match(f"{ONE_LABEL}.", str(choice)):
            raise DataError(
                f"objective={choice!r} is unknown. Give one of {', '.join(FIGURES)}, f1:LABEL, or a callable."
            )

    @property
    def name(self) -> str:
        """The name under which values are recorded, without signs that MLflow refuses."""
        choice = self.metric or self.choice
        return re.sub(r"[^\w. -]", "_", choice if isinstance(choice, str) else function_name(choice))

    @property
    def code(self) -> dict[str, str]:
        """A digest of a user's own code, since its name stays the same when it is edited; empty without such code."""
        given = {"objective": self.choice, "metric": self.metric}
        return {f"{name}_code": source(function) for name, function in given.items() if callable(function)}

    def check(self, labels: Sequence[str]) -> None:
        """Raise DataError for the F1 of a label that the task does not have."""
        if isinstance(self.choice, str):
            figure(self.choice, labels)

    def value(self, task: Task, examples: Sequence[dspy.Example], predictions: Sequence[dspy.Prediction]) -> float:
        """Return the value of n predictions for n labelled examples; DataError if a user's function gives no number."""
        if self.metric is not None:
            extra = [None] * min(extra_arguments(self.metric))  # arguments that it need not have are left out
            scores = [
                as_number(self.metric(example, prediction, *extra), self.metric) if prediction.toDict() else 0.0
                for example, prediction in zip(examples, predictions, strict=True)
            ]
            return float(np.mean(scores))
        if not isinstance(self.choice, str):
            return as_number(self.choice(examples, predictions), self.choice)
        answers = [task.read(prediction.toDict()) for prediction in predictions]
        return figure(self.choice, task.labels, several=task.several)(task.golds(examples), answers, task.labels)

    def feedback(self, example: dspy.Example, prediction: dspy.Prediction, *, name: str, predictor: dspy.Module) -> str:
        """Return the metric's feedback on an answer by the predictor called ``name``; empty where there is none.

        Many metrics with GEPA's five arguments give feedback only for a predictor, so they are called as GEPA does:
        with a trace of one step that holds the predictor and the program's inputs and answer.
        """
        if self.metric is None:
            return ""
        trace = [(predictor, dict(example.inputs()), prediction)]
        accepted = extra_arguments(self.metric)
        # With a trace, a metric of three arguments is in DSPy's bootstrapping mode and answers yes or no.
        result = self.metric(example, prediction, *((trace, name, trace) if 3 in accepted else [None] * min(accepted)))
        words = result.get("feedback") if isinstance(result, dspy.Prediction) else None
        return str(words or "").strip()

    def example_weights(self, golds: Sequence[str], labels: Sequence[str] = ()) -> Floats:
        """Return n weights, sum 1, with which the share of right answers comes closest to the objective.

        For macro-F1 and the F1 of one label they are half macro recall, half accuracy, a linear approximation. A
        user's own function may be a mean over examples, so all examples weigh the same. The label set ``labels`` is
        needed where a gold text may join several labels.
        """
        own = self.metric is not None or not isinstance(self.choice, str)
        balance = 0.0 if own else LABEL_BALANCE.get(str(self.choice), 0.5)
        # An example without any label counts as a kind of its own.
        named = [labels_in(gold, labels) or (gold,) for gold in golds]
        counts = Counter(chain.from_iterable(named))
        recall = [sum(balance / (len(counts) * counts[label]) for label in found) for found in named]
        return np.asarray(recall) + (1 - balance) / len(golds)


def extra_arguments(metric: Metric) -> list[int]:
    """Return which of 0, 1 and 3 arguments beyond gold and prediction the metric accepts; DataError if none."""
    if not callable(metric):
        raise DataError(f"metric={metric!r} is no metric. Give a function, or name a figure with objective=.")
    # A module such as dspy.evaluate.SemanticF1 hands all arguments to forward. It is taken from the class, since DSPy
    # warns when it is taken from the module.
    forward = getattr(type(metric), "forward", None) if isinstance(metric, dspy.Module) else None
    signature = inspect.signature(metric if forward is None else partial(forward, metric))
    accepted = [extra for extra in (0, 1, 3) if _binds(signature, 2 + extra)]
    if not accepted:
        raise DataError(
            f"The metric {function_name(metric)!r} takes {signature}. Give one that takes (example, prediction), "
            "(example, prediction, trace) or GEPA's five arguments."
        )
    # "*args" is what a decorator leaves of a signature: it does not say how many more there may be.
    anything = any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values())
    return accepted[:1] if anything else accepted


def as_number(value: Any, source: Callable[..., Any]) -> float:
    """Return a score as a float; DataError about its ``source`` if it is not a finite number."""
    given = value.get("score") if isinstance(value, dspy.Prediction) else value
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{function_name(source)!r} gave the score {given!r}. Return a bool, a finite number, or "
            "dspy.Prediction(score=..., feedback=...)."
        )
    return number


def function_name(function: Callable[..., Any]) -> str:
    """Return the name of a function, or the class of a callable object."""
    return str(getattr(function, "__name__", type(function).__name__))


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
