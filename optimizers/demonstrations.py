"""Demonstrations in the prompt: labelled ones, and ones the student answered itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.task import Task

if TYPE_CHECKING:
    from . import Setting

LABELLED = 8
BOOTSTRAPPED = 4


def labelled_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with eight labelled examples as demonstrations (``dspy.LabeledFewShot``)."""
    return dspy.LabeledFewShot(k=LABELLED).compile(setting.student, trainset=_shuffled(setting))


def bootstrap_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with up to four demonstrations it got right and four labelled (``dspy.BootstrapFewShot``)."""
    task = Task.of(setting.student, setting.trainset)

    def right(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        return task.read(prediction.toDict()) == task.gold(example)

    optimizer = dspy.BootstrapFewShot(metric=right, max_bootstrapped_demos=BOOTSTRAPPED, max_labeled_demos=LABELLED)
    return optimizer.compile(setting.student, trainset=_shuffled(setting))


def _shuffled(setting: Setting) -> list[dspy.Example]:
    """Both optimizers take demonstrations from the front or by a fixed seed of their own: ours decides here."""
    examples = list(setting.trainset)
    random.Random(setting.seed).shuffle(examples)
    return examples
