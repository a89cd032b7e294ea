"""Answers as offsets would have decided them; no call is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dspy
import numpy as np
from pydantic_core import to_jsonable_python

from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.offsets import Offsets, match_gold
from ..task.task import Task
from .decision import Decision
from .evaluator import Evaluator, logprobs_of


def redecide(answers: Sequence[Answer], offsets: Offsets, evaluator: Evaluator) -> list[Answer]:
    """Return n answers with the labels that ``offsets`` decide on; an answer without log-probabilities stays."""
    decision = decision_of(evaluator)
    if decision is None:
        return list(answers)
    own = [evaluator.task.read(answer.outputs) for answer in answers]
    labels, _ = offsets.answer(logprobs_of(answers, evaluator.task), own)
    values = {label: to_jsonable_python(value) for label, value in decision.values.items()}
    return [
        answer
        if label is None or label == before
        else replace(answer, outputs={**(answer.outputs or {}), decision.field: values[label]})
        for answer, before, label in zip(answers, own, labels, strict=True)
    ]


def redecide_to_match_gold(
    answers: Sequence[Answer], examples: Sequence[dspy.Example], evaluator: Evaluator
) -> list[Answer]:
    """Return n answers to n labelled examples, redecided so that each label is answered as often as it is right."""
    return redecide(answers, matching_offsets(answers, examples, evaluator.task), evaluator)


def searched_answers(
    rules: RuleSet | None, examples: Sequence[dspy.Example], evaluator: Evaluator, *, stage: str, calibrated: bool
) -> list[Answer]:
    """Return the student's answers to ``examples`` as a search takes them: redecided to match gold if calibrated."""
    answers = evaluator.answers(rules, examples, stage=stage)
    return redecide_to_match_gold(answers, examples, evaluator) if calibrated else answers


def objective_of(
    rules: RuleSet | None, examples: Sequence[dspy.Example], evaluator: Evaluator, *, stage: str, calibrated: bool
) -> float:
    """Return the objective of :func:`searched_answers`."""
    return evaluator.value(examples, searched_answers(rules, examples, evaluator, stage=stage, calibrated=calibrated))


def matching_offsets(answers: Sequence[Answer], examples: Sequence[dspy.Example], task: Task) -> Offsets:
    """Return the offsets under which each label is answered as often as it is right; 0 without log-probabilities."""
    logprobs = logprobs_of(answers, task)
    if np.isnan(logprobs).all():
        return Offsets.none(task.labels)
    gold = np.array([task.labels.index(label) for label in task.golds(examples)])
    return Offsets(labels=tuple(task.labels), values=tuple(match_gold(logprobs, gold).tolist()))


def decision_of(evaluator: Evaluator) -> Decision | None:
    """Return the labelled decision of the evaluator's student; None where labels are read off free text."""
    decision = Decision.of(dict(evaluator.student.named_predictors())[evaluator.task.predictor].signature)
    return None if decision is None or decision.several else decision
