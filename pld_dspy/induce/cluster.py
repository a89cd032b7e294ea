"""Cluster: groups of similar micro-rules of one label, none too big, none lost without need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Dbscan:
    """DBSCAN (Ester et al. 1996) on cosine distance.

    Attributes:
        eps: largest cosine distance of two neighbours, 0 to 2; None lets the doctor pick one a label.
        min_samples: neighbours that make a point dense, itself included.
    """

    eps: float | None
    min_samples: int

    def __call__(self, vectors: Floats) -> NDArray[np.int64]:
        """Return the cluster numbers of unit vectors, n x d.

        Raises:
            ValueError: eps is to be picked, and is not yet.
        """
        if self.eps is None:
            raise ValueError("eps is None: the doctor picks it, see pick_eps().")
        found = DBSCAN(eps=self.eps, min_samples=self.min_samples, metric="cosine").fit_predict(vectors)
        return np.asarray(found)


def dbscan(eps: float | None = 0.4, min_samples: int = 6) -> Dbscan:
    """Return DBSCAN on cosine distance; the defaults are those of PLD (arXiv 2602.21103).

    Args:
        eps: largest cosine distance of two neighbours; None has it picked for each label.
        min_samples: neighbours that make a point dense, itself included.
    """
    return Dbscan(eps, min_samples)


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
    parts = [parts_of(vectors[group], len(rows), max_share) for group in groups]
    groups = [part for group, count in zip(groups, parts, strict=True) for part in _split(vectors, group, count)]
    return _attached(vectors, groups, noise, attach)


def parts_of(cluster: Floats, n: int, max_share: float) -> int:
    """Return how many parts a cluster of a label's ``n`` micro-rules is split into: if equal, none would be too big.

    Args:
        cluster: the cluster's vectors; equal ones stay together.
        n: micro-rules of the label.
        max_share: as for :func:`groups_of_label`.
    """
    limit = max(int(max_share * n), SMALL)
    if len(cluster) <= limit:
        return 1
    return min(int(np.ceil(len(cluster) / limit)), len(np.unique(cluster.round(6), axis=0)))


def merged(vectors: Floats, groups: Sequence[list[int]], *, similarity: float) -> list[list[int]]:
    """Join groups whose centres are at least this similar: they are one rule said twice."""
    result: list[list[int]] = []
    sums = np.zeros((len(groups), vectors.shape[1]))
    for group in groups:
        total = vectors[group].sum(axis=0)
        nearness = _unit(sums[: len(result)]) @ _unit(total)
        nearest = int(nearness.argmax()) if result else 0
        if result and nearness[nearest] >= similarity:
            result[nearest] += group
        else:
            nearest = len(result)
            result.append(list(group))
        sums[nearest] += total
    return result


def _split(vectors: Floats, group: list[int], parts: int) -> list[list[int]]:
    if parts == 1:
        return [group]
    numbers = KMeans(parts, n_init=4, random_state=0).fit_predict(vectors[group])
    return [[row for row, n in zip(group, numbers, strict=True) if n == part] for part in sorted(set(numbers))]


def _attached(vectors: Floats, groups: list[list[int]], noise: list[int], similarity: float) -> list[list[int]]:
    centres = _unit(np.array([vectors[group].mean(axis=0) for group in groups]))
    result = [list(group) for group in groups]
    for row in noise:
        nearness = centres @ vectors[row]
        if nearness.max() >= similarity:
            result[int(nearness.argmax())].append(row)
    return result


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
