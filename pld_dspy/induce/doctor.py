"""Doctor: look at a label's clusters before rules are made of them, and treat what is sick.

Counts alone tell a sick clustering, so a label needs ``ENOUGH`` micro-rules to be judged: below that a poor
clustering costs a few rules, and the search finds out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .cluster import Clusterer, Dbscan, Floats, parts_of
from .compact import compact
from .eps import pick_eps
from .tree import tree

ENOUGH = 100
"""Micro-rules of a label from which on its clusters are judged by counts."""
LUMP = 0.5
"""A cluster with more than this share of its label swallows it."""
NOISE = 0.2
"""A clusterer that finds no place for more than this share has not understood the label."""
BAND = (0.5, 2.0)
"""Clusters wanted of a label, least and most, as multiples of the square root of its micro-rules."""


@dataclass
class Doctor:
    """Judges and treats the clusters of one label after the other.

    Attributes:
        band: as ``BAND``; None treats nothing.
        max_share: a cluster with more than this share of its label's micro-rules will be split.
        findings: what was found or done (a key of ``diagnosis.FINDINGS``) -> the labels, with what there is to say.
    """

    band: tuple[float, float] | None
    max_share: float
    findings: dict[str, list[str]] = field(default_factory=dict)

    def clusterer(self, label: str, wanted: Clusterer) -> Clusterer:
        """Return ``wanted`` under the doctor's eyes, for the micro-rules of ``label``.

        Called, it raises a DataError where ``wanted`` gives anything but one number a vector.
        """
        return partial(self._clustered, label, wanted)

    def _clustered(self, label: str, wanted: Clusterer, vectors: Floats) -> NDArray[np.int64]:
        small = compact(vectors)
        if len(small.points) < len(vectors):
            self._found("compacted", f"{label} ({len(vectors)} as {len(small.points)})")
        if isinstance(wanted, Dbscan) and wanted.eps is None:
            band = wanted_clusters(len(vectors), self.band or BAND)
            wanted = replace(wanted, eps=pick_eps(small.points, min_samples=wanted.min_samples, band=band))
            self._found("eps", f"{label} ({wanted.eps:.2f})")
        numbers = np.asarray(wanted(small.points))
        if numbers.shape != small.weights.shape:
            raise DataError(
                f"The clusterer gave an array of shape {numbers.shape} for {len(small.points)} vectors of the label "
                f"{label!r}. It must give one cluster number a vector, -1 for noise."
            )
        if self.band is not None and len(vectors) >= ENOUGH:
            wanted_here = wanted_clusters(len(vectors), self.band)
            sick = symptom(numbers, small.weights, band=wanted_here, lump=max(LUMP, self.max_share))
            if sick:
                numbers = tree(small.points, small.weights, wanted_here)
                self._found("regrouped", f"{label} ({sick})")
        return self._noted(label, vectors, numbers[small.owners])

    def _noted(self, label: str, vectors: Floats, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Note what :func:`groups_of_label` will do with clusters that are too big, or with nothing but noise."""
        n = len(numbers)
        sizes = np.bincount(numbers[numbers >= 0])
        split = [
            number for number in np.flatnonzero(sizes) if parts_of(vectors[numbers == number], n, self.max_share) > 1
        ]
        if not len(sizes):
            self._found("rescued", f"{label} ({n})")
        if split:
            self._found("split", f"{label} ({sizes[split].max()} of {n})")
        return numbers

    def _found(self, what: str, about: str) -> None:
        self.findings.setdefault(what, []).append(about)


def wanted_clusters(n: int, band: tuple[float, float]) -> tuple[int, int]:
    """Return the least and the most clusters wanted of ``n`` micro-rules; at least 1."""
    low, high = (max(1, round(multiple * float(np.sqrt(n)))) for multiple in band)
    return low, high


def symptom(
    numbers: NDArray[np.int64], weights: NDArray[np.int64], *, band: tuple[int, int], lump: float
) -> str | None:
    """Say what is wrong with a clustering; None where nothing is.

    Args:
        numbers: m cluster numbers, -1 for noise.
        weights: how many micro-rules each point stands for, m.
        band: least and most clusters wanted.
        lump: a cluster with more than this share of all swallows the rest.
    """
    n = int(weights.sum())
    sizes = np.bincount(numbers[numbers >= 0], weights=weights[numbers >= 0])
    sizes = sizes[sizes > 0]
    if sizes.sum() < (1 - NOISE) * n:
        return f"{1 - sizes.sum() / n:.0%} noise"
    if sizes.max() > lump * n:
        return f"one cluster of {sizes.max() / n:.0%}"
    if len(sizes) > band[1]:
        return f"{len(sizes)} fragments"
    if len(sizes) < band[0]:
        return f"{len(sizes)} clusters"
    return None
