"""Several students, each under the rules that were chosen for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dspy

from pld_dspy.errors import DataError
from pld_dspy.rules import RuleSet

from .run_student import RunStudent, on_same_test, score_text


def missing_calls(runs: Sequence[Path]) -> int:
    """Return how many calls :func:`students` would make; the rest is in the runs' ledgers."""
    rule_sets = _rule_sets(runs)
    return sum(_missing(run, rule_sets) for run in runs)


def students(runs: Sequence[Path]) -> str:
    """Score each run's student on test without rules and under the rules of each run, and return a table.

    The student of a calibrated run decides with offsets fitted on its validation answers under the same rules alone.
    Answers are kept in the run folders.

    Args:
        runs: two or more finished runs on the same data, such as a compile and its transfers.

    Raises:
        DataError: the runs are fewer, have no test split, or other labels or data.
    """
    rule_sets = _rule_sets(runs)
    names = ["no rules", *(f"rules of {run.name}" for run in runs)]
    lines = [
        f"| student | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
        *(_row(run, rule_sets) for run in runs),
    ]
    return "\n".join([*lines, "", "Test macro-F1 with 95% intervals, on the same examples for all."])


def _rule_sets(runs: Sequence[Path]) -> list[RuleSet | None]:
    if len(runs) < 2:
        raise DataError(f"The number of run folders is {len(runs)}. Give two or more, one per student.")
    return [None, *(one.result.rules or None for one in on_same_test(runs))]


@contextmanager
def _asking(run: Path) -> Iterator[tuple[RunStudent, list[dspy.Example], list[dspy.Example]]]:
    """Serve a run's student, and give the test examples, and the validation examples if they are asked too."""
    with RunStudent.of(run) as student:
        yield student, student.opened.examples(None), student.val if student.opened.calibrated else []


def _missing(run: Path, rule_sets: Sequence[RuleSet | None]) -> int:
    with _asking(run) as (student, test, val):
        return len(set().union(*(student.evaluator.unanswered(rules, [*test, *val]) for rules in rule_sets)))


def _row(run: Path, rule_sets: Sequence[RuleSet | None]) -> str:
    with _asking(run) as (student, test, val):
        cells = []
        for rules in rule_sets:
            found = student.evaluate(rules, test)
            if val:
                found = student.with_offsets(found, test, student.evaluate(rules, val)) or found
            cells.append(score_text(found.score))
        model = student.opened.folder.settings()["student"]["lm"]["model"]
    return f"| {model} ({run.name}) | {' | '.join(cells)} |"
