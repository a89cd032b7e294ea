"""Answers as offsets would have decided them; no call is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import dspy
import numpy as np
from pydantic_core import to_jsonable_python

from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.f1 import Floats
from ..scoring.matching import match_gold
from ..scoring.offsets import Offsets, logprob_matrix
from ..task.task import Task
from .decision import Decision
from .evaluator import Evaluation, Evaluator


@dataclass(frozen=True, kw_only=True)
class DecidedEvaluator(Evaluator):
    """The student as a function of its rules, its answers decided with the same offsets whatever these are.

    Attributes:
        offsets: what to move them by.
    """

    offsets: Offsets

    @classmethod
    def of(cls, evaluator: Evaluator, offsets: Offsets) -> DecidedEvaluator:
        """Return ``evaluator`` with its answers moved by ``offsets``."""
        return cls(**{one.name: getattr(evaluator, one.name) for one in fields(Evaluator)}, offsets=offsets)

    def answers(
        self,
        rules: RuleSet | None,
        examples: Sequence[dspy.Example],
        *,
        stage: str,
        on_answer: Callable[[], object] | None = None,
    ) -> list[Answer]:
        """Return the student's answers as for any evaluator, as the offsets decide them."""
        return moved_answers(super().answers(rules, examples, stage=stage, on_answer=on_answer), self.offsets, self)


def logprobs_of(answers: Sequence[Answer], task: Task) -> Floats:
    """Return the label log-probabilities of n answers, n x C; a row of NaN for an answer without them."""
    return logprob_matrix([answer.outputs or {} for answer in answers], task.labels)


def decision_of(evaluator: Evaluator) -> Decision | None:
    """Return the labelled decision of the evaluator's student; None where labels are read off free text."""
    decision = Decision.of(dict(evaluator.student.named_predictors())[evaluator.task.predictor].signature)
    return None if decision is None or decision.several else decision


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
    answers, confidence = _decided(own.answers, offsets, evaluator)
    return evaluator.scored(examples, answers), confidence


def matched(own: Evaluation, examples: Sequence[dspy.Example], evaluator: Evaluator) -> tuple[Evaluation, Offsets]:
    """Return an evaluation with each label given as often as it is right, and by which offsets.

    An answer without log-probabilities stays as it is; where none has any, the offsets are 0.

    Args:
        own: the student's answers to ``examples`` as they are.
        examples: n labelled examples.
        evaluator: what scored them.
    """
    offsets = matching_offsets(own.answers, examples, evaluator.task)
    return (decided(own, offsets, examples, evaluator)[0], offsets) if any(offsets.values) else (own, offsets)


def matched_answers(answers: Sequence[Answer], examples: Sequence[dspy.Example], evaluator: Evaluator) -> list[Answer]:
    """Return n answers with each label given as often as it is right: :func:`matched`, without what scoring costs.

    Args:
        answers: the student's answers to ``examples`` as they are.
        examples: n labelled examples.
        evaluator: the student.
    """
    return moved_answers(answers, matching_offsets(answers, examples, evaluator.task), evaluator)


def moved_answers(answers: Sequence[Answer], offsets: Offsets, evaluator: Evaluator) -> list[Answer]:
    """Return answers with the labels that ``offsets`` decide on: :func:`decided`, without what scoring costs."""
    return _decided(answers, offsets, evaluator)[0]


def matching_offsets(answers: Sequence[Answer], examples: Sequence[dspy.Example], task: Task) -> Offsets:
    """Return the offsets under which each label is given as often as it is right; of 0 without log-probabilities."""
    logprobs = logprobs_of(answers, task)
    if np.isnan(logprobs).all():
        return Offsets.none(task.labels)
    gold = np.array([task.labels.index(label) for label in task.golds(examples)])
    return Offsets(labels=tuple(task.labels), values=tuple(match_gold(logprobs, gold).tolist()))


def _decided(answers: Sequence[Answer], offsets: Offsets, evaluator: Evaluator) -> tuple[list[Answer], Floats]:
    """The answers with the labels that offsets decide on, and their confidences."""
    task = evaluator.task
    own = [task.read(answer.outputs) for answer in answers]
    labels, confidence = offsets.answer(logprobs_of(answers, task), own)
    return _moved(answers, own, labels, decision_of(evaluator)), confidence


def _moved(
    answers: Sequence[Answer], own: Sequence[str | None], labels: Sequence[str | None], decision: Decision | None
) -> list[Answer]:
    """The answers with other labels in them, for objectives that read predictions."""
    return [
        answer
        if decision is None or label is None or label == before
        else replace(
            answer, outputs={**(answer.outputs or {}), decision.field: to_jsonable_python(decision.values[label])}
        )
        for answer, before, label in zip(answers, own, labels, strict=True)
    ]
