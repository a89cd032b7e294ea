"""Cluster: groups of similar micro-rules of one label, none too big, none lost without need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans

Floats = NDArray[np.float64]
Clusterer = Callable[[Floats], NDArray[np.int64]]
"""Unit vectors n x d -> n cluster numbers, -1 for noise."""

SMALL = 8
"""A cluster of so few micro-rules is never split: a teacher reads them at one glance."""


def hdbscan(vectors: Floats) -> NDArray[np.int64]:
    """HDBSCAN (Campello et al. 2013) with a smallest cluster that grows with the square root of n."""
    smallest = max(2, round(np.sqrt(len(vectors)) / 2))
    if len(vectors) < 2 * smallest:
        return np.zeros(len(vectors), dtype=np.int64)
    return np.asarray(HDBSCAN(min_cluster_size=smallest, min_samples=1, copy=True).fit_predict(vectors))


def dbscan(eps: float = 0.4, min_samples: int = 6) -> Clusterer:
    """Return DBSCAN on cosine distance; the defaults are those of PLD (arXiv 2602.21103)."""
    return partial(_dbscan, eps=eps, min_samples=min_samples)


def groups_of_label(
    vectors: Floats, rows: Sequence[int], *, clusterer: Clusterer, max_share: float, attach: float
) -> list[list[int]]:
    """Cluster the micro-rules of one label.

    Args:
        vectors: unit vectors of all micro-rules, n x d.
        rows: the label's rows in ``vectors``.
        clusterer: gives cluster numbers, -1 for noise.
        max_share: a cluster with more than this share of ``rows`` (and more than a few) is split.
        attach: noise joins the nearest cluster from this cosine similarity on.

    Returns:
        Groups of rows; at least one, whatever the clusterer says.
    """
    chosen = np.asarray(rows)
    numbers = clusterer(vectors[chosen])
    groups = [chosen[numbers == number].tolist() for number in sorted(set(numbers.tolist()) - {-1})]
    noise = chosen[numbers == -1].tolist()
    if not groups:
        groups, noise = [noise], []
    groups = [part for group in groups for part in _split(vectors, group, int(max_share * len(rows)))]
    return _attached(vectors, groups, noise, attach)


def merged(vectors: Floats, groups: Sequence[list[int]], *, similarity: float) -> list[list[int]]:
    """Join groups whose centres are at least this similar: they are one rule said twice."""
    result: list[list[int]] = []
    for group in groups:
        centres = _centres(vectors, result)
        nearness = centres @ _centres(vectors, [group])[0] if result else np.zeros(1)
        if nearness.max() >= similarity:
            result[int(nearness.argmax())] += group
        else:
            result.append(list(group))
    return result


def _dbscan(vectors: Floats, *, eps: float, min_samples: int) -> NDArray[np.int64]:
    return np.asarray(DBSCAN(eps=eps, min_samples=min_samples, metric="cosine").fit_predict(vectors))


def _split(vectors: Floats, group: list[int], limit: int) -> list[list[int]]:
    if len(group) <= max(limit, SMALL):
        return [group]
    parts = min(int(np.ceil(len(group) / max(limit, SMALL))), len(np.unique(vectors[group].round(6), axis=0)))
    numbers = KMeans(parts, n_init=4, random_state=0).fit_predict(vectors[group])
    return [[row for row, n in zip(group, numbers, strict=True) if n == part] for part in sorted(set(numbers))]


def _attached(vectors: Floats, groups: list[list[int]], noise: list[int], similarity: float) -> list[list[int]]:
    centres = _centres(vectors, groups)
    result = [list(group) for group in groups]
    for row in noise:
        nearness = centres @ vectors[row]
        if nearness.max() >= similarity:
            result[int(nearness.argmax())].append(row)
    return result


def _centres(vectors: Floats, groups: Sequence[list[int]]) -> Floats:
    means = np.array([vectors[group].mean(axis=0) for group in groups]).reshape(len(groups), vectors.shape[1])
    return np.asarray(means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12))
