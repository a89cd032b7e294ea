"""Paired differences: two students, or two sets of rules, on the same examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from .f1 import LEVELS, RESAMPLES, Cells, Record

ONE_ERROR = 0.3173
"""Two-sided p-value of a difference of one standard error."""


class AccuracyDifference(Record):
    """A paired difference of accuracy on the same examples."""

    value: float
    interval: tuple[float, float]  # 95% percentile bootstrap over examples
    p_value: float  # exact two-sided McNemar test: a sign test on examples that exactly one of the two gets right

    def __str__(self) -> str:
        """Return the difference with its interval and p-value."""
        return f"{signed_text(self.value, self.interval)}, {p_text(self.p_value)}"


class Difference(Record):
    """A paired difference of macro-F1, and of accuracy, on the same n examples.

    The p-value is that of a two-sided approximate randomization test, which swaps the two answers of an example at
    random (Yeh 2000, "More accurate tests for the statistical significance of result differences").
    """

    macro_f1: float
    interval: tuple[float, float]  # 95% percentile bootstrap over examples, both answers of an example drawn together
    p_value: float
    n: int
    accuracy: AccuracyDifference

    def __str__(self) -> str:
        """Return macro-F1's difference with its interval and p-value."""
        return f"{self.short}, {p_text(self.p_value)}"

    @property
    def short(self) -> str:
        """Macro-F1's difference with its interval alone."""
        return signed_text(self.macro_f1, self.interval)

    @property
    def standard_error(self) -> float:
        """The standard error of macro-F1's difference, as wide as the interval says."""
        return (self.interval[1] - self.interval[0]) / (2 * 1.96)

    @property
    def rests_on_few(self) -> bool:
        """Whether so few answers differ that the interval leaves out 0 while the test finds no more than chance.

        Of a handful of differing answers the bootstrap draws too little variety: go by the p-value then.
        """
        return self.p_value >= 0.05 and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def pays(self) -> bool:
        """Whether the difference is over its standard error, about a fourth of the interval.

        Without this margin, a change would be kept half the time when nothing is to be won. A whole interval would ask
        for more than 100 or 200 examples can show. Source: Breiman et al. 1984, "Classification and regression trees".
        """
        return self.macro_f1 > self.standard_error

    @property
    def pays_twice(self) -> bool:
        """Whether it pays by the randomization test too: a single answer can exceed the bootstrap's standard error."""
        return self.pays and self.p_value < ONE_ERROR


def signed_text(value: float, interval: tuple[float, float]) -> str:
    """Return a difference with its interval, such as "+0.042 [+0.01, +0.08]"."""
    return f"{value:+.3f} [{interval[0]:+.2f}, {interval[1]:+.2f}]"


def p_text(p: float) -> str:
    """Return a p-value in words; no p-value is 0."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def difference(
    golds: Sequence[str],
    before: Sequence[str | None],
    after: Sequence[str | None],
    labels: Sequence[str],
    *,
    seed: int = 0,
) -> Difference:
    """Return macro-F1 and accuracy of ``after`` minus those of ``before`` on the same n examples.

    The interval of macro-F1 is of plain percentiles, since the biases of the two students nearly cancel. In simulations
    with 2 to 77 labels it held the true difference 0.90 to 0.97 of the time. Where hardly any answers differ it is too
    narrow (0.86 where 4% of 84 answers did, 0.3 to 0.4 where 1% did), and where none differ it has no width.
    """
    rng = np.random.default_rng(seed)
    cells = Cells.of(labels, golds, before, after)
    counts, old, new = cells.counts, cells.f1(1), cells.f1(2)
    observed = float(new.total(counts).macro() - old.total(counts).macro())

    draws = rng.multinomial(len(golds), counts / len(golds), size=RESAMPLES)
    low, high = np.quantile(new.total(draws).macro() - old.total(draws).macro(), LEVELS)

    swapped = rng.binomial(counts, 0.5, size=(RESAMPLES, len(counts)))
    kept = counts - swapped
    null = (new.total(kept) + old.total(swapped)).macro() - (old.total(kept) + new.total(swapped)).macro()
    extreme = int((np.abs(null) >= abs(observed) - 1e-12).sum())

    change = cells.right(2).astype(int) - cells.right(1).astype(int)
    wins, losses = int(counts[change > 0].sum()), int(counts[change < 0].sum())
    least, most = np.quantile(draws @ change / len(golds), LEVELS)
    return Difference(
        macro_f1=observed,
        interval=(float(low), float(high)),
        p_value=(extreme + 1) / (RESAMPLES + 1),
        n=len(golds),
        accuracy=AccuracyDifference(
            value=(wins - losses) / len(golds),
            interval=(float(least), float(most)),
            p_value=float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
        ),
    )
