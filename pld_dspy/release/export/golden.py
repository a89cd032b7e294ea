"""Golden examples: messages, and the answer that was scored, read from the answers that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from pydantic import BaseModel, ConfigDict

from ...compile.context import CompileContext
from ...errors import DataError, RunError
from ...ledger.answer import NOT_ASKED, Answer
from ...ledger.budget import Budget
from ...ledger.ledger import Ledger
from ...rules import RuleSet
from ...scoring.offsets import Offsets
from ...student.compose import with_rules
from ...student.redecide import redecide
from ...task.task import example_id
from .template import Recorder, Template, value_texts


class Golden(BaseModel):
    """One example, what the model is sent for it, and what it answered."""

    model_config = ConfigDict(frozen=True)

    id: str
    split: str
    inputs: dict[str, str]
    messages: list[dict[str, str]]
    answer: str | None  # a label, or labels joined in one text; None where it was none


def kept_answers(context: CompileContext, rules: RuleSet, offsets: Offsets | None) -> dict[str, list[Answer]]:
    """Return split -> the kept answers of a finished run's student, redecided by ``offsets``; no call is made.

    ``context`` is the run's own, opened. RunError where no answer was kept.
    """
    evaluator = replace(context.evaluator, ledger=Ledger(context.folder.predictions, budget=Budget(student_calls=0)))
    found = {}
    for split, examples in context.splits.non_empty():
        if split != "train" and examples:
            answers = evaluator.ledger.ask(
                with_rules(context.student, context.task, rules or None),
                [context.task.arguments(example) for example in examples],
                role="student",
                stage="export",
                adapter=evaluator.adapter,
                allow_partial=True,
            )
            found[split] = redecide(answers, offsets, evaluator) if offsets else answers
    if not any(map(_is_known, chain(*found.values()))):
        raise RunError(
            f"{context.folder.predictions} holds no answer of this program to the validation and test examples, so "
            "there is nothing to compare an export with. Compile again."
        )
    return found


def golden_examples(
    context: CompileContext, answers: Mapping[str, Sequence[Answer]], recorder: Recorder, template: Template
) -> list[Golden]:
    """Return the examples that were answered by one call; DataError if the template gives other messages for one.

    ``answers`` are those of :func:`kept_answers`. An answer that took a correction is left out: one request has none.
    """
    task, golden = context.task, []
    for split, given in answers.items():
        for row, (example, answer) in enumerate(zip(dict(context.splits.non_empty())[split], given, strict=True)):
            if not _is_known(answer) or answer.calls != 1:
                continue
            name, values = example_id(example, row), value_texts(context.student, task, example)
            messages, _ = recorder.request(task.arguments(example))
            if values.keys() != template.markers.keys() or template.filled(values) != messages:
                raise DataError(
                    f"The {split} example {name} is not sent as the template says (an input is empty, or the program "
                    "changes it first), so the prompt is no template. Export it with --to dspy."
                )
            label = task.read(answer.outputs)
            golden.append(Golden(id=name, split=split, inputs=values, messages=messages, answer=label))
    return golden


def _is_known(answer: Answer) -> bool:
    return answer.is_kept and answer is not NOT_ASKED
