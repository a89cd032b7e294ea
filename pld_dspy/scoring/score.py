"""How good one set of answers is: figures over the whole set and per label, with an interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
    accuracy: float
    """Share of right answers; an answer of several labels is right if it has exactly the gold ones."""
    interval: tuple[float, float]
    """95% bootstrap interval of macro_f1 over examples; see :mod:`~pld_dspy.scoring.interval`."""
    n: int
    failures: int
    """Answers that were missing, failed or unknown; each counts as wrong for its gold label."""
    objective: float
    """What the search maximizes; macro_f1 unless the user gave another objective."""
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
    """Score answers against gold labels.

    Args:
        golds: n gold labels, each of ``labels``, or several of these joined.
        answers: n answers; None where there is none.
        labels: the label set, in the order to report.
        objective: the user's objective on these answers; macro-F1 where None.
        seed: of the bootstrap.

    Raises:
        DataError: there is nothing to score.
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
    counts: Counter[tuple[str, str | None]] = Counter()
    for (gold, answer), n in Counter(zip(golds, answers, strict=True)).items():
        for pair in _confused(labels_in(gold, labels) or (), labels_in(answer or "", labels) or ()):
            counts[pair] += n
    return {
        gold: {answer or NO_ANSWER: counts[gold, answer] for answer in (*labels, None) if counts[gold, answer]}
        for gold in labels
    }


def _confused(golds: Sequence[str], answered: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Pair each gold label with itself where it was answered, else with the labels that were wrongly answered."""
    wrong: Sequence[str | None] = [label for label in answered if label not in golds] or [None]
    for gold in golds:
        if gold in answered:
            yield gold, gold
        else:
            yield from ((gold, label) for label in wrong)
