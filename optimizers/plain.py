"""No learning: the unchanged student, under its best frame, and reasoning before it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.errors import DataError
from pld_dspy.student.compose import copied
from pld_dspy.student.frames import frames_for, with_frame
from pld_dspy.task.task import Task

from .metric import metric_of

if TYPE_CHECKING:
    from . import Setting


def zero_shot(setting: Setting) -> dspy.Module:
    """Return the unchanged student."""
    return copied(setting.student)


def framed(setting: Setting) -> dspy.Module:
    """Return the student under the frame around the example with which it answers most labelled examples best.

    Each of its frames is asked about the same training and validation examples, as many as the budget allows.
    """
    examples = [*setting.valset, *setting.trainset]
    task = Task.of(setting.student, examples)
    programs = [with_frame(setting.student, task, frame) for frame in frames_for(setting.student, task).values()]
    asked = examples[: max(setting.budget // len(programs), 1)]
    evaluate = dspy.Evaluate(devset=asked, metric=metric_of(setting), display_progress=False)
    return max(programs, key=lambda program: float(evaluate(program)))


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
