"""What the labels alone give: simple classifiers on the labels that PLD has, scored without a call to a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from ..local.classifier import Note, TextClassifier, vote
from ..local.embedding import Embedder, Floats
from ..task.splits import stratified_order
from .difference import Difference, difference
from .f1 import Record
from .figures import macro_f1
from .score import Score, score

CLASSIFIER, NOTED, NEIGHBOURS, MAJORITY = "classifier", "classifier with notes", "nearest neighbours", "majority"

NEAREST = 5
SHARES = (0.125, 0.25, 0.5, 0.75)
"""Points of the learning curve below all labels, as shares of them."""
DRAWS = 5
DRAWN = 2000
"""Labels in all draws of one point, at most, unless one draw has more: many labels take long, and vary less."""
STEADY = 0.25
"""Points below this share of the labels do not say how the curve goes on."""
MOST_NOTES = 2000
"""More notes take long to encode, and add little to so many labels: the gain falls from 0.05 macro-F1 with 4 labels per
class to 0.01 with 60 (StereoSet)."""
MOST_TIMES = 8
"""A learning curve is not continued beyond this many times its labels."""

SplitName: TypeAlias = Literal["test", "validation"]


class Baseline(Record):
    """One simple way, and how far the student is above it on the same examples."""

    name: str
    answers: tuple[str, ...] = ()  # empty once the student is compared, and in files
    score: Score
    difference: Difference | None = None  # the student minus this; None before there is one


class Baselines(Record):
    """What simple ways make of the labels: a classifier, the nearest neighbours, and the commonest label.

    Where there are notes about labelled examples, another classifier learns from these too.

    Attributes:
        split: where they are scored: "test", or "validation" where there is no test set.
        labels: how many labelled examples they learn from: training and validation; without a test set, training.
        embedder: what turns texts into vectors.
        rows: these ways, the classifier first; ``baselines["classifier"]`` gives one by its name.
        curve: the classifier's learning curve: (labels, macro-F1), means over random draws.
        student: the score of the student that they are compared with; None before there is one.
    """

    split: SplitName
    labels: int
    embedder: str
    rows: tuple[Baseline, ...]
    curve: tuple[tuple[int, float], ...]
    student: Score | None = None

    def __getitem__(self, name: str) -> Baseline:
        return next(row for row in self.rows if row.name == name)

    def compared(
        self, student: Score, answers: Sequence[str | None], *, golds: Sequence[str], labels: Sequence[str], seed: int
    ) -> Baselines:
        """Return these with the score of a student, and the differences of its ``answers`` to theirs.

        ``golds`` are of the same n examples, ``labels`` is the label set, ``seed`` that of the intervals.
        """
        rows = [
            row.model_copy(
                update={"answers": (), "difference": difference(golds, row.answers, answers, labels, seed=seed)}
            )
            for row in self.rows
        ]
        return self.model_copy(update={"rows": tuple(rows), "student": student})

    @property
    def alone(self) -> Baselines:
        """These without a student."""
        rows = tuple(row.model_copy(update={"difference": None}) for row in self.rows)
        return self.model_copy(update={"rows": rows, "student": None})

    @property
    def verdict(self) -> str | None:
        """Whether the classifier is ahead of the student, and how many labels that takes; None without a student."""
        row, student = self[CLASSIFIER], self.student
        if student is None or row.difference is None:
            return None
        low, high = row.difference.interval
        place = "ahead of" if high < 0 else "behind" if low > 0 else "level with"
        beginning = (
            f"A classifier on the same {self.labels} labels, without rules and in seconds, has macro-F1 "
            f"{row.score.macro_f1:.3f} on {self.split}: {place} the student's {student.macro_f1:.3f} (student minus "
            f"classifier {row.difference.short})."
        )
        needed, least = self.labels_for(student.macro_f1), self.curve[0][0]
        if row.score.macro_f1 >= student.macro_f1:
            count = f"{least} labels or fewer" if needed == least else f"about {needed} labels"
            advice = " Use it, unless people must read, edit or sign the logic." if high < 0 else ""
            return f"{beginning} It has the student's figure with {count}.{advice}"
        most = self.labels * MOST_TIMES
        more = f"more than {most:,} labels, or never gets there" if needed is None else f"about {needed:,} labels"
        return f"{beginning} By its learning curve it takes {more} to have the student's figure."

    @property
    def advice(self) -> tuple[str, ...]:
        """How to read these before anything is compiled, a sentence or two each."""
        best, majority = self[CLASSIFIER].score, self[MAJORITY].score
        level = (
            f"The classifier needs no language model and has macro-F1 {best.macro_f1:.3f}. A compile pays if rules "
            "bring the student above that, or if people must read, edit or sign the logic. Its result shows both."
        )
        if best.interval[0] <= majority.macro_f1:
            return (
                "The classifier is not clearly better than the commonest label: these labels alone show little. "
                "Reasons behind them (rationales, or a teacher) may add what the labels do not show.",
                level,
            )
        return (level, *self._trend())

    def labels_for(self, figure: float) -> int | None:
        """Return about how many labels give the classifier the macro-F1 ``figure``; None for far more than there are.

        Between points, macro-F1 is taken to grow with the logarithm of the number of labels; beyond the last one, too,
        as fast as it does over the upper points. The smallest point stands for all that is below.
        """
        sizes, figures = np.log([size for size, _ in self.curve]), np.array([value for _, value in self.curve])
        if figure > figures[-1]:
            growth = self._growth()
            more = (figure - figures[-1]) / growth if growth > 0 else math.inf
            return round(math.exp(sizes[-1] + more)) if more <= math.log(MOST_TIMES) else None
        place = int(np.argmax(figures >= figure))
        if place == 0:
            return self.curve[0][0]
        share = (figure - figures[place - 1]) / (figures[place] - figures[place - 1])
        return round(math.exp(sizes[place - 1] + share * (sizes[place] - sizes[place - 1])))

    def _growth(self) -> float:
        """Return macro-F1 per factor e of labels, over the upper points of the curve; 0 where there is but one."""
        upper = np.array([(math.log(size), value) for size, value in self.curve if size >= STEADY * self.labels])
        return float(np.polyfit(upper[:, 0], upper[:, 1], 1)[0]) if len(upper) > 1 else 0.0

    def _trend(self) -> tuple[str, ...]:
        """Return what twice the labels would add, by the curve; nothing where it has a single point."""
        if len(self.curve) < 2:
            return ()
        gain = self._growth() * math.log(2)
        if gain < 0.01:
            return ("Its learning curve is flat: more labels of this kind add little.",)
        return (
            f"Its learning curve still rises: twice the labels would add about {gain:.2f}. If labels are cheap, label "
            "more examples first.",
        )


def score_baselines(
    texts: Sequence[str],
    golds: Sequence[str],
    *,
    new_texts: Sequence[str],
    new_golds: Sequence[str],
    labels: Sequence[str],
    split: SplitName,
    embedder: Embedder,
    notes: Sequence[Note] = (),
    seed: int = 0,
) -> Baselines:
    """Fit simple ways on n labelled texts, and score them on m others.

    They are logistic regression on the texts' vectors (with its learning curve), the same on texts and ``notes`` where
    there are any, and no more than ``MOST_NOTES``, the commonest label of the five nearest texts, and the commonest
    label of all. Where an example may have several labels, each combination that occurs is a label to them.
    """
    notes = notes if len(notes) <= MOST_NOTES else ()
    noted = TextClassifier.of(texts, golds, tuple(dict.fromkeys(golds)), embedder, notes=notes)
    classifier, vectors = noted.part(range(len(golds))), noted.embed(new_texts)
    answers = {
        CLASSIFIER: classifier.decide(vectors),
        **({NOTED: noted.decide(vectors)} if notes else {}),
        NEIGHBOURS: vote(golds, classifier.nearest(vectors, NEAREST)),
        MAJORITY: [Counter(golds).most_common(1)[0][0]] * len(new_texts),
    }
    rows = tuple(
        Baseline(name=name, answers=tuple(found), score=score(new_golds, found, labels, seed=seed))
        for name, found in answers.items()
    )
    sizes = {max(round(share * len(golds)), 2) for share in SHARES}
    curve = [
        (
            size,
            float(np.mean([macro_f1(new_golds, found, labels) for found in _draws(classifier, size, vectors, seed)])),
        )
        for size in sorted(sizes)
        if size < len(golds)
    ]
    return Baselines(
        split=split,
        labels=len(golds),
        embedder=getattr(embedder, "__name__", type(embedder).__name__),
        rows=rows,
        curve=(*curve, (len(golds), rows[0].score.macro_f1)),
    )


def _draws(classifier: TextClassifier, size: int, vectors: Floats, seed: int) -> list[list[str]]:
    """Return the decisions about ``vectors`` after learning from ``size`` of the labels, for each draw of these."""
    found = []
    for draw in range(max(1, min(DRAWS, DRAWN // size))):
        rows = stratified_order(classifier.golds, np.random.default_rng([seed, draw]))[:size]
        found.append(classifier.part(sorted(rows)).decide(vectors))
    return found
