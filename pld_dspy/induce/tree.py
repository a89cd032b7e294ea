"""Tree: clusters from average linkage, cut within a band for their number where they are tightest.

Density has little to go by in short texts: one bridge of common words and most points are one cluster. Average
linkage (UPGMA, Sokal and Michener 1958) asks how like all members of two clusters are, and so does not chain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from sklearn.metrics import silhouette_score

from .cluster import Floats

TRIED = 6
"""Cuts compared within the band."""
JUDGED = 1000
"""Points that a cut is judged by."""
SMALLEST = 3
"""Fewer micro-rules are an accident and no cluster: they are noise, free to join one."""


def tree(points: Floats, weights: NDArray[np.int64], band: tuple[int, int]) -> NDArray[np.int64]:
    """Cluster weighted points by average linkage on cosine distance.

    Args:
        points: unit vectors, m x d; all pairs are compared.
        weights: how many micro-rules each point stands for, m.
        band: least and most clusters; the cut with the best mean silhouette (Rousseeuw 1987) is taken.

    Returns:
        m cluster numbers, -1 for noise.
    """
    if len(points) == 1:  # one text, however often, has no pair to link
        return np.zeros(1, dtype=np.int64)
    merges = linkage(pdist(points, "sqeuclidean"), "average")  # of unit vectors: twice the cosine distance
    low, high = (min(max(2, bound), len(points)) for bound in band)
    counts = sorted(set(np.geomspace(low, high, TRIED).round().astype(int).tolist()))
    cuts = [np.asarray(fcluster(merges, count, "maxclust"), dtype=np.int64) for count in counts]
    best = max(cuts, key=lambda numbers: _tightness(points, numbers))
    sizes = np.bincount(best, weights=weights)
    return np.where(sizes[best] >= SMALLEST, best, -1)


def _tightness(points: Floats, numbers: NDArray[np.int64]) -> float:
    step = -(-len(points) // JUDGED)
    points, numbers = points[::step], numbers[::step]
    if not 1 < len(set(numbers.tolist())) < len(points):
        return -1.0
    return float(silhouette_score(points, numbers))
