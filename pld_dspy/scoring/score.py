"""How good one set of answers is: figures over the whole set and per label, with an interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from ..errors import DataError
from ..task.labels import indicator, labels_in
from .f1 import F1, LEVELS, RESAMPLES, Cells, Record

NO_ANSWER = "(none)"
PSEUDO_EXAMPLES = 2.0
"""Right and, as many again, missing answers that are added before resampling."""


class LabelScore(Record):
    """Precision, recall, F1 (each 0 to 1) and number of gold examples of one label."""

    precision: float
    recall: float
    f1: float
    n: int


class Score(Record):
    """How a student did on a set of examples; all rates 0 to 1."""

    macro_f1: float
    accuracy: float  # an answer of several labels is right if it has exactly the gold ones
    interval: tuple[float, float]  # 95% bootstrap interval of macro_f1 over examples
    n: int
    failures: int  # missing, failed or unknown answers, each wrong for its gold label
    objective: float
    per_label: dict[str, LabelScore]
    confusion: dict[str, dict[str, int]]
    """Gold label -> answered label -> count; failures stand under ``(none)``. Where an answer may hold several labels,
    a missed label counts under each label that was wrongly answered, and under ``(none)`` where there is none."""


def score(
    golds: Sequence[str],
    answers: Sequence[str | None],
    labels: Sequence[str],
    *,
    objective: float | None = None,
    seed: int = 0,
) -> Score:
    """Score n answers against n gold labels, or several of these joined; DataError where n is 0.

    Labels are reported in the order of ``labels``. ``objective`` is the user's own on these answers, macro-F1 where
    None; ``seed`` is that of the bootstrap.
    """
    if not golds:
        raise DataError("There are no examples to score. Give at least one.")
    cells = Cells.of(labels, golds, answers)
    figure = float(cells.f1().total(cells.counts).macro())
    return Score(
        macro_f1=figure,
        accuracy=float(cells.counts[cells.right()].sum() / len(golds)),
        interval=_macro_f1_interval(cells, seed=seed),
        n=len(golds),
        failures=sum(answer is None for answer in answers),
        objective=figure if objective is None else objective,
        per_label=_per_label(golds, answers, labels),
        confusion=_confusion(golds, answers, labels),
    )


def _macro_f1_interval(cells: Cells, *, seed: int) -> tuple[float, float]:
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


def _per_label(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> dict[str, LabelScore]:
    columns = precision_recall_fscore_support(
        indicator(golds, labels), indicator(answers, labels), labels=range(len(labels)), zero_division=0.0
    )
    return {
        label: LabelScore(precision=p, recall=r, f1=f, n=int(n))
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }


def _confusion(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count a gold label under itself where it was answered, else under each label that was wrongly answered."""
    counts: Counter[tuple[str, str | None]] = Counter()
    for (gold, answer), n in Counter(zip(golds, answers, strict=True)).items():
        wanted, answered = labels_in(gold, labels) or (), labels_in(answer or "", labels) or ()
        wrong: Sequence[str | None] = [label for label in answered if label not in wanted] or [None]
        for label in wanted:
            for other in [label] if label in answered else wrong:
                counts[label, other] += n
    return {
        gold: {answer or NO_ANSWER: counts[gold, answer] for answer in (*labels, None) if counts[gold, answer]}
        for gold in labels
    }
