"""How good a set of answers is: figures over the whole set and a label, intervals, paired differences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta
from sklearn.metrics import precision_recall_fscore_support

from .errors import DataError

NO_ANSWER = "(none)"
RESAMPLES = 4000

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class LabelScore(BaseModel):
    """Precision, recall, F1 (each 0 to 1) and number of gold examples of one label."""

    precision: float
    recall: float
    f1: float
    n: int


class Score(BaseModel):
    """How a student did on a set of examples; all rates 0 to 1."""

    model_config = ConfigDict(frozen=True)

    macro_f1: float
    accuracy: float
    interval: tuple[float, float]
    """95% percentile bootstrap interval of macro_f1 over examples."""
    n: int
    failures: int
    """Answers that were missing, failed or unknown; each counts as wrong for its gold label."""
    objective: float
    """What the search maximizes; macro_f1 unless the user gave another objective."""
    per_label: dict[str, LabelScore]
    confusion: dict[str, dict[str, int]]
    """Gold label -> answered label -> count; failures stand under ``(none)``."""


class Difference(BaseModel):
    """A paired difference of macro-F1 on the same examples."""

    model_config = ConfigDict(frozen=True)

    macro_f1: float
    interval: tuple[float, float]
    """95% percentile bootstrap interval over examples, both answers of an example drawn together."""
    p_value: float
    """Two-sided approximate randomization test (Yeh 2000, "More accurate tests for the statistical
    significance of result differences"): the two answers of an example swapped at random."""
    n: int


def macro_f1(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> float:
    """Return macro-F1 over a fixed label set; a missing answer is wrong for its gold label and adds no class."""
    gold, answer = _codes(golds, labels), _codes(answers, labels)
    return float(_Parts.of(gold, answer, len(labels)).macro_f1(np.ones(len(golds))))


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
        golds: n gold labels, each of ``labels``.
        answers: n answers; None where there is none.
        labels: the label set, in the order to report.
        objective: the user's objective on these answers; macro-F1 where None.
        seed: of the bootstrap.

    Raises:
        DataError: there is nothing to score.
    """
    if not golds:
        raise DataError("There are no examples to score. Give at least one.")
    cells, counts = np.unique(
        np.stack([_codes(column, labels) for column in (golds, answers)]), axis=1, return_counts=True
    )
    parts = _Parts.of(cells[0], cells[1], len(labels))
    figure = float(parts.macro_f1(counts))
    draws = np.random.default_rng(seed).multinomial(len(golds), counts / len(golds), size=RESAMPLES)
    low, high = np.quantile(parts.macro_f1(draws), [0.025, 0.975])
    return Score(
        macro_f1=figure,
        accuracy=float(counts[cells[0] == cells[1]].sum() / len(golds)),
        interval=(float(low), float(high)),
        n=len(golds),
        failures=sum(answer is None for answer in answers),
        objective=figure if objective is None else objective,
        per_label=_per_label(golds, answers, labels),
        confusion=_confusion(golds, answers, labels),
    )


def difference(
    golds: Sequence[str],
    before: Sequence[str | None],
    after: Sequence[str | None],
    labels: Sequence[str],
    *,
    seed: int = 0,
) -> Difference:
    """Return macro-F1 of ``after`` minus that of ``before`` on the same n examples, with interval and p-value."""
    rng = np.random.default_rng(seed)
    cells, counts = np.unique(
        np.stack([_codes(column, labels) for column in (golds, before, after)]), axis=1, return_counts=True
    )
    old, new = (_Parts.of(cells[0], answers, len(labels)) for answers in (cells[1], cells[2]))
    observed = float(new.macro_f1(counts) - old.macro_f1(counts))

    draws = rng.multinomial(len(golds), counts / len(golds), size=RESAMPLES)
    low, high = np.quantile(new.macro_f1(draws) - old.macro_f1(draws), [0.025, 0.975])

    swapped = rng.binomial(counts, 0.5, size=(RESAMPLES, len(counts)))
    kept = counts - swapped
    null = (new.weigh(kept) + old.weigh(swapped)).mean() - (old.weigh(kept) + new.weigh(swapped)).mean()
    extreme = int((np.abs(null) >= abs(observed) - 1e-12).sum())
    return Difference(
        macro_f1=observed,
        interval=(float(low), float(high)),
        p_value=(extreme + 1) / (RESAMPLES + 1),
        n=len(golds),
    )


def chance_to_win(candidate: NDArray[np.bool_], incumbent: NDArray[np.bool_]) -> float:
    """Return P(the candidate is right more often than the incumbent), given their answers to the same examples.

    Only examples where one is right and the other wrong say anything; with a uniform prior on the candidate's
    share of these, the posterior is a Beta distribution.

    Args:
        candidate: n flags, whether the candidate was correct.
        incumbent: n flags of the incumbent on the same examples.
    """
    wins = int((candidate & ~incumbent).sum())
    losses = int((incumbent & ~candidate).sum())
    return float(beta.sf(0.5, 1 + wins, 1 + losses))


def _codes(column: Sequence[str | None], labels: Sequence[str]) -> Ints:
    """Number labels 0..k-1; a missing or unknown answer is k."""
    index: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    return np.array([index.get(label, len(labels)) for label in column], dtype=np.int64)


@dataclass(frozen=True)
class _Fractions:
    """F1 of each label as fractions, shape (..., labels): twice the hits over golds plus answers."""

    twice_hits: Floats
    golds_and_answers: Floats

    def __add__(self, other: _Fractions) -> _Fractions:
        return _Fractions(self.twice_hits + other.twice_hits, self.golds_and_answers + other.golds_and_answers)

    def mean(self) -> Floats:
        """Macro-F1; a label neither gold nor answered scores 0."""
        return np.asarray((self.twice_hits / np.maximum(self.golds_and_answers, 1)).mean(axis=-1))


@dataclass(frozen=True)
class _Parts:
    """What one example of each (gold, answer) cell adds to the fractions of each label: cells x labels.

    Macro-F1 depends on the examples only through how many fall in each cell, so a bootstrap over examples
    is a multinomial draw of cell counts, and all draws are scored by one matrix product.
    """

    twice_hits: Floats
    golds_and_answers: Floats

    @classmethod
    def of(cls, golds: Ints, answers: Ints, size: int) -> _Parts:
        one_hot = np.eye(size + 1)
        hits = one_hot[golds] * one_hot[answers]
        return cls(2 * hits[:, :size], (one_hot[golds] + one_hot[answers])[:, :size])

    def weigh(self, counts: NDArray[Any]) -> _Fractions:
        return _Fractions(counts @ self.twice_hits, counts @ self.golds_and_answers)

    def macro_f1(self, counts: NDArray[Any]) -> Floats:
        """Macro-F1 of cell counts of shape (..., cells)."""
        return self.weigh(counts).mean()


def _per_label(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> dict[str, LabelScore]:
    given = [answer if answer is not None else "" for answer in answers]
    columns = precision_recall_fscore_support(golds, given, labels=list(labels), zero_division=0.0)
    return {
        label: LabelScore(precision=p, recall=r, f1=f, n=int(n))
        for label, p, r, f, n in zip(labels, *columns, strict=True)
    }


def _confusion(golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    pairs = Counter(zip(golds, answers, strict=True))
    return {
        gold: {answer or NO_ANSWER: pairs[gold, answer] for answer in (*labels, None) if pairs[gold, answer]}
        for gold in labels
    }
