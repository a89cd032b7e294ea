"""Demonstrations in the prompt: labelled ones, and ones the student answered itself."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.copying import copied
from pld_dspy.task.task import Task

if TYPE_CHECKING:
    from . import Setting

LABELLED = 8
BOOTSTRAPPED = 4


def labelled_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with eight labelled examples as demonstrations.

    They are what ``dspy.LabeledFewShot`` draws, but of the deciding predictor alone and with the inputs that it reads:
    where the program works on the example first (retrieves, say), the example has other fields than the predictor.
    """
    task = Task.of(setting.student, setting.trainset)
    program = copied(setting.student)
    predictor = dict(program.named_predictors())[task.predictor]
    predictor.demos = list(_demos(setting.student, task, _shuffled(setting)[:LABELLED]))
    return program


def bootstrap_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with up to four demonstrations it got right, by ``dspy.BootstrapFewShot``, and four labelled.

    It answers under the eight of :func:`labelled_few_shot`, and only examples that are not among them.
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
        after.lm = before.lm  # which BootstrapFewShot resets
    predictor, shown = (dict(module.named_predictors())[task.predictor] for module in (program, teacher))
    predictor.demos += shown.demos[: LABELLED - len(predictor.demos)]
    return program


class _Reached(Exception):
    """Ends a program where its decision is asked for."""


def _demos(student: dspy.Module, task: Task, examples: Sequence[dspy.Example]) -> Iterator[dspy.Example]:
    """Yield demonstrations of the deciding predictor; steps before it are run, and the predictor itself is not asked.

    An example on which the program decides without the predictor makes none.
    """
    program = copied(student)
    asked: dict[str, Any] = {}

    def stop(**inputs: Any) -> None:
        asked.update(inputs)
        raise _Reached

    dict(program.named_predictors())[task.predictor].forward = stop
    for example in examples:
        asked.clear()
        try:
            program(**example.inputs())
        except _Reached:
            yield dspy.Example(**asked, **{task.label_field: example[task.label_field]})


def _shuffled(setting: Setting) -> list[dspy.Example]:
    """The optimizers take demonstrations from the front: the seed decides which."""
    examples = list(setting.trainset)
    random.Random(setting.seed).shuffle(examples)
    return examples
