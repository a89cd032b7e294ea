"""Embedders by name, and TF-IDF in languages other than English."""

from importlib.util import find_spec

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pld_dspy import demo
from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.local import embedding
from pld_dspy.local.embedding import MOST_ENCODED, embed, embedder_of, sentence_encoder, tfidf_svd
from pld_dspy.local.language import is_english
from pld_dspy.rules import MicroRule

GERMAN = [
    "Meine Kreditkarte wurde vom Automaten eingezogen.",
    "Der Geldautomat hat die Karte einbehalten!",
    "Wo bleibt die Überweisung an meine Schwester?",
    "Zwei Überweisungen sind bei ihr nicht angekommen.",
]
SPANISH = [
    "El cajero se tragó mi tarjeta de crédito.",
    "¿Por qué los cajeros no devuelven las tarjetas?",
    "La transferencia a mi hermana no ha llegado.",
    "Hice dos transferencias y ninguna ha llegado todavía.",
]


@pytest.fixture(autouse=True)
def packages_are_found(monkeypatch):
    """Other tests do without the encoder, so as not to wait for it."""
    monkeypatch.setattr(embedding, "find_spec", find_spec)


def test_an_embedder_goes_by_name_or_is_a_function():
    assert embedder_of("tfidf") is tfidf_svd
    assert embedder_of("encoder", MOST_ENCODED + 1) is sentence_encoder
    assert embedder_of(len) is len
    with pytest.raises(DataError, match="embedder='bert' is unknown"):
        embedder_of("bert")


def test_auto_is_the_encoder_where_it_is_installed_and_fast_enough(monkeypatch):
    assert embedder_of("auto", MOST_ENCODED) is sentence_encoder
    assert embedder_of("auto", MOST_ENCODED + 1) is tfidf_svd
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    assert embedder_of("auto") is tfidf_svd
    with pytest.raises(DataError, match=r"The sentence encoder is not installed\. Install it"):
        embedder_of("encoder")


def test_the_encoder_gives_the_same_vectors_again():
    texts = ["A lost card", "Wo ist meine Karte?", "dinner"]
    vectors = embed(texts, sentence_encoder)
    assert vectors.shape == (3, 384)
    assert np.array_equal(vectors, embed(texts, sentence_encoder))


@pytest.mark.parametrize("texts", [GERMAN, SPANISH])
def test_words_of_one_family_make_texts_alike_in_other_languages(texts):
    """No two of the texts on one topic share a whole word that is about it."""
    assert not is_english(texts)
    vectors = embed(texts, tfidf_svd)
    similar = vectors @ vectors.T
    assert similar[0, 1] > max(similar[0, 2:])
    assert similar[2, 3] > max(similar[2, :2])


@pytest.mark.parametrize(
    "text", ["If the text is about a lost card, answer card.", "a meeting in the garden", "", "the of and"]
)
def test_english_is_known_by_its_stop_words(text):
    assert is_english([text])


def test_the_same_texts_have_the_same_vectors_on_any_number_of_cores():
    """Sums shared between cores end in other last digits, which would decide between equally near texts."""
    rules = [record.rule for record in read_jsonl(demo.rationales_file(), MicroRule)]
    vectors = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            vectors.append(embed(rules, tfidf_svd))
    assert np.array_equal(*vectors)
