"""Demonstrations in the prompt: labelled examples, those nearest to the input, and examples answered right."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.local.embedding import sentence_encoder
from pld_dspy.student.compose import copied
from pld_dspy.task.task import Task

from .metric import metric_of, teacher_settings

if TYPE_CHECKING:
    from . import Setting

LABELLED = 8
BOOTSTRAPPED = NEAREST = 4


def labelled_few_shot(setting: Setting, *, size: int = LABELLED) -> dspy.Module:
    """Return the student with ``size`` labelled examples: of the draws that the budget lets it score, the best.

    Unlike those of ``dspy.LabeledFewShot``, they belong to the deciding predictor alone and hold the inputs that it
    reads: an example has other fields than the predictor where earlier steps (such as retrieval) change them.
    """
    draws = setting.budget // len(setting.valset) if setting.valset else 0
    if draws < 2:
        return _with_labelled(setting, size, setting.seed)
    programs = [_with_labelled(setting, size, setting.seed + draw) for draw in range(draws)]
    evaluate = dspy.Evaluate(devset=list(setting.valset), metric=metric_of(setting), display_progress=False)
    return max(programs, key=lambda program: float(evaluate(program)))


def _with_labelled(setting: Setting, size: int, seed: int) -> dspy.Module:
    task = Task.of(setting.student, setting.trainset)
    program = copied(setting.student)
    predictor = dict(program.named_predictors())[task.predictor]
    predictor.demos = list(_demos(setting.student, task, shuffled(setting, seed)[:size]))
    return program


def nearest_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with the four nearest labelled examples of each input (``dspy.KNNFewShot``)."""
    examples = [*setting.trainset, *setting.valset]
    embedder = dspy.Embedder(sentence_encoder, caching=False)
    labelled_alone = {"max_bootstrapped_demos": 0, "max_labeled_demos": NEAREST}
    return dspy.KNNFewShot(NEAREST, examples, embedder, **labelled_alone).compile(copied(setting.student))


def bootstrap_random_search(setting: Setting) -> dspy.Module:
    """Return the best of as many sets of demonstrations as the budget lets it score, one of them empty.

    These are up to four answers that the teacher, or else the student, got right, and up to sixteen labelled examples
    (``dspy.BootstrapFewShotWithRandomSearch``).
    """
    n, answers = len(setting.valset), 0 if setting.teacher else 2 * BOOTSTRAPPED
    sets = (setting.budget - 2 * n) // (n + answers) - 1  # the first two, and one more, are no part of its number
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=metric_of(setting), num_candidate_programs=max(sets, 1), teacher_settings=teacher_settings(setting)
    )
    with redirect_stdout(sys.stderr):  # it prints
        return optimizer.compile(
            copied(setting.student), trainset=shuffled(setting, setting.seed), valset=list(setting.valset)
        )


def bootstrap_few_shot(setting: Setting) -> dspy.Module:
    """Return the student with eight demonstrations: up to four of ``dspy.BootstrapFewShot``, the others labelled.

    The former are answers that the student got right with the eight demonstrations drawn by the seed, on
    other examples.
    """
    task = Task.of(setting.student, setting.trainset)

    teacher = _with_labelled(setting, LABELLED, setting.seed)
    unseen = shuffled(setting, setting.seed)[LABELLED:]
    if not unseen:
        return teacher
    optimizer = dspy.BootstrapFewShot(
        metric=metric_of(setting), max_bootstrapped_demos=BOOTSTRAPPED, max_labeled_demos=0
    )
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


def shuffled(setting: Setting, seed: int) -> list[dspy.Example]:
    """Return the training examples in an order that depends on ``seed``; optimizers use the first ones."""
    examples = list(setting.trainset)
    random.Random(seed).shuffle(examples)
    return examples
