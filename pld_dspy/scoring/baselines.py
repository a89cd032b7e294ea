"""What the labels alone give: simple classifiers on the labels that PLD has, scored without a call to a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..local.classifier import TextClassifier, vote
from ..local.embedding import Embedder
from .difference import Difference, difference
from .f1 import Record
from .score import Score, score

CLASSIFIER, NEIGHBOURS, MAJORITY = "classifier", "nearest neighbours", "majority"

NEAREST = 5
SHARES = (0.125, 0.25, 0.5, 0.75)
"""Points of the learning curve below all labels, as shares of them."""
DRAWS = 5
MOST_TIMES = 8
"""A learning curve is not continued beyond this many times its labels."""


class Baseline(Record):
    """One simple way, and how far the student is above it on the same examples."""

    name: str
    answers: tuple[str, ...] = ()  # left out of files
    score: Score
    difference: Difference | None = None  # the student minus this; None before there is one


class Baselines(Record):
    """What simple ways make of the labels; ``curve`` holds (labels, macro-F1 of the classifier), means over draws."""

    split: Literal["test", "validation"]  # where they are scored
    labels: int  # how many they learn from
    embedder: str
    rows: tuple[Baseline, ...]
    curve: tuple[tuple[int, float], ...]

    def __getitem__(self, name: str) -> Baseline:
        return next(row for row in self.rows if row.name == name)

    def compared(self, golds: Sequence[str], answers: Sequence[str | None], labels: Sequence[str]) -> Baselines:
        """Return these with the differences of a student's ``answers`` to each, without the answers themselves."""
        rows = [
            row.model_copy(update={"answers": (), "difference": difference(golds, row.answers, answers, labels)})
            for row in self.rows
        ]
        return self.model_copy(update={"rows": tuple(rows)})

    def verdict(self, student: Score) -> str:
        """Say in plain words whether the classifier is ahead of the student, and how many labels that takes."""
        row = self[CLASSIFIER]
        assert row.difference is not None
        low, high = row.difference.interval
        place = "ahead of" if high < 0 else "behind" if low > 0 else "level with"
        beginning = (
            f"A classifier on the same {self.labels} labels, without rules and in seconds, has macro-F1 "
            f"{row.score.macro_f1:.3f} on {self.split}: {place} the student's {student.macro_f1:.3f} (difference "
            f"{row.difference.macro_f1:+.3f} [{low:+.2f}, {high:+.2f}])."
        )
        needed = self.labels_for(student.macro_f1)
        if row.score.macro_f1 >= student.macro_f1:
            advice = "Use it, unless people must read why, or give --precedents, which uses the same labels."
            return f"{beginning} It has the student's figure with about {needed} labels. {advice if high < 0 else ''}"
        more = f"more than {self.labels * MOST_TIMES}" if needed is None else f"about {needed}"
        return f"{beginning} By its learning curve it would take {more} labels to catch up."

    def labels_for(self, macro_f1: float) -> int | None:
        """Return about how many labels give the classifier this macro-F1; None for far more than there are.

        Between points, and beyond the last one, macro-F1 is taken to grow with the logarithm of the number of labels.
        """
        sizes, figures = np.log([size for size, _ in self.curve]), [figure for _, figure in self.curve]
        for place in range(1, len(sizes)):
            last = place == len(sizes) - 1
            if figures[place] >= macro_f1 or last:
                slope = (figures[place] - figures[place - 1]) / (sizes[place] - sizes[place - 1])
                if slope <= 0:
                    return None if last and figures[place] < macro_f1 else self.curve[place][0]
                found = sizes[place - 1] + max(macro_f1 - figures[place - 1], 0.0) / slope
                return round(math.exp(found)) if found <= sizes[-1] + math.log(MOST_TIMES) else None
        return self.curve[-1][0] if figures[-1] >= macro_f1 else None


def score_baselines(
    texts: Sequence[str],
    golds: Sequence[str],
    *,
    new_texts: Sequence[str],
    new_golds: Sequence[str],
    labels: Sequence[str],
    split: Literal["test", "validation"],
    embedder: Embedder,
    seed: int = 0,
) -> Baselines:
    """Fit simple ways on n labelled texts, and score them on m others.

    They are logistic regression on the texts' vectors (with its learning curve), the commonest label of the five
    nearest texts, and the commonest label of all. Where an example may have several labels, each combination that
    occurs is a label to them.
    """
    known = tuple(dict.fromkeys(golds))
    classifier = TextClassifier.of(texts, golds, known, embedder)
    vectors = classifier.embed(new_texts)
    answers = {
        CLASSIFIER: _decided(classifier, vectors),
        NEIGHBOURS: vote(golds, classifier.nearest(vectors, NEAREST)),
        MAJORITY: [Counter(golds).most_common(1)[0][0]] * len(new_texts),
    }
    rows = tuple(
        Baseline(name=name, answers=tuple(found), score=score(new_golds, found, labels, seed=seed))
        for name, found in answers.items()
    )

    def macro_f1(size: int, draw: int) -> float:
        order = np.random.default_rng([seed, draw]).permutation(len(golds))
        rows = sorted(order[:size])
        part = TextClassifier(known, tuple(golds[row] for row in rows), classifier.vectors[rows], embedder)
        return score(new_golds, _decided(part, vectors), labels, seed=seed).macro_f1

    sizes = sorted({max(round(share * len(golds)), 2) for share in SHARES} - {len(golds)})
    curve = [(size, float(np.mean([macro_f1(size, draw) for draw in range(DRAWS)]))) for size in sizes]
    return Baselines(
        split=split,
        labels=len(golds),
        embedder=getattr(embedder, "__name__", type(embedder).__name__),
        rows=rows,
        curve=(*curve, (len(golds), rows[0].score.macro_f1)),
    )


def _decided(classifier: TextClassifier, vectors: np.ndarray) -> list[str]:
    return [classifier.labels[place] for place in classifier.log_probabilities(vectors).argmax(axis=1)]
