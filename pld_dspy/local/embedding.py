"""Embedding: texts to unit vectors, offline by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from ..errors import DataError

Floats = NDArray[np.float64]
Embedder = Callable[[list[str]], Any]
"""n texts -> n vectors; a ``dspy.Embedder`` is one."""


def tfidf_svd(texts: list[str]) -> Floats:
    """Return vectors by latent semantic analysis: TF-IDF of words and word pairs, then SVD to 50 components or 100."""
    common = 0.5 if len(texts) >= 10 else 1.0  # words of most texts (the label, "if") say nothing about the topic
    vectorizer = TfidfVectorizer(  # max_features bounds the memory for any number of texts
        sublinear_tf=True, ngram_range=(1, 2), stop_words="english", max_df=common, max_features=100_000
    )
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # stop words only: the texts do not differ in topic
        return np.ones((len(texts), 1))
    # More texts have more topics.
    components = min(50 if len(texts) <= 2000 else 100, matrix.shape[0] - 1, matrix.shape[1] - 1)
    if components < 1:
        return np.asarray(matrix.toarray())
    return np.asarray(TruncatedSVD(components, random_state=0).fit_transform(matrix))


def embed(texts: Sequence[str], embedder: Embedder) -> Floats:
    """Return the unit vectors of n texts, n x d."""
    vectors = np.asarray(embedder(list(texts)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise DataError(
            f"The embedder returned an array of shape {vectors.shape} for {len(texts)} texts. It must return one "
            "finite vector per text."
        )
    return np.asarray(normalize(vectors))
