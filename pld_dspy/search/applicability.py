"""Which examples a rule is about, by their likeness to the examples behind the rule; no student call is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..local.embedding import Embedder, embed, tfidf_svd
from ..rules import Rule


def applicability(
    rules: Sequence[Rule],
    texts_by_id: Mapping[str, str],
    texts: Sequence[str],
    embedder: Embedder = tfidf_svd,
) -> NDArray[np.float64]:
    """Return n x K cosine similarities in [0, 1] of n texts to the nearest example that supports each of K rules.

    ``texts_by_id`` holds the training examples' input texts; a rule without support gets 0.
    """
    ids = list(texts_by_id)
    vectors = embed([*texts_by_id.values(), *texts], embedder)
    known, new = vectors[: len(ids)], vectors[len(ids) :]
    near = np.clip(new @ known.T, 0.0, 1.0)
    row_of = {example_id: row for row, example_id in enumerate(ids)}
    columns = []
    for rule in rules:
        rows = [row_of[example_id] for example_id in rule.support if example_id in row_of]
        columns.append(near[:, rows].max(axis=1) if rows else np.zeros(len(texts)))
    return np.stack(columns, axis=1)
