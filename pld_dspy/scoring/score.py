"""How good one set of answers is: figures over the whole set and per label, with an interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sklearn.metrics import precision_recall_fscore_support

from ..errors import DataError
from ..task.labels import indicator, labels_in
from .f1 import Cells, Record
from .interval import macro_f1_interval

NO_ANSWER = "(none)"


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
        interval=macro_f1_interval(cells, seed=seed),
        n=len(golds),
        failures=sum(answer is None for answer in answers),
        objective=figure if objective is None else objective,
        per_label=_per_label(golds, answers, labels),
        confusion=_confusion(golds, answers, labels),
    )


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
