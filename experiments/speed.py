"""Seconds per call: LabelAdapter against ChatAdapter, and the compiled student against the unchanged one."""

from __future__ import annotations

from pathlib import Path

import dspy

from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.scoring.difference import difference
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluation, Evaluator

from .run_student import change_text, drawn_examples, per_call, score_text

HEADER = (
    "| program | adapter | seconds per call (median) | ratio | macro-F1 [95% interval] | prompt tokens |\n"
    "|---|---|---|---|---|---|"
)


def speed(run: Path, n: int) -> str:
    """Run a finished run's programs on ``n`` of its test examples, and return a table.

    Where the run calibrates, its program is also asked as it answers by itself, without offsets and precedents.
    Each program answers all its examples in a row, as a service would. The median leaves out its first call, in which
    the server reads the prompt that all calls share. Nothing is cached, and calls are made one at a time.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        n: number of examples, stratified by label and drawn with the run's seed.
    """
    opened = FinishedRun.open(run)
    examples = drawn_examples(opened, n)
    student, label = opened.spec.source.student(), LabelAdapter()
    variants = [("unchanged", student, label)]
    if opened.calibrated:
        variants.append(("compiled, as it answers", opened.program(calibrated=False), label))
    variants += [("compiled", opened.program(), label), ("unchanged", student, dspy.ChatAdapter())]
    with dspy.context(lm=opened.spec.student.lm()):
        found = [
            Evaluator(student=program, task=opened.task, ledger=Ledger(), adapter=adapter).evaluate(
                None, examples, stage="test"
            )
            for _, program, adapter in variants
        ]
    rows = [
        _row(name, adapter, evaluation, found[0])
        for (name, _, adapter), evaluation in zip(variants, found, strict=True)
    ]
    golds, labels = opened.task.golds(examples), opened.task.labels
    gap = difference(golds, found[-1].labels, found[0].labels, labels)
    told = (
        f"LabelAdapter minus ChatAdapter, unchanged student: {change_text(gap.macro_f1, gap.interval)} macro-F1, "
        f"{gap.n} examples."
    )
    return "\n".join([HEADER, *rows, "", told])


def _row(name: str, adapter: dspy.Adapter, evaluation: Evaluation, first: Evaluation) -> str:
    tokens = per_call(evaluation)["prompt_tokens"]
    return (
        f"| {name} | {type(adapter).__name__} | {_seconds(evaluation):.3f} "
        f"| {_seconds(evaluation) / _seconds(first):.2f} | {score_text(evaluation.score)} | {tokens:.0f} |"
    )


def _seconds(evaluation: Evaluation) -> float:
    return per_call(evaluation)["seconds_per_call"]
