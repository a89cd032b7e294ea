"""No learning: the unchanged student, and the same student reasoning before it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.errors import DataError
from pld_dspy.student.compose import copied
from pld_dspy.task.task import Task

if TYPE_CHECKING:
    from . import Setting


def zero_shot(setting: Setting) -> dspy.Module:
    """Return the unchanged student."""
    return copied(setting.student)


def chain_of_thought(setting: Setting) -> dspy.Module:
    """Return the student with a ``dspy.ChainOfThought`` in place of its deciding predictor.

    Raises:
        DataError: the predictor is in a list or dict, where it cannot be replaced by name.
    """
    task = Task.of(setting.student, setting.trainset)
    program = copied(setting.student)
    predictor = dict(program.named_predictors())[task.predictor]
    reasoning = dspy.ChainOfThought(predictor.signature)
    if predictor is program:
        return reasoning
    *path, last = task.predictor.split(".")
    owner: Any = program
    for name in path:
        owner = getattr(owner, name, None)
    if getattr(owner, last, None) is not predictor:
        raise DataError(f"Cannot replace {task.predictor!r} by name. Give it an attribute of its own.")
    setattr(owner, last, reasoning)
    return program
