"""Golden examples: messages, and the answer that was scored, read from the answers that a run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dspy

from ...compile.context import CompileContext
from ...errors import DataError, RunError
from ...ledger.answer import Answer
from ...rules import RuleSet
from ...task.task import example_id
from .template import Golden, RequestRecorder, Template, value_texts


@dataclass(frozen=True)
class Kept:
    """A validation or test example, and the answer that the run keeps of it."""

    split: str
    name: str
    example: dspy.Example
    answer: Answer


def kept_answers(context: CompileContext, rules: RuleSet) -> list[Kept]:
    """Return the validation and test examples with an answer; no call is made.

    ``context`` is the run's own, opened. RunError where no answer was kept.
    """
    evaluator, found = context.evaluator, []
    for split, examples in (("validation", context.splits.val), ("test", context.splits.test)):
        rows = [(example_id(one, row), one) for row, one in enumerate(examples)]
        if evaluator.unanswered(rules or None, examples):
            rows = [row for row in rows if not evaluator.unanswered(rules or None, [row[1]])]
        answers = evaluator.answers(rules or None, [one for _, one in rows], stage="export")
        found += [Kept(split, *row, answer) for row, answer in zip(rows, answers, strict=True)]
    if not found:
        raise RunError(
            f"{context.folder.predictions} holds no answer of this program to the validation and test examples, so "
            "there is nothing to compare an export with. Compile again."
        )
    return found


def golden_examples(
    context: CompileContext, kept: Sequence[Kept], recorder: RequestRecorder, template: Template
) -> list[Golden]:
    """Return the examples that were answered by one call; DataError if the template gives other messages for one.

    An answer that took a correction is left out: one request has none.
    """
    task, golden = context.task, []
    for one in kept:
        if one.answer.calls != 1:
            continue
        values = value_texts(context.student, task, one.example)
        messages, _ = recorder.request(task.arguments(one.example))
        if values.keys() != template.markers.keys() or template.filled(values) != messages:
            raise DataError(
                f"The {one.split} example {one.name} is not sent as the template says (an input is empty, or the "
                "program changes it first), so the prompt is no template. Export it with --to dspy."
            )
        label = task.read(one.answer.outputs)
        golden.append(Golden(id=one.name, split=one.split, inputs=values, messages=messages, answer=label))
    return golden
