"""Demonstrations in the prompt: labelled examples, and examples that the student answered right."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.compose import copied
from pld_dspy.task.task import Task

if TYPE_CHECKING:
    from . import Setting

LABELLED = 8
BOOTSTRAPPED = 4


def labelled_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with eight labelled examples as demonstrations.

    Unlike those of ``dspy.LabeledFewShot``, they belong to the deciding predictor alone and hold the inputs that it
    reads: an example has other fields than the predictor where earlier steps (such as retrieval) change them.
    """
    task = Task.of(setting.student, setting.trainset)
    program = copied(setting.student)
    predictor = dict(program.named_predictors())[task.predictor]
    predictor.demos = list(_demos(setting.student, task, _shuffled(setting)[:LABELLED]))
    return program


def bootstrap_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with eight demonstrations: up to four of ``dspy.BootstrapFewShot``, the others labelled.

    The former are answers that the student got right with the eight demonstrations of :func:`labelled_few_shot`, on
    other examples.
    """
    task = Task.of(setting.student, setting.trainset)

    def right(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        return task.read(prediction.toDict()) == task.gold(example)

    teacher = labelled_few_shot(setting)
    unseen = _shuffled(setting)[LABELLED:]
    if not unseen:
        return teacher
    optimizer = dspy.BootstrapFewShot(metric=right, max_bootstrapped_demos=BOOTSTRAPPED, max_labeled_demos=0)
    program = optimizer.compile(setting.student, teacher=teacher, trainset=unseen)
    for before, after in zip(setting.student.predictors(), program.predictors(), strict=True):
        after.lm = before.lm  # BootstrapFewShot removes it
    predictor, labelled = (dict(module.named_predictors())[task.predictor] for module in (program, teacher))
    predictor.demos += labelled.demos[: LABELLED - len(predictor.demos)]
    return program


class _DecisionReached(Exception):
    """Stops a program before its decision."""


def _demos(student: dspy.Module, task: Task, examples: Sequence[dspy.Example]) -> Iterator[dspy.Example]:
    """Yield demonstrations of the deciding predictor: the program runs up to it, and no call is made for it.

    Examples that the program decides without the predictor are skipped.
    """
    program = copied(student)
    received: dict[str, Any] = {}

    def stop(**inputs: Any) -> None:
        received.update(inputs)
        raise _DecisionReached

    dict(program.named_predictors())[task.predictor].forward = stop
    for example in examples:
        received.clear()
        try:
            program(**example.inputs())
        except _DecisionReached:
            yield dspy.Example(**received, **{task.label_field: example[task.label_field]})


def _shuffled(setting: Setting) -> list[dspy.Example]:
    """Return the training examples in an order that depends on the seed; optimizers use the first ones."""
    examples = list(setting.trainset)
    random.Random(setting.seed).shuffle(examples)
    return examples
