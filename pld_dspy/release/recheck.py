"""What edits of the rules do to the answers: the student asked under both lists, and every answer that changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dspy

from ..calibrate.precedents import Precedents
from ..calibrate.students import weigh
from ..compile.context import CompileContext
from ..errors import ModelError
from ..ledger.answer import REFUSED
from ..rules import RuleSet
from ..scoring.difference import Difference, difference
from ..scoring.offsets import Offsets
from ..student.compose import with_rules
from ..student.evaluator import Evaluation
from ..student.redecide import redecide
from ..task.task import example_id
from .edits import Change

STAGE = "recheck"
LARGE = 0.05
"""A change of a label's F1 from which on it is worth a line."""


@dataclass(frozen=True)
class Flip:
    """An example that two students answer differently; a failed call has no answer (None)."""

    example: str  # its id or its text
    gold: str
    before: str | None
    after: str | None
    rules: tuple[str, ...] = ()  # in a recheck, the edited rules about either answer, or about any
    text: str = ""  # where ``example`` is its id

    @property
    def verdict(self) -> str:
        """What became of the answer; empty where it was wrong and still is."""
        return "now right" if self.after == self.gold else "now wrong" if self.before == self.gold else ""


@dataclass(frozen=True)
class SplitRecheck:
    """One split, asked under both lists.

    ``unchanged`` and ``edited`` are the unchanged student and the one under the edited rules, without calibration;
    ``before`` and ``after`` are the program of either list, with the run's calibration where there is one.
    """

    unchanged: Evaluation
    edited: Evaluation
    before: Evaluation
    after: Evaluation
    difference: Difference  # after minus before
    flips: list[Flip]

    @property
    def large(self) -> dict[str, tuple[float, float]]:
        """Label -> F1 before and after, where it changed by ``LARGE`` or more."""
        rows = self.before.score.per_label, self.after.score.per_label
        pairs = {label: (rows[0][label].f1, rows[1][label].f1) for label in rows[0]}
        return {label: pair for label, pair in pairs.items() if abs(pair[1] - pair[0]) >= LARGE}


@dataclass(frozen=True, kw_only=True)
class Recheck:
    """A run's student under the rules as they were and as people edited them.

    ``context`` is the run's own, opened; ``offsets`` and ``precedents`` are those that the run fitted, if any.
    """

    context: CompileContext
    before: RuleSet
    after: RuleSet
    changes: Sequence[Change]
    offsets: Offsets | None = None
    precedents: Precedents | None = None

    @property
    def program(self) -> dspy.Module:
        """The student under the edited rules, without calibration."""
        return with_rules(self.context.student, self.context.task, self.after or None)

    def examples(self, split: str) -> list[dspy.Example]:
        """Return the examples of "validation" or "test"."""
        return dict(self.context.splits.non_empty()).get(split, [])

    def unanswered(self, splits: Sequence[str]) -> int:
        """Return how many calls :meth:`ask` will make for ``splits``; none is made here."""
        students, evaluator = (None, self.before or None, self.after or None), self.context.evaluator
        missing = (evaluator.unanswered(rules, self.examples(split)) for split in splits for rules in students)
        return len(set().union(*missing))

    def ask(self, split: str, on_answer: Callable[[], object] | None = None) -> SplitRecheck:
        """Ask the student about a split under both lists and without rules; only what has no answer yet is asked.

        ModelError if calls are lost; what a model refuses for good is a wrong answer, as in a compile.
        """
        examples, task = self.examples(split), self.context.task
        unchanged, old, edited = (
            self.context.evaluator.evaluate(rules, examples, stage=STAGE, on_answer=on_answer)
            for rules in (None, self.before or None, self.after or None)
        )
        failed = self.context.ledger.failed("student", [task.arguments(example) for example in examples])
        if lost := [error for error in failed.values() if not error.startswith(REFUSED)]:
            raise ModelError(
                f"{len(lost)} of the {split} examples got no answer: {lost[0]}. The run is as it was. Recheck again: "
                "only these are asked."
            )
        before, after = (self.as_delivered(split, examples, own) for own in (old, edited))
        golds = task.golds(examples)
        rows = zip(examples, golds, before.labels, after.labels, self.context.texts(examples), strict=True)
        flips = [
            Flip(example_id(example, row), gold, was, now, self._rules_about(was, now), text)
            for row, (example, gold, was, now, text) in enumerate(rows)
            if was != now
        ]
        found = difference(golds, before.labels, after.labels, task.labels, seed=self.context.seed)
        order = {"now wrong": 0, "": 1, "now right": 2}
        flips.sort(key=lambda flip: order[flip.verdict])
        return SplitRecheck(unchanged, edited, before, after, found, flips)

    def as_delivered(self, split: str, examples: Sequence[dspy.Example], own: Evaluation) -> Evaluation:
        """Return answers as the program decides them; a validation example is weighed against the other examples."""
        answers, evaluator = own.answers, self.context.evaluator
        if self.offsets is None:
            return own
        if self.precedents is not None:
            if split == "validation":  # they begin with the validation examples
                evidence = self.precedents.evidence_out_of_fold(seed=self.context.seed)[: len(examples)]
            else:
                evidence = self.precedents.evidence(self.context.texts(examples))
            answers = weigh(self.precedents, answers, evidence, evaluator)
        return evaluator.scored(examples, redecide(answers, self.offsets, evaluator))

    def _rules_about(self, *answers: str | None) -> tuple[str, ...]:
        labels = {label for answer in answers if answer is not None for label in self.context.task.labels_of(answer)}
        return tuple(
            change.rule_id
            for change in self.changes
            if change.reads and (not change.labels or labels & {*change.labels})
        )
