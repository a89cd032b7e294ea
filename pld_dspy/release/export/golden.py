"""Golden examples: messages, and the answer that was scored, read from the answers that a run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import dspy
from pydantic import BaseModel, ConfigDict

from ...errors import DataError, RunError
from ...ledger.answer import Answer
from ...ledger.budget import Budget
from ...ledger.ledger import Ledger
from ...scoring.offsets import Offsets
from ...student.adapter import asking_for_logprobs
from ...student.evaluator import Evaluator
from ...student.redecide import redecide
from ...task.task import Task, example_id
from .template import Recorder, Template, value_texts


class Golden(BaseModel):
    """One example, what the model is sent for it, and what it answered."""

    model_config = ConfigDict(frozen=True)

    id: str
    split: str
    inputs: dict[str, str]
    messages: list[dict[str, str]]
    answer: str | None  # a label, or labels joined in one text; None where it was none


def kept_answers(
    path: Path,
    program: dspy.Module,
    task: Task,
    examples: Sequence[dspy.Example],
    *,
    lm: dspy.BaseLM,
    adapter: dspy.Adapter,
    offsets: Offsets | None,
) -> list[Answer]:
    """Return the answers to ``examples`` in a ledger's file, redecided by ``offsets``; no call is made.

    RunError where there is none: the program, its model or its adapter is another one than was scored.
    """
    found: list[Answer] = []
    with dspy.context(lm=lm, adapter=adapter):
        for asked in (adapter, asking_for_logprobs(adapter)):
            ledger = Ledger(path, budget=Budget(student_calls=0))  # so that what is missing is not asked
            evaluator = Evaluator(student=program, task=task, ledger=ledger, adapter=asked)
            rows = [task.arguments(example) for example in examples]
            answers = ledger.ask(program, rows, role="student", stage="export", adapter=asked, allow_partial=True)
            if sum(map(_is_known, answers)) > sum(map(_is_known, found)):
                found = redecide(answers, offsets, evaluator) if offsets else answers
    if not found:
        raise RunError(
            f"{path} holds no answer of this program to the validation and test examples, so there is nothing to "
            "compare an export with. Compile again."
        )
    return found


def golden_examples(
    splits: Mapping[str, Sequence[dspy.Example]],
    answers: Sequence[Answer],
    program: dspy.Module,
    task: Task,
    *,
    recorder: Recorder,
    template: Template | None,
) -> list[Golden]:
    """Return the examples with an answer that took one call; DataError if the template gives other messages.

    ``answers`` are those of all splits, in turn. An answer that took a correction is left out: one request has none.
    """
    rows = [(split, example_id(one, row), one) for split, examples in splits.items() for row, one in enumerate(examples)]
    golden = []
    for (split, name, example), answer in zip(rows, answers, strict=True):
        if not _is_known(answer) or answer.calls != 1:
            continue
        messages, _ = recorder.request(task.arguments(example))
        values = value_texts(program, task, example)
        if template is not None and (values.keys() != template.markers.keys() or template.filled(values) != messages):
            raise DataError(
                f"The {split} example {name} is not sent as the template says (an input is empty, or the program "
                "changes it first), so the prompt is no template. Export it with --to dspy."
            )
        label = task.read(answer.outputs)
        golden.append(Golden(id=name, split=split, inputs=values, messages=messages, answer=label))
    return golden


def _is_known(answer: Answer) -> bool:
    return answer.is_kept and not (answer.error or "").startswith("not asked")
