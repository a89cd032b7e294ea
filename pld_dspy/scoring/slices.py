"""Figures by slice: the same answers, scored apart for each value of a column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from .f1 import Cells, Record
from .interval import macro_f1_interval

LEAST = 10
"""Values with fewer examples are pooled."""
OTHER = "other"


class Slice(Record):
    """How a student did on the examples with one value of a column; all rates 0 to 1."""

    value: str  # "other" for the pooled ones
    pooled: tuple[str, ...] = ()  # the values with too few examples, where this is all of them
    n: int
    macro_f1: float | None  # over the labels of this slice; None where it has none
    interval: tuple[float, float] | None  # 95% bootstrap interval of macro_f1 over examples
    accuracy: float
    labels: dict[str, int]  # gold labels of this slice, and how many examples have each


def score_slices(
    values: Sequence[str], golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str], *, seed: int = 0
) -> list[Slice]:
    """Score n answers apart for each of the n ``values``, the largest slice first.

    Values with fewer than ten examples are pooled at the end. Macro-F1 is the mean over the gold labels of the slice:
    with the whole label set, a slice without one of the labels would seem worse than it is. ``seed`` is that of the
    bootstrap.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        rows[value].append(row)
    by_size = sorted(rows, key=lambda value: (-len(rows[value]), value))
    large = [value for value in by_size if len(rows[value]) >= LEAST]
    small = tuple(by_size[len(large) :])

    def scored(value: str, pooled: tuple[str, ...] = ()) -> Slice:
        part = [row for one in pooled or (value,) for row in rows[one]]
        cells = Cells.of(labels, [golds[row] for row in part], [answers[row] for row in part])
        return _slice(value, pooled, cells, labels, seed)

    return [*map(scored, large), *([scored(OTHER, small)] if small else [])]


def _slice(value: str, pooled: tuple[str, ...], cells: Cells, labels: Sequence[str], seed: int) -> Slice:
    counts = cells.counts @ cells.named[cells.texts[0]]
    counts[-1] = 1  # the column of missing answers stays
    own = replace(cells, named=cells.named[:, counts > 0])
    some = own.named.shape[1] > 1
    return Slice(
        value=value,
        pooled=pooled,
        n=int(cells.counts.sum()),
        macro_f1=float(own.f1().total(cells.counts).macro()) if some else None,
        interval=macro_f1_interval(own, seed=seed) if some else None,
        accuracy=float(cells.counts[cells.right()].sum() / cells.counts.sum()),
        labels={label: int(n) for label, n in zip(labels, counts, strict=False) if n},
    )
