"""A user's own measure: how a per-example DSPy metric is called, and what numbers are taken from it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import dspy
import numpy as np

from ..errors import DataError
from ..ledger.keys import digest

Metric = Callable[..., Any]
"""A per-example DSPy metric of 2, 3 or 5 arguments; it gives bool, float or a prediction with score and feedback."""


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


def mean_score(metric: Metric, examples: Sequence[dspy.Example], predictions: Sequence[dspy.Prediction]) -> float:
    """Return the mean of the metric's scores, 0 for a failed call; arguments that it need not have are left out."""
    extra = [None] * min(extra_arguments(metric))
    scores = [
        as_number(metric(example, prediction, *extra), metric) if prediction.toDict() else 0.0
        for example, prediction in zip(examples, predictions, strict=True)
    ]
    return float(np.mean(scores))


def feedback(
    metric: Metric, example: dspy.Example, prediction: dspy.Prediction, *, name: str, predictor: dspy.Module
) -> str:
    """Return the metric's feedback on an answer; empty where it gives none.

    Many metrics with GEPA's five arguments give feedback only for a predictor, so they are called as GEPA does: with
    the deciding predictor's name, and a trace of one step with that predictor and the program's inputs and answer.
    """
    trace = [(predictor, example.inputs().toDict(), prediction)]
    accepted = extra_arguments(metric)
    # With a trace, a metric of three arguments is in DSPy's bootstrapping mode and answers yes or no.
    result = metric(example, prediction, *((trace, name, trace) if 3 in accepted else [None] * min(accepted)))
    words = result.get("feedback") if isinstance(result, dspy.Prediction) else None
    return str(words or "").strip()


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


def code_digest(function: Callable[..., Any]) -> str:
    """Return a digest of a function's source; its name where there is no source, as in a Python prompt."""
    try:
        return digest(inspect.getsource(function if inspect.isroutine(function) else type(function)))
    except (OSError, TypeError):
        return function_name(function)


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
