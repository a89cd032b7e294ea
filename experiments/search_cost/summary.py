"""Summary of a benchmark: calls, and quality against the reference with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pld_dspy.scoring.f1 import Floats

from .benchmark import CellResult
from .methods import METHODS, REFERENCE

MARGIN = 0.005
"""A method is as good as the reference if it loses less macro-F1 than this."""
CONFIDENCE = 0.95
RESAMPLES = 10_000
LEAST_STUDENTS = 10
"""With fewer students than this, a bootstrap interval is too narrow."""
POOLED = "all families"

Problem = tuple[str, int, int, int]
Results = Mapping[str, Mapping[Problem, CellResult]]
"""Method -> problem -> result."""

HEADER = (
    "| method | n | calls | fewer | macro-F1 | difference [bound] | non-inferior | worst family | calls to parity |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one family, or on all of them, paired with the reference student by student.

    Attributes:
        family, method: of the cells in this row.
        problems: number of students.
        calls: student calls, mean.
        fewer: calls of the reference for each call of the method.
        macro_f1: on unseen examples, mean.
        difference: to the reference, mean.
        bound: one-sided 95% lower bound of the difference.
        parity: calls after which the mean choice is within the margin of the reference; None if it never is.
        worst: for all families, the one with the lowest difference, and that difference.
    """

    family: str
    method: str
    problems: int
    calls: float
    fewer: float
    macro_f1: float
    difference: float
    bound: float
    parity: float | None
    worst: tuple[str, float] | None = None

    @property
    def non_inferior(self) -> bool | None:
        """Whether the method loses less than the margin, with 95% confidence; None for too few students."""
        return self.bound > -MARGIN if self.problems >= LEAST_STUDENTS else None


def bounds(strata: Sequence[Floats], *, seed: int = 0) -> tuple[float, float]:
    """Return the one-sided 95% lower and upper bounds of a mean by percentile bootstrap.

    Args:
        strata: differences, student by student, of each family; students are drawn again within their family.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(stratum, size=(RESAMPLES, len(stratum))).sum(axis=1) for stratum in strata]
    low, high = np.quantile(np.sum(drawn, axis=0) / sum(map(len, strata)), [1 - CONFIDENCE, CONFIDENCE])
    return float(low), float(high)


def differences(cells: Sequence[CellResult], references: Sequence[CellResult]) -> list[Floats]:
    """Return macro-F1 less that of the reference, student by student, one array per family."""
    found: dict[str, list[float]] = {}
    for cell, reference in zip(cells, references, strict=True):
        found.setdefault(cell.cell.family, []).append(cell.macro_f1 - reference.macro_f1)
    return [np.array(values) for values in found.values()]


def by_method(finished: Sequence[CellResult]) -> Results:
    """Group cells by method and student; students without a cell of the reference are left out."""
    known = {one.cell.problem for one in finished if one.cell.method == REFERENCE}
    found: dict[str, dict[Problem, CellResult]] = {}
    for one in finished:
        if one.cell.problem in known:
            found.setdefault(one.cell.method, {})[one.cell.problem] = one
    return found


def compare(results: Results) -> list[Row]:
    """Return per method one row for all families together, then one per family."""
    families = sorted({problem[0] for problem in results.get(REFERENCE, {})})
    rows = []
    for method in results:
        each = [_row(results, method, family) for family in families]
        known = [row for row in each if row is not None]
        pooled = _row(results, method, POOLED, worst=min(known, key=lambda row: row.difference))
        rows += [pooled, *known] if pooled is not None else []
    return rows


def paired(results: Results, method: str, family: str) -> tuple[list[CellResult], list[CellResult]]:
    """Return a method's cells of a family, or of all, and those of the reference on the same students."""
    cells = [cell for problem, cell in results[method].items() if family in (POOLED, problem[0])]
    return cells, [results[REFERENCE][cell.cell.problem] for cell in cells]


def anytime(cells: Sequence[CellResult], references: Sequence[CellResult], shares: Floats) -> Floats:
    """Return the macro-F1 of each search's choice after some numbers of calls: cells x shares.

    Args:
        cells: searches of one method.
        references: the reference on the same students.
        shares: numbers of calls, as shares of those of the reference; ascending.
    """
    values = []
    for cell, reference in zip(cells, references, strict=True):
        calls, reached = np.array(cell.curve).T
        values.append(reached[np.searchsorted(calls, shares * reference.calls, side="right") - 1])
    return np.array(values)


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as tables, all families first."""
    parts = []
    for family in dict.fromkeys([POOLED, *(row.family for row in rows)]):
        lines = [_line(row) for row in rows if row.family == family]
        parts.append("\n".join([f"**{family}**", "", HEADER, *lines]))
    note = (
        f"macro-F1 is on unseen examples; differences are to {REFERENCE} ({METHODS[REFERENCE].description}), paired by "
        f"student; the bound is one-sided at {CONFIDENCE:.0%}; the margin of non-inferiority is {MARGIN}; parity is "
        "reached when the mean choice so far is within the margin."
    )
    return "\n\n".join([*parts, note])


def _row(results: Results, method: str, family: str, *, worst: Row | None = None) -> Row | None:
    cells, references = paired(results, method, family)
    if not cells:
        return None
    strata = differences(cells, references)
    calls, reference_calls = (float(np.mean([one.calls for one in group])) for group in (cells, references))
    return Row(
        family=family,
        method=method,
        problems=len(cells),
        calls=calls,
        fewer=reference_calls / calls,
        macro_f1=float(np.mean([one.macro_f1 for one in cells])),
        difference=float(np.concatenate(strata).mean()),
        bound=bounds(strata)[0],
        parity=_parity(cells, references),
        worst=None if worst is None else (worst.family, worst.difference),
    )


def _parity(cells: Sequence[CellResult], references: Sequence[CellResult]) -> float | None:
    """Return the fewest calls, mean over students, with which the mean choice is within the margin of the reference."""
    pairs = list(zip(cells, references, strict=True))
    shares = np.unique([calls / reference.calls for cell, reference in pairs for calls, _ in cell.curve])
    means = anytime(cells, references, shares).mean(axis=0)
    reached = np.flatnonzero(means >= np.mean([one.macro_f1 for one in references]) - MARGIN)
    if not len(reached):
        return None
    return float(np.mean([shares[reached[0]] * one.calls for one in references]))


def _line(row: Row) -> str:
    worst = "" if row.worst is None else f"{row.worst[0]} ({row.worst[1]:+.3f})"
    verdict = {True: "yes", False: "no", None: f"under {LEAST_STUDENTS} students"}[row.non_inferior]
    parity = "never" if row.parity is None else f"{row.parity:,.0f}"
    return (
        f"| {row.method} | {row.problems} | {row.calls:,.0f} | {row.fewer:.1f}x | {row.macro_f1:.3f} "
        f"| {row.difference:+.3f} [{row.bound:+.3f}] | {verdict} | {worst} | {parity} |"
    )
