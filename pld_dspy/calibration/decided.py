"""Answers as offsets would have decided them; no call is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dspy
import numpy as np
from pydantic_core import to_jsonable_python

from ..decision import Decision
from ..evaluation import Evaluation, Evaluator
from ..ledger import Answer
from ..scoring import Floats
from ..task import Task
from .matching import match_gold
from .offsets import Offsets, logprob_matrix


def logprobs_of(answers: Sequence[Answer], task: Task) -> Floats:
    """Return the label log-probabilities of n answers, n x C; a row of NaN for an answer without them."""
    return logprob_matrix([answer.outputs or {} for answer in answers], task.labels)


def decision_of(evaluator: Evaluator) -> Decision | None:
    """Return the labelled decision of the evaluator's student; None where labels are read off free text."""
    return Decision.of(dict(evaluator.student.named_predictors())[evaluator.task.predictor].signature)


def decided(
    own: Evaluation, offsets: Offsets, examples: Sequence[dspy.Example], evaluator: Evaluator
) -> tuple[Evaluation, Floats]:
    """Return an evaluation as offsets move it, and n confidences.

    Args:
        own: the student's answers to ``examples`` as they are.
        offsets: what to move them by.
        examples: n labelled examples.
        evaluator: what scored them.
    """
    labels, confidence = offsets.answer(logprobs_of(own.answers, evaluator.task), own.labels)
    return evaluator.scored(examples, _moved(own, labels, decision_of(evaluator))), confidence


def matched(own: Evaluation, examples: Sequence[dspy.Example], evaluator: Evaluator) -> tuple[Evaluation, Offsets]:
    """Return an evaluation with each label given as often as it is right, and by which offsets.

    Where an answer has no log-probabilities, it comes back as it is, with offsets of 0.

    Args:
        own: the student's answers to ``examples`` as they are.
        examples: n labelled examples.
        evaluator: what scored them.
    """
    task = evaluator.task
    logprobs = logprobs_of(own.answers, task)
    if np.isnan(logprobs).any():
        return own, Offsets.none(task.labels)
    gold = np.array([task.labels.index(label) for label in task.golds(examples)])
    offsets = Offsets(labels=tuple(task.labels), values=tuple(match_gold(logprobs, gold).tolist()))
    return decided(own, offsets, examples, evaluator)[0], offsets


def _moved(own: Evaluation, labels: Sequence[str | None], decision: Decision | None) -> list[Answer]:
    """The answers with other labels in them, for objectives that read predictions."""
    return [
        answer
        if decision is None or label is None or label == before
        else replace(
            answer, outputs={**(answer.outputs or {}), decision.field: to_jsonable_python(decision.values[label])}
        )
        for answer, before, label in zip(own.answers, own.labels, labels, strict=True)
    ]
