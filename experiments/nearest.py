"""The nearest labelled examples below the rules, as demonstrations: what they add on test, and what a call costs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

from pld_dspy.calibrate.precedents import Precedents
from pld_dspy.calibrate.students import fit_students, weigh
from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.compile.context import CompileContext
from pld_dspy.errors import DataError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.rules import Demonstration, RuleSet
from pld_dspy.scoring.difference import difference
from pld_dspy.student.evaluator import Evaluation, Evaluator
from pld_dspy.student.redecide import redecide
from pld_dspy.task.splits import near_identity

from .run_student import STAGE, change_text, drawn_examples, per_call, score_text

logger = logging.getLogger(__name__)

HEADER = (
    "| nearest shown | rules | as it answers [95%] | calibrated | with precedents | less none shown | seconds per call "
    "| prompt tokens |\n|---|---|---|---|---|---|---|---|"
)
Nearest = Callable[[dspy.Example], tuple[Demonstration, ...]]


@dataclass(frozen=True, kw_only=True)
class Shown(Evaluator):
    """A student that sees labelled examples of its own before each example."""

    nearest: Nearest

    def answers(self, rules: RuleSet | None, examples: Sequence[dspy.Example], **how: Any) -> list[Answer]:
        """Return the student's answers to ``examples`` under ``rules``, each with its nearest examples."""
        found = []
        for example in examples:
            shown = RuleSet(rules=rules.rules if rules else (), demos=self.nearest(example))
            found += super().answers(shown, [example], **how)
        return found


def nearest(run: Path, counts: Sequence[int], n: int) -> str:
    """Show a finished run's student the nearest labelled examples, with and without its rules, and return a table.

    They are training and validation examples, in the order of their nearness, the nearest last; none is a copy of the
    text that is decided. Offsets and the weights of precedents are fitted on the validation examples alone, in every
    row, so that few calls are made. Answers are kept in the run folder. Seconds and tokens are medians over other
    calls, of which none is cached: a student's calls come in a row, one at a time, and the first is left out.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo`` with precedents.
        counts: numbers of examples to show; none is always the first row.
        n: number of test examples to time, drawn as for ``speed``.

    Raises:
        DataError: the run weighs no precedents.
    """
    opened = FinishedRun.open(run)
    if (precedents := opened.precedents) is None:
        raise DataError(f"{run} weighs no precedents. Compile it with --calibrate --precedents 10.")
    rows, first = [HEADER], dict[str, Evaluation]()
    with opened.opened(opened.spec.student.lm()) as context:
        timed = drawn_examples(opened, n)
        for count in (0, *counts):
            student = _student(context, precedents, count)
            # Timed first: a server may keep what it has read of a prompt, and these prompts have little in common.
            speed = {"no": _speed(student, None, timed), "yes": _speed(student, opened.result.rules, timed)}
            for name, decided in _decided(context, student, precedents, opened.result.rules):
                rows.append(_row(count, name, decided, first.setdefault(name, decided[-1]), context, speed[name]))
                logger.info("%s", rows[-1])
    return "\n".join(rows)


def _student(context: CompileContext, precedents: Precedents, count: int) -> Evaluator:
    """Return the run's student, which is shown so many examples."""
    plain = context.evaluator
    return Shown(**vars(plain), nearest=_nearest(context, precedents, count)) if count else plain


def _nearest(context: CompileContext, precedents: Precedents, count: int) -> Nearest:
    examples = [*context.splits.val, *context.splits.train]  # in the order of the precedents
    groups, known = [near_identity(text) for text in precedents.texts], precedents.classifier

    def found(example: dspy.Example) -> tuple[Demonstration, ...]:
        text = context.reader.text(example)
        ranked = known.nearest(known.embed([text]), len(groups))[0].tolist()
        rows = [row for row in ranked if groups[row] != near_identity(text)][:count]
        return tuple(
            Demonstration(
                example_id=precedents.ids[row],
                inputs=dict(context.reader.inputs(examples[row])),
                label=precedents.golds[row],
            )
            for row in reversed(rows)
        )

    return found


def _decided(
    context: CompileContext, student: Evaluator, precedents: Precedents, rules: RuleSet
) -> Iterator[tuple[str, list[Evaluation]]]:
    """Yield, without rules and with them, what the student says of the test set: by itself and as it is decided."""
    val, test = context.splits.val, context.splits.test
    found = fit_students(rules, [], val, student, precedents=precedents)
    if found is None or found.baseline_weighed is None or found.compiled_weighed is None:
        raise DataError("The student's answers carry no log-probabilities.")
    evidence = precedents.evidence(context.texts(test))
    sides = (
        ("no", None, found.baseline, found.baseline_weighed),
        ("yes", rules, found.compiled, found.compiled_weighed),
    )
    for name, own, alone, weighed in sides:
        plain = student.evaluate(own, test, stage=STAGE)
        both = weigh(precedents.with_weights(weighed.weights), plain.answers, evidence, student)
        calibrated, ruled = (
            student.scored(test, redecide(answers, side.offsets, student))
            for answers, side in ((plain.answers, alone), (both, weighed.student))
        )
        yield name, [plain, calibrated, ruled]


def _speed(student: Evaluator, rules: RuleSet | None, examples: Sequence[dspy.Example]) -> dict[str, float]:
    """Return medians of a call; every call is made anew."""
    return per_call(replace(student, ledger=Ledger()).evaluate(rules, examples, stage=STAGE))


def _row(
    count: int,
    name: str,
    decided: Sequence[Evaluation],
    first: Evaluation,
    context: CompileContext,
    speed: dict[str, float],
) -> str:
    golds, labels = context.task.golds(context.splits.test), context.task.labels
    gain = difference(golds, first.labels, decided[-1].labels, labels, seed=context.seed)
    scores = " | ".join(score_text(one.score) for one in decided)
    return (
        f"| {count} | {name} | {scores} | {change_text(gain.macro_f1, gain.interval) if count else ''} "
        f"| {speed['seconds_per_call']:.2f} | {speed['prompt_tokens']:.0f} |"
    )
