"""Which inputs to label next: those that the program is unsure of, far from what is labelled and from one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scoring.f1 import Floats
from .monitor import nearest_distance

LEAST_DOUBT = 1e-3
COPY = 1e-3
"""Cosine distance up to which two texts are the same."""


def choose_to_label(new: Floats, labelled: Floats, confidences: Sequence[float], count: int) -> list[int]:
    """Return the rows of up to ``count`` of m new inputs, the one that tells most first.

    Each time the row is taken whose doubt (1 - confidence) times cosine distance to the nearest text that is labelled
    or was taken is the largest. An input without a confidence counts as doubted in full; copies are left out.

    Args:
        new: unit vectors of the new inputs, m x d.
        labelled: unit vectors of the labelled examples, n x d.
        confidences: m, NaN where unknown; or none.
        count: how many to choose.

    Source: greedy k-center, Sener and Savarese 2018, "Active learning for convolutional neural networks: a core-set
    approach", with each distance weighted by the doubt.
    """
    doubt = np.ones(len(new))
    if len(confidences):
        doubt = np.maximum(1 - np.nan_to_num(np.array(confidences, dtype=np.float64)), LEAST_DOUBT)
    distance, chosen = nearest_distance(new, labelled), list[int]()
    while len(chosen) < count:
        row = int((doubt * np.where(distance > COPY, distance, 0.0)).argmax())
        if distance[row] <= COPY:
            break
        chosen.append(row)
        distance = np.minimum(distance, nearest_distance(new, new[[row]]))
        distance[row] = 0.0  # a text without any known word has no vector
    return chosen
