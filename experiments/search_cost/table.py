"""A recorded table: one real student's answers to fixed examples under each of several rule sets.

The first line of JSON describes student, rules and examples; each later line holds one candidate: its rules in order,
each with the number of its wording, and the student's labels. Any search among these candidates can be replayed
without a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy
import numpy as np
from pydantic import BaseModel, ConfigDict

from pld_dspy.errors import DataError, RunError
from pld_dspy.ledger.jsonl import parse_lines
from pld_dspy.ledger.keys import digest
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.scoring.f1 import Floats, Ints
from pld_dspy.task.task import Task

from .json_lines import append_line, whole_lines

logger = logging.getLogger(__name__)

Labels = tuple[str | None, ...]


class Header(BaseModel):
    """Student, rules and examples of a table.

    Attributes:
        student: the model's name.
        labels: the label set.
        rules: candidates are sets of these.
        examples: digest of the inputs of all examples.
        validation, test: gold labels of the examples that each candidate answered.
    """

    model_config = ConfigDict(frozen=True)

    student: str
    labels: tuple[str, ...]
    rules: tuple[Rule, ...]
    examples: str
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @classmethod
    def of(
        cls,
        student: str,
        task: Task,
        rules: Sequence[Rule],
        validation: Sequence[dspy.Example],
        test: Sequence[dspy.Example],
    ) -> Header:
        """Return the first line of a table of these rules and examples."""
        return cls(
            student=student,
            labels=task.labels,
            rules=tuple(rules),
            examples=digest([task.text(one) for one in (*validation, *test)]),
            validation=tuple(task.golds(validation)),
            test=tuple(task.golds(test)),
        )


class Candidate(BaseModel):
    """One candidate, and the student's answers under it.

    Attributes:
        digest: of the rendered rules; no two candidates of a table have the same.
        kind: "guard" or "searched".
        rules: (rule id, wording number), in order.
        validation, test: the student's labels; None for a failed or unknown answer.
    """

    model_config = ConfigDict(frozen=True)

    digest: str
    kind: str
    rules: tuple[tuple[str, int], ...]
    validation: Labels
    test: Labels

    @classmethod
    def of(cls, rules: RuleSet, kind: str, validation: Labels, test: Labels) -> Candidate:
        """Return the line of a rule set."""
        parts = tuple((rule.id, rule.chosen) for rule in rules.rules)
        return cls(digest=rules.digest, kind=kind, rules=parts, validation=validation, test=test)


@dataclass(frozen=True)
class Table:
    """A header and its candidates."""

    header: Header
    candidates: list[Candidate]

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read a table.

        Raises:
            DataError: there is none, a line is damaged, or a candidate has too few or too many answers.
        """
        lines = whole_lines(path)
        if len(lines) < 2:
            raise DataError(f"{path} has no candidate. Make a table with collect-run first.")
        header = parse_lines(path, lines[:1], Header)[0]
        candidates = parse_lines(path, lines[1:], Candidate, first=2)
        seen: set[str] = set()
        for number, candidate in enumerate(candidates, start=2):
            sizes = (len(candidate.validation), len(candidate.test))
            if sizes != (len(header.validation), len(header.test)) or candidate.digest in seen:
                what = "occurs twice" if candidate.digest in seen else f"has {sizes[0]} and {sizes[1]} answers"
                raise DataError(f"{path} line {number}: the candidate {what}. Remove the line.")
            seen.add(candidate.digest)
        return cls(header, candidates)

    def codes(self, column: Labels) -> Ints:
        """Return labels as numbers; a missing or unknown label becomes the number of labels."""
        numbers: dict[str | None, int] = {label: number for number, label in enumerate(self.header.labels)}
        return np.array([numbers.get(label, len(numbers)) for label in column], dtype=np.int64)

    def use(self) -> Floats:
        """Return candidates x rules: 1 if the candidate has the rule."""
        ids = [rule.id for rule in self.header.rules]
        return np.array([[rule_id in dict(one.rules) for rule_id in ids] for one in self.candidates], dtype=float)

    def rule_labels(self) -> Ints:
        """Return the label number of each rule; -1 if it has no label."""
        numbers = {label: number for number, label in enumerate(self.header.labels)}
        return np.array([numbers.get(rule.labels[0], -1) if rule.labels else -1 for rule in self.header.rules])


def begin(path: Path, header: Header) -> set[str]:
    """Begin a table, or open an existing one; return the digests of its candidates.

    Raises:
        RunError: the file is a table of another student, other rules or other examples.
    """
    lines = whole_lines(path)
    if not lines:
        append_line(path, header)
        return set()
    if parse_lines(path, lines[:1], Header)[0] != header:
        raise RunError(f"{path} is a table of another student, other rules or other examples. Give another file.")
    return {candidate.digest for candidate in parse_lines(path, lines[1:], Candidate, first=2)}


def extend(
    path: Path,
    header: Header,
    candidates: Iterable[tuple[str, RuleSet]],
    ask: Callable[[RuleSet], tuple[Sequence[str | None], Sequence[str | None]]],
) -> None:
    """Write a table candidate by candidate; candidates that it already has are not asked about again.

    Args:
        path: the table; its folder is made if missing.
        header: student, rules and examples.
        candidates: (kind, rules), as of :class:`Candidate`; repeated ones are skipped.
        ask: rules -> the student's labels for the validation and for the test examples.

    Raises:
        RunError: the file is a table of another student, other rules or other examples.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    known = begin(path, header)
    for kind, rules in candidates:
        if rules.digest in known:
            continue
        known.add(rules.digest)
        validation, test = ask(rules)
        append_line(path, Candidate.of(rules, kind, tuple(validation), tuple(test)))
        logger.info("candidate %d, %s, %d rules", len(known), kind, len(rules))
