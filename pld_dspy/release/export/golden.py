"""Golden examples: messages, and the answer that was scored, read from the answers that a run keeps."""

from __future__ import annotations

from ...compile.context import CompileContext
from ...errors import DataError, RunError
from ...rules import RuleSet
from ...task.task import example_id
from .template import Golden, RequestRecorder, Template, value_texts


def golden_examples(
    context: CompileContext, rules: RuleSet, recorder: RequestRecorder, template: Template
) -> list[Golden]:
    """Return the validation and test examples that were answered by one call, with the kept answers; no call is made.

    An answer that took a correction is left out: one request has none. ``context`` is the run's own, opened.

    Raises:
        RunError: no answer was kept.
        DataError: the template gives other messages for an example than were sent.
    """
    evaluator, task, kept, golden = context.evaluator, context.task, 0, []
    for split, examples in (("validation", context.splits.val), ("test", context.splits.test)):
        rows = [(example_id(one, row), one) for row, one in enumerate(examples)]
        if evaluator.unanswered(rules or None, examples):
            rows = [row for row in rows if not evaluator.unanswered(rules or None, [row[1]])]
        answers = evaluator.answers(rules or None, [one for _, one in rows], stage="export")
        kept += len(answers)
        for (name, example), answer in zip(rows, answers, strict=True):
            if answer.calls != 1:
                continue
            values = value_texts(context.student, task, example)
            messages, _ = recorder.request(task.arguments(example))
            if values.keys() != template.markers.keys() or template.filled(values) != messages:
                raise DataError(
                    f"The {split} example {name} is not sent as the template says (an input is empty, or the program "
                    "changes it first), so the prompt is no template. Export it with --to dspy."
                )
            label = task.read(answer.outputs)
            golden.append(Golden(id=name, split=split, inputs=values, messages=messages, answer=label))
    if not kept:
        raise RunError(
            f"{context.folder.predictions} holds no answer of this program to the validation and test examples, so "
            "there is nothing to compare an export with. Compile again."
        )
    return golden
