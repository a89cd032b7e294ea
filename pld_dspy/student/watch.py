"""What is noticed while a copy of a program runs: rules that could have no effect, since another predictor answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.dspy_names import BaseCallback
from ..task.task import Task

_NO_EFFECT = "so rules would have no effect"


@contextmanager
def watched(program: dspy.Module, *, student: dspy.Module, task: Task) -> Iterator[None]:
    """Raise DataError if within, where only ``program`` runs, its deciding predictor is not the one that answers.

    ``program`` is a copy of ``student``, whose own predictor it may still call; or it may make one while it runs.
    """
    name = type(student).__name__
    own = dict(program.named_predictors()).get(task.predictor)  # none in a program that is no language model's
    watch = _Watch(dict(student.named_predictors()).get(task.predictor), task.label_field)
    try:
        with dspy.context(callbacks=[*dspy.settings.callbacks, watch]):
            yield
    except _Shared as error:
        raise DataError(
            f"A copy of the program {name} still calls the original's predictor {task.predictor!r}, {_NO_EFFECT}: an "
            "object that is not copied (a closure, a global, a cache, a __deepcopy__ of its own) refers to it. Call "
            "the predictor as an attribute of self, or keep it in a dspy.Module."
        ) from error
    # Compared by instructions: modules such as dspy.BestOfN copy their predictors for each call.
    known = {module.signature.instructions for _, module in program.named_sub_modules(dspy.Predict)}
    if watch.seen - known and own is not None and own.signature.instructions not in watch.seen:
        raise DataError(
            f"The program {name} answers with a predictor that it makes while it runs, not with its own "
            f"{task.predictor!r}, {_NO_EFFECT}. Make it once, in __init__, as an attribute of self."
        )


class _Shared(BaseException):
    """No Exception: DSPy would log it, and programs catch those and go on."""


class _Watch(BaseCallback):
    """Collects the instructions of the predictors that are called for the label."""

    def __init__(self, original: dspy.Predict | None, label_field: str) -> None:
        self.original, self.label_field = original, label_field
        self.seen: set[str] = set()

    def on_module_start(self, call_id: str, instance: object, inputs: dict[str, Any]) -> None:
        if instance is self.original:
            raise _Shared
        if isinstance(instance, dspy.Predict) and self.label_field in instance.signature.output_fields:
            self.seen.add(instance.signature.instructions)
