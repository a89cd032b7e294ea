"""Replays: best-arm methods choose among a table's candidates by validation calls; test answers score the choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pld_dspy.errors import DataError

from .arms import Arms, macro_f1
from .best_arm import METHODS, random_search
from .summary import bounds
from .table import Table

BUDGETS = (0.05, 0.1, 0.2, 0.25, 0.5)
"""Shares of the calls for all candidates on all examples: with 60 candidates, 3 to 30 evaluations."""

HEADER = (
    "| method | budget | validation calls | fewer | test macro-F1 | difference to all answers [bound] |\n"
    "|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class ReplayRow:
    """One method under one budget, over the seeds.

    Attributes:
        method, budget: of these replays.
        calls: validation calls per seed.
        macro_f1: of the choice on test, per seed.
    """

    method: str
    budget: int
    calls: list[int]
    macro_f1: list[float]


@dataclass(frozen=True, kw_only=True)
class Replays:
    """All replays on a table; the reference is all candidates on all examples.

    Attributes:
        candidates, n: size of the table.
        calls, macro_f1: of the reference.
        best: test macro-F1 of the candidate that is best on test, which no method can know.
        rows: one per method and budget.
    """

    candidates: int
    n: int
    calls: int
    macro_f1: float
    best: float
    rows: list[ReplayRow]


def replay(
    table: Table, *, seeds: int = 20, budgets: Sequence[float] | None = None, methods: Sequence[str] = tuple(METHODS)
) -> Replays:
    """Let each method choose under each budget, once per seed.

    Args:
        table: the candidates and their answers.
        seeds: replays of each method and budget; a seed decides the order of arms and examples.
        budgets: shares of the calls for everything; None for those of ``BUDGETS`` that are at least one evaluation.
        methods: names in ``METHODS``.

    Raises:
        DataError: a budget is less than one evaluation, or the table has one candidate.
    """
    scores = on_test(table)
    all_calls = len(table.candidates) * len(table.header.validation)
    make = _maker(table)
    reference = random_search(make(all_calls), np.random.default_rng(0))
    rows = []
    for share in _affordable(len(table.candidates)) if budgets is None else budgets:
        for method in methods:
            calls, reached = [], []
            for seed in range(seeds):
                arms = make(round(share * all_calls))
                reached.append(scores[METHODS[method](arms, np.random.default_rng(seed))])
                calls.append(arms.calls)
            rows.append(ReplayRow(method=method, budget=round(share * all_calls), calls=calls, macro_f1=reached))
    return Replays(
        candidates=len(table.candidates),
        n=len(table.header.validation),
        calls=all_calls,
        macro_f1=scores[reference],
        best=max(scores),
        rows=rows,
    )


def markdown(replays: Replays) -> str:
    """Return the replays as a table."""
    lines = [_line(row, replays) for row in replays.rows]
    note = (
        f"{replays.candidates} candidates, {replays.n} validation examples; all answers take {replays.calls:,} "
        f"calls and choose a candidate with test macro-F1 {replays.macro_f1:.3f}; the best on test has "
        f"{replays.best:.3f}. {len(replays.rows[0].calls)} seeds, which differ in the order of arms and examples: the "
        "bounds (one-sided, 95%) say nothing of other tables or other test examples."
    )
    return "\n".join([HEADER, *lines, "", note])


def _affordable(candidates: int) -> list[float]:
    if candidates < 2:
        raise DataError("The table has one candidate, so there is nothing to choose from. Continue its collection.")
    return [share for share in BUDGETS if share * candidates >= 1]


def _maker(table: Table) -> Callable[[int], Arms]:
    """Return a function that makes fresh arms with a budget; they have no test answers."""
    answers = np.array([table.codes(one.validation) for one in table.candidates])
    golds = table.codes(table.header.validation)
    return partial(Arms, answers, golds, len(table.header.labels), table.use(), table.rule_labels())


def on_test(table: Table) -> list[float]:
    """Return the test macro-F1 of each candidate; hidden from the methods."""
    golds = table.codes(table.header.test)
    return [macro_f1(golds, table.codes(one.test), len(table.header.labels)) for one in table.candidates]


def _line(row: ReplayRow, replays: Replays) -> str:
    differences = np.array(row.macro_f1) - replays.macro_f1
    calls = float(np.mean(row.calls))
    return (
        f"| {row.method} | {row.budget:,} | {calls:,.0f} | {replays.calls / calls:.1f}x "
        f"| {np.mean(row.macro_f1):.3f} | {differences.mean():+.3f} [{bounds([differences])[0]:+.3f}] |"
    )
