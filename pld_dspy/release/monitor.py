"""Whether new inputs, and what the program answers to them, are like those that a run was scored on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import betabinom, ks_2samp, random_table, rankdata
from scipy.stats.contingency import expected_freq
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from ..scoring.f1 import Floats, Record
from ..scoring.score import NO_ANSWER
from ..task.splits import near_identity

ALPHA = 0.05
"""The chance of a false alarm in one look at new inputs; the comparisons share it (Bonferroni)."""
FAR = 0.05
"""Share of the run's own examples that count as far from the training examples."""
OTHERS = 0.25
"""Share of far inputs from which on an unusual one says that the inputs are others, not only a little different."""
FEW = 50
"""Inputs of a side below which only large changes can be seen, and none by a classifier."""
FOLDS, PERMUTATIONS, TABLES = 5, 499, 1999
MOST = 2000
"""Most inputs of a side that the classifier learns from; a random draw of more."""
PENALTY = 0.1

NOTHING_UNUSUAL = "Nothing unusual."


@dataclass(frozen=True)
class Served:
    """What a program was given, and what it answered."""

    texts: Sequence[str]
    vectors: Floats  # of the texts
    labels: Sequence[str | None] = ()  # as far as known; None for a failed or unknown answer
    confidences: Sequence[float] = ()  # as far as known; NaN for an answer without one

    @property
    def distinct(self) -> list[int]:
        """The rows of the texts, each text once: a text that is sent again and again says nothing new."""
        return list({near_identity(text): row for row, text in enumerate(self.texts)}.values())

    @property
    def confident(self) -> Floats:
        """The confidences that are known."""
        known = np.array(self.confidences, dtype=np.float64)
        return known[~np.isnan(known)]


class Check(Record):
    """One comparison: a figure, how likely chance alone gives one as large, and both in words."""

    name: str  # distance, kind, labels or confidence
    value: float
    p_value: float
    text: str


class Monitored(Record):
    """New inputs compared with the validation and test examples of a run.

    Attributes:
        n, n_before: new inputs and those of the run, copies counted once.
        checks: the comparisons that could be made, ``distance`` first.
        labels: label -> answers in the run, and now; empty where one side is not known.
    """

    n: int
    n_before: int
    checks: tuple[Check, ...]
    labels: dict[str, tuple[int, int]]

    @property
    def unusual(self) -> list[str]:
        """The names of the comparisons that chance does not explain."""
        return [check.name for check in self.checks if check.p_value < ALPHA / len(self.checks)]

    @property
    def verdict(self) -> str:
        """What to make of it, in words."""
        if "distance" in self.unusual and self.checks[0].value >= OTHERS:
            return (
                "These inputs are others than those that the rules were made from. Label some of them (--label-next), "
                "evaluate on these, and compile again where the figures have fallen."
            )
        if self.unusual:
            return f"Look at this: {', '.join(self.unusual)}."
        few = " With so few inputs, only large changes can be seen." if min(self.n, self.n_before) < FEW else ""
        return NOTHING_UNUSUAL + few


def compare(
    training: Floats, before: Served, now: Served, *, threshold: float | None = None, seed: int = 0
) -> Monitored:
    """Compare new inputs and answers with those of a run.

    Args:
        training: vectors of the training examples.
        before: the run's validation and test examples, which no rule was made from.
        now: the new inputs.
        threshold: the confidence below which the program abstains.
        seed: of what is drawn at random.
    """
    vectors = before.vectors[before.distinct], now.vectors[now.distinct]
    checks = [_distance(training, *vectors)]
    if min(map(len, vectors)) >= FEW:
        checks.append(_kind(*vectors, seed=seed))
    labels = {}
    if before.labels and now.labels:
        labels = _counts(before.labels, now.labels)
        checks.append(_labels(labels, seed=seed))
    if len(before.confident) and len(now.confident):
        checks.append(_confidence(before.confident, now.confident, threshold))
    return Monitored(n=len(vectors[1]), n_before=len(vectors[0]), checks=tuple(checks), labels=labels)


