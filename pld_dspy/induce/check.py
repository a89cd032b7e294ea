"""Check: is a label's clustering sound? If not, it is clustered again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError
from .cluster import Floats, Ints, average_linkage, condense
from .induce_config import InduceConfig

ENOUGH = 100
"""Labels with fewer micro-rules are not checked: a poor clustering costs them a few rules, and the search finds out."""
MOST_SHARE = 0.5
"""A cluster with more than this share of its label swallows the others."""
MOST_NOISE = 0.2
"""A clustering with more than this share of noise is not sound."""


@dataclass
class ClusterCheck:
    """Cluster each label; cluster again if the result is unsound."""

    config: InduceConfig
    findings: dict[str, list[str]] = field(default_factory=dict)
    """What was found or done (a key of ``result.FINDINGS``) -> the labels, each with details."""

    def cluster(self, label: str, vectors: Floats) -> Ints:
        """Return the cluster numbers of a label's n vectors, -1 for noise, by the clusterer if these are sound."""
        points, weights, owners = condense(vectors)
        if len(points) < len(vectors):
            self.note("compacted", f"{label} ({len(vectors)} as {len(points)})")
        numbers = np.asarray(self.config.clusterer(points))
        if numbers.shape != weights.shape:
            raise DataError(
                f"The clusterer gave an array of shape {numbers.shape} for {len(points)} vectors of the label "
                f"{label!r}. It must give one cluster number per vector, -1 for noise."
            )
        if self.config.band is not None and len(vectors) >= ENOUGH:
            band = cluster_band(len(vectors), self.config.band)
            most_share = max(MOST_SHARE, self.config.max_share)
            if problem := clustering_problem(numbers, weights, band=band, most_share=most_share):
                numbers = average_linkage(points, weights, band)
                self.note("regrouped", f"{label} ({problem})")
        return numbers[owners]

    def note(self, finding: str, details: str) -> None:
        """Add a label with details to a finding."""
        self.findings.setdefault(finding, []).append(details)


def cluster_band(n: int, band: tuple[float, float]) -> tuple[int, int]:
    """Return the fewest and the most clusters wanted for ``n`` micro-rules; at least 1."""
    low, high = (max(1, round(multiple * float(np.sqrt(n)))) for multiple in band)
    return low, high


def clustering_problem(numbers: Ints, weights: Ints, *, band: tuple[int, int], most_share: float) -> str | None:
    """Return what is wrong with m cluster numbers (-1: noise) of points that stand for ``weights`` micro-rules each."""
    n = int(weights.sum())
    sizes = np.bincount(numbers[numbers >= 0], weights=weights[numbers >= 0])
    sizes = sizes[sizes > 0]
    if sizes.sum() < (1 - MOST_NOISE) * n:
        return f"{1 - sizes.sum() / n:.0%} noise"
    if sizes.max() > most_share * n:
        return f"one cluster of {sizes.max() / n:.0%}"
    if len(sizes) > band[1]:
        return f"{len(sizes)} fragments"
    return f"{len(sizes)} clusters" if len(sizes) < band[0] else None
