"""Coordinate ascent on macro-F1: one label's offset at a time, each step exact."""

from __future__ import annotations

import numpy as np

from ..scoring.f1 import Floats, Ints

SWEEPS = 20  # most passes over the labels; passes end as soon as one wins nothing
CLOSEST = 1e-9  # limits no further apart count as one: between them, rounding would decide


def ascend(scores: Floats, gold: Ints, *, tolerance: float, seed: int) -> Floats:
    """Return C offsets, as good as found, under which the largest of n x C scores + offsets gives the best macro-F1.

    Macro-F1 has no slope, but as a function of one label's offset it is a staircase with at most n steps, whose heights
    are all known from one sort. Offsets start from 0, and from minus each label's mean score, which undoes a student's
    liking for a label (Zhou et al. 2024, "Batch calibration"). The second start must end better by more than the
    tolerance, and so must a larger offset. The commonest label keeps the offset 0; rows of NaN are never right.
    """
    counts = np.bincount(gold, minlength=scores.shape[1])
    fixed = int(counts.argmax())
    known = ~np.isnan(scores).any(axis=1)
    scores, gold = scores[known], gold[known]
    if not known.any():
        return np.zeros(scores.shape[1])
    means = scores.mean(axis=0)
    others = [label for label in range(len(counts)) if label != fixed]
    best, reached = np.zeros(0), -np.inf
    for offsets in (np.zeros(scores.shape[1]), means[fixed] - means):
        rng, value = np.random.default_rng(seed), -np.inf
        for _ in range(SWEEPS):
            before = value
            for label in rng.permutation(others):
                offsets[label], value = _step(scores, gold, counts, offsets, int(label), tolerance)
            if value <= before:
                break
        if value > reached + tolerance:
            best, reached = offsets, value
    return best


def _step(
    scores: Floats, gold: Ints, counts: Ints, offsets: Floats, label: int, tolerance: float
) -> tuple[float, float]:
    """Return the smallest offset of ``label`` within the tolerance of the best and no worse than now, and macro-F1."""
    sums = scores + offsets
    sums[:, label] = -np.inf
    rival = sums.argmax(axis=1)
    # An example goes to the label where the label's offset is over the limit, or equal to it and the label comes first.
    limits = sums.max(axis=1) - scores[:, label]
    limits = np.where(label < rival, np.nextafter(limits, -np.inf), limits)
    order = np.argsort(limits)
    limits = limits[order]
    heights = _staircase(gold[order], rival[order], counts, label)

    middles = ((limits[1:] + limits[:-1]) / 2)[np.diff(limits) > CLOSEST]
    present = (0.0, float(offsets[label]))
    candidates = np.concatenate([present, [limits[0] - 1.0], middles, [limits[-1] + 1.0]])
    values = heights[np.searchsorted(limits, candidates)]
    enough = max(values.max() - tolerance, values[1])
    good = np.flatnonzero(values >= enough)
    chosen = good[np.abs(candidates[good]).argmin()]
    return float(candidates[chosen]), float(values[chosen])


def _staircase(gold: Ints, rival: Ints, counts: Ints, label: int) -> Floats:
    """Return macro-F1 after the first 0, 1, ... n examples have gone from their rival labels to ``label``."""
    n, size = len(gold), len(counts)
    rows = np.arange(n)
    leaves = np.zeros((n, size))
    leaves[rows, rival] = 1
    answered = np.bincount(rival, minlength=size) - _before(leaves)
    answered[:, label] = np.arange(n + 1)
    right = leaves * (rival == gold)[:, None]
    hits = right.sum(axis=0) - _before(right)
    hits[:, label] = np.concatenate([[0], np.cumsum(gold == label)])
    return np.asarray((2 * hits / np.maximum(answered + counts, 1)).mean(axis=1))


def _before(steps: Floats) -> Floats:
    """Return the sums of the first 0, 1, ... n rows."""
    return np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])