def nearest_distance(vectors: Floats, known: Floats) -> Floats:
    """Return the cosine distance of each of m unit vectors to the nearest of n others."""
    return np.asarray(1 - (vectors @ known.T).max(axis=1))


def _distance(training: Floats, before: Floats, now: Floats) -> Check:
    """Count the new inputs that are farther from every training example than 95% of the run's own.

    Without a change, the number of m values above the k-th largest of n others is beta-binomial, whatever their
    distribution (exceedance statistics; Gumbel and von Schelling 1950).
    """
    own, new = nearest_distance(before, training), nearest_distance(now, training)
    place = int(FAR * len(own)) + 1
    far = int((new > np.sort(own)[-place]).sum())
    share = far / len(new)
    return Check(
        name="distance",
        value=share,
        p_value=float(betabinom.sf(far - 1, len(new), place, len(own) - place + 1)),
        text=f"{share:.0%} of the inputs are farther from every training example than {1 - FAR:.0%} of the run's own",
    )


def _kind(before: Floats, now: Floats, *, seed: int) -> Check:
    """Say how well a linear classifier tells new inputs from the run's own, out of fold.

    A classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting classifier two-sample tests"): least squares on
    the membership, with the area under the ROC curve and a permutation test. All permuted memberships are fitted at
    once, as further columns.
    """
    rng = np.random.default_rng(seed)
    before, now = (one[rng.permutation(len(one))[:MOST]] for one in (before, now))
    member = np.repeat([0.0, 1.0], [len(before), len(now)])
    members = np.stack([member, *(rng.permutation(member) for _ in range(PERMUTATIONS))], axis=1)
    folds = KFold(min(FOLDS, len(member)), shuffle=True, random_state=seed)
    scores = cross_val_predict(Ridge(PENALTY), np.concatenate([before, now]), members, cv=folds)
    n, m = len(before), len(now)
    area = ((rankdata(scores, axis=0) * members).sum(axis=0) - m * (m + 1) / 2) / (n * m)
    return Check(
        name="kind",
        value=float(area[0]),
        p_value=_share_as_large(area),
        text=f"a classifier tells them from the run's own with AUC {area[0]:.2f} (0.50: by chance)",
    )


def _counts(before: Sequence[str | None], now: Sequence[str | None]) -> dict[str, tuple[int, int]]:
    counts = [Counter(label or NO_ANSWER for label in labels) for labels in (before, now)]
    names = sorted({*counts[0], *counts[1]}, key=lambda name: (-counts[0][name], name))
    return {name: (counts[0][name], counts[1][name]) for name in names}


def _labels(counts: dict[str, tuple[int, int]], *, seed: int) -> Check:
    """Compare the shares of labels: chi-square, among random tables with the same sums, however small the counts."""
    table = np.array(list(counts.values())).T
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    drawn = random_table(rows, columns, seed=seed).rvs(TABLES)
    tables, expected = np.concatenate([table[None], drawn]), expected_freq(table)
    shares = table / rows[:, None]
    moved = float(abs(shares[0] - shares[1]).sum() / 2)
    return Check(
        name="labels",
        value=moved,
        p_value=_share_as_large(((tables - expected) ** 2 / expected).sum(axis=(1, 2))),
        text=f"{moved:.0%} of the answers would have to change for the labels to be as frequent as in the run",
    )


def _confidence(before: Floats, now: Floats, threshold: float | None) -> Check:
    found = ks_2samp(before, now)
    text = f"median {np.median(before):.2f} -> {np.median(now):.2f}"
    if threshold is not None:
        text += f"; under the threshold {(before < threshold).mean():.0%} -> {(now < threshold).mean():.0%}"
    return Check(name="confidence", value=float(found.statistic), p_value=float(found.pvalue), text=text)


def _share_as_large(values: Floats) -> float:
    """Return the p-value of the first of N values, the others being what chance gives."""
    return float((values >= values[0] - 1e-9).mean())
