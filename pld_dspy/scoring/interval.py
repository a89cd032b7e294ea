"""The 95% interval of macro-F1, by a bootstrap over examples."""

from __future__ import annotations

import numpy as np

from .f1 import F1, LEVELS, RESAMPLES, Cells

PSEUDO_EXAMPLES = 2.0
"""Right and, as many again, missing answers that are added before resampling."""


def macro_f1_interval(cells: Cells, *, seed: int) -> tuple[float, float]:
    """Return the 95% interval of macro-F1: a bootstrap over examples, with two departures from plain percentiles.

    1. It lies around macro-F1 less its bias, not around the mean of the resamples. F1 of few examples is too low on
       average, and lower again in a resample (Efron and Tibshirani 1993, "An introduction to the bootstrap", ch. 10). A
       label that a resample misses keeps its own F1 in the estimate of the bias, but has 0 in the spread of the
       resamples: otherwise a rare label that is always answered right would seem certain.
    2. Two right and two missing answers are added before resampling, spread evenly over the gold labels: the
       pseudo-examples of Agresti and Coull 1998, "Approximate is better than 'exact' for interval estimation of
       binomial proportions". So the interval of 60 right answers out of 60, with two labels, begins at 0.96.

    In simulations of 400 samples it held the true macro-F1 0.94 to 0.97 of the time with 4 to 77 labels and 84 to 400
    examples (plain percentiles: 0.32 to 0.93), and 0.89 with 77 uneven labels and 1,500 examples (0.39). Basic, BC and
    BCa intervals (Efron 1987) fell below 0.6. None helps where a sample lacks many labels: 0.15 with 77 labels, 150
    examples and macro-F1 0.81.
    """
    golds, answers = cells.named[cells.texts[0]], cells.named[cells.texts[1]]
    one_label = np.eye(golds.shape[1], dtype=np.int64)
    right = one_label[:-1][golds[:, :-1].any(axis=0)]
    added = np.full(2 * len(right), PSEUDO_EXAMPLES / max(len(right), 1))
    missing = np.tile(one_label[-1], (len(right), 1))
    parts = F1.of(np.concatenate([golds, right, right]), np.concatenate([answers, right, missing]))
    weights = np.concatenate([cells.counts, added])

    draws = np.random.default_rng(seed).multinomial(cells.counts.sum(), weights / weights.sum(), size=RESAMPLES)
    drawn, whole = parts.total(draws), parts.total(weights).per_label()
    f1 = drawn.per_label()
    bias = np.where(drawn.golds_and_answers > 0, f1, whole).mean() - whole.mean()
    resampled = f1.mean(axis=-1)
    low, high = np.clip(whole.mean() - bias + np.quantile(resampled, LEVELS) - resampled.mean(), 0, 1)
    # The pseudo-examples pull the interval away from 0 and 1, slightly too far where all answers are right or wrong.
    figure = float(F1.of(golds, answers).total(cells.counts).macro())
    return min(float(low), figure), max(float(high), figure)
