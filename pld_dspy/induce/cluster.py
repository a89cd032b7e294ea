"""Cluster: ways to find groups of similar vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from sklearn.cluster import DBSCAN, HDBSCAN, MiniBatchKMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import normalize

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Clusterer: TypeAlias = Callable[[Floats], Ints]
"""n x d unit vectors -> n cluster numbers, -1 for noise."""

FEW = 8
"""So few micro-rules of a label stay apart: one rule of all of them says less than each does (docs/results.md)."""
JUDGED = 1000
"""Most points by which average linkage compares numbers of clusters."""
SMALLEST = 3
"""Fewer micro-rules than this are noise to average linkage, and may join a cluster."""
MOST = 3000
"""Most different points of one label that are compared pair by pair."""
CELLS = 1000
"""Neighbourhoods that stand for more points than that."""


def hdbscan(vectors: Floats) -> Ints:
    """HDBSCAN (Campello et al. 2013); the smallest cluster grows with the square root of n. A ``FEW`` stay apart."""
    if len(vectors) <= FEW:
        return np.arange(len(vectors))
    smallest = max(2, round(np.sqrt(len(vectors)) / 2))
    return np.asarray(HDBSCAN(min_cluster_size=smallest, min_samples=1, copy=True).fit_predict(vectors))


def dbscan(eps: float = 0.4, min_samples: int = 6) -> Clusterer:
    """Return DBSCAN (Ester et al. 1996) on cosine distance; the defaults are those of PLD (arXiv 2602.21103)."""

    def clusterer(vectors: Floats) -> Ints:
        return np.asarray(DBSCAN(eps=eps, min_samples=min_samples, metric="cosine").fit_predict(vectors))

    clusterer.__name__ = f"dbscan(eps={eps:g}, min_samples={min_samples})"  # as config.yaml has it
    return clusterer


def average_linkage(points: Floats, weights: Ints, band: tuple[int, int]) -> Ints:
    """Cluster m unit vectors by average linkage (UPGMA, Sokal and Michener 1958) on cosine distance; -1 is noise.

    Density-based methods chain short texts, which share few words, into one cluster. Average linkage does not, since
    it compares all members of two clusters. Of the numbers of clusters within ``band``, the one with the best mean
    silhouette (Rousseeuw 1987) is taken. ``weights`` says how many micro-rules each vector stands for.
    """
    if len(points) == 1:  # no pair to link
        return np.zeros(1, dtype=np.int64)
    merges = linkage(pdist(points, "sqeuclidean"), "average")  # of unit vectors: twice the cosine distance
    low, high = (min(max(2, bound), len(points)) for bound in band)
    counts = sorted(set(np.geomspace(low, high, 6).round().astype(int).tolist()))
    step = -(-len(points) // JUDGED)

    def tightness(numbers: Ints) -> float:
        judged = numbers[::step]
        if not 1 < len(set(judged.tolist())) < len(judged):
            return -1.0
        return float(silhouette_score(points[::step], judged))

    best = max((np.asarray(fcluster(merges, count, "maxclust"), dtype=np.int64) for count in counts), key=tightness)
    sizes = np.bincount(best, weights=weights)
    return np.where(sizes[best] >= SMALLEST, best, -1)


def condense(vectors: Floats) -> tuple[Floats, Ints, Ints]:
    """Represent n unit vectors by m, few enough to compare all pairs: these, their weights, and n indices into them.

    Up to ``MOST`` vectors stand for themselves. Beyond, equal ones are one point; if these are still more than
    ``MOST``, k-means on small batches (Sculley 2010) finds ``CELLS`` neighbourhoods, whose centres are the points.
    Time and memory grow with n, not with its square.
    """
    if len(vectors) <= MOST:
        return vectors, np.ones(len(vectors), dtype=np.int64), np.arange(len(vectors))
    points, owners, weights = np.unique(
        vectors.round(6), axis=0, return_inverse=True, return_counts=True
    )  # rounded, since vectors of equal texts may differ in the last bit
    owners = owners.reshape(-1)
    if len(points) > MOST:
        cells = MiniBatchKMeans(CELLS, batch_size=4096, n_init=1, random_state=0)
        _, cell_of_point = np.unique(cells.fit(points, sample_weight=weights).predict(points), return_inverse=True)
        owners = cell_of_point[owners]
        weights = np.bincount(owners)
        points = np.zeros((len(weights), vectors.shape[1]))
        np.add.at(points, owners, vectors)
    return np.asarray(normalize(points)), weights.astype(np.int64), owners.astype(np.int64)
