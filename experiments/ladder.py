"""Shorter rule sets: the score that the search expects on validation, and the student's score on test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dspy

from pld_dspy.rules import RuleSet

from .run_student import RunStudent, score_text

LADDER = (
    "| at most tokens | rules | tokens | expected on validation | test macro-F1 | test macro-F1, calibrated |\n"
    "|---|---|---|---|---|---|"
)


def ladder(run: Path, tokens: Sequence[int]) -> str:
    """Score the best rules that fit into each number of prompt tokens, and return a table.

    The rule sets come from the search's log. If answers have log-probabilities, offsets are fitted for each set on the
    validation examples alone.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        tokens: limits for the rendered rules, in tokens.
    """
    with RunStudent.of(run) as student:
        test = student.opened.examples(None)
        rows = [_rung(student, None, test)]
        rows += [_rung(student, budget, test) for budget in sorted(tokens)]
    note = f"{len(test)} test examples, offsets from {len(student.val)} validation examples."
    return "\n".join([LADDER, *rows, "", note])


def _rung(student: RunStudent, budget: int | None, test: Sequence[dspy.Example]) -> str:
    result = student.opened.result
    rules = RuleSet() if budget is None else result.at_budget(tokens=budget)
    rung = None if budget is None else result.rung(tokens=budget)
    asked = rules if len(rules) else None
    own = student.evaluate(asked, test)
    decided = student.with_offsets(own, test, student.evaluate(asked, student.val))
    calibrated = score_text(None if decided is None else decided.score)
    expected, size = ("", 0) if rung is None else (f"{rung.expected:.3f}", rung.tokens)
    name = "no rules" if budget is None else str(budget)
    return f"| {name} | {len(rules)} | {size} | {expected} | {score_text(own.score)} | {calibrated} |"
