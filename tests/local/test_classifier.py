"""The embedders and the classifier on their vectors."""

import numpy as np
import pytest
from tasks import LABELS, mails

from pld_dspy.local import embedding
from pld_dspy.local.classifier import FLOOR, Note, TextClassifier, vote
from pld_dspy.local.embedding import HALF, embed, fitted, sentence_encoder, tfidf_svd

KNOWN, NEW = mails(36), mails(24, start=100)


def of(examples, field):
    return [example[field] for example in examples]


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return TextClassifier.of(of(KNOWN, "text"), of(KNOWN, "label"), LABELS, tfidf_svd)


def test_it_learns_the_keywords_from_labels_alone(classifier):
    assert classifier.predict(of(NEW, "text")) == of(NEW, "label")
    near = classifier.nearest(classifier.embed(of(NEW, "text")), 5)
    assert near.shape == (24, 5)
    assert vote(classifier.golds, near) == of(NEW, "label")


def test_log_probabilities_add_up_and_a_label_without_examples_has_the_least():
    known = TextClassifier.of(of(KNOWN, "text"), of(KNOWN, "label"), (*LABELS, "other"), tfidf_svd)
    found = known.log_probabilities(known.embed(of(NEW, "text")))
    assert np.exp(found[:, :3]).sum(axis=1) == pytest.approx(1.0, abs=1e-3)
    assert (found[:, 3] == FLOOR).all()
    assert (found >= FLOOR).all()


def test_a_part_learns_from_its_rows_alone(classifier):
    spam = [row for row, gold in enumerate(classifier.golds) if gold == "spam"]
    assert set(classifier.part(spam).predict(of(NEW, "text"))) == {"spam"}


def test_out_of_fold_no_text_is_judged_by_a_classifier_that_saw_its_copy():
    """Two copies of each text with contrary labels: whoever saw the copy would be surely wrong or surely right."""
    texts = [f"note about {word}" for word in ("soup", "bread", "goal", "coach", "oven", "team") for _ in range(2)]
    found = TextClassifier.of(texts, ["a", "b"] * 6, ("a", "b"), tfidf_svd).out_of_fold(texts)
    assert np.exp(found) == pytest.approx(0.5, abs=0.05)


TOPICS = np.eye(4)
"""Unit vectors of four topics that share nothing."""


def noted(**more) -> TextClassifier:
    """Texts of topics 0 and 1 with the labels a and b, and the notes that ``more`` has."""
    return TextClassifier(("a", "b"), ("a", "b") * 3, TOPICS[[0, 1] * 3], tfidf_svd, **more)


def test_a_note_teaches_what_no_text_shows():
    plain, taught = noted(), noted(about=(1,), notes=TOPICS[[2]])
    assert np.exp(plain.log_probabilities(TOPICS[[2]])) == pytest.approx(0.5, abs=1e-3)
    assert np.exp(taught.log_probabilities(TOPICS[[2]]))[0, 1] > 0.9, "the note is about a text of b"
    assert taught.nearest(TOPICS[[2]], 6).max() < 6, "a note is no neighbour"
    np.testing.assert_array_equal(taught.votes(TOPICS[[2]], 3), plain.votes(TOPICS[[2]], 3))


def test_all_notes_about_a_text_weigh_as_much_as_the_text():
    one, three, spread = (
        noted(about=about, notes=TOPICS[[2] * len(about)]).log_probabilities(TOPICS[[2]])[0, 1]
        for about in ((1,), (1, 1, 1), (1, 3, 5))
    )
    assert one == pytest.approx(three, abs=1e-4)
    assert spread > one + 0.005


def test_notes_are_put_into_the_space_of_the_texts():
    notes = [Note(row, f"{word} is {label}") for row, (word, label) in enumerate([("coach", "b"), ("oven", "a")])]
    texts = ["a goal of the team", "soup and bread", "the team and its goal", "bread in the soup"]
    for embedder in (tfidf_svd, lambda texts: np.array([[1.0, *map(text.count, "aeiou")] for text in texts])):
        found = TextClassifier.of(texts, ["b", "a"] * 2, ("a", "b"), embedder, notes=notes)
        assert found.notes.shape == (2, found.vectors.shape[1])
        assert found.about == (0, 1)


def test_fewer_examples_of_each_label_than_folds_are_no_error():
    texts = [f"note about {word}" for word in ("soup", "bread", "oven", "goal", "coach", "team")]
    found = TextClassifier.of(texts, ["a"] * 3 + ["b"] * 3, ("a", "b"), tfidf_svd).out_of_fold(texts)
    assert found.shape == (6, 2)
    assert np.exp(found).sum(axis=1) == pytest.approx(1)
    single = TextClassifier.of(texts[2:4], ["a", "b"], ("a", "b"), tfidf_svd).out_of_fold(texts[2:4])
    assert np.exp(single) == pytest.approx(0.5)


def test_one_group_or_one_label_or_one_text_is_no_error():
    one = TextClassifier.of(["soup"], ["a"], ("a", "b"), tfidf_svd)
    assert one.predict(["bread", ""]) == ["a", "a"]
    assert np.exp(one.out_of_fold(["soup"])) == pytest.approx(0.5)


def test_votes_of_equals_go_to_the_nearest():
    assert vote(["a", "b", "b", "c"], np.array([[0, 1, 2], [3, 0, 1]])) == ["b", "c"]


def test_tfidf_puts_further_texts_into_the_same_space():
    vectors, further = fitted(tfidf_svd, of(KNOWN, "text"))
    assert further(of(KNOWN, "text")[:3]).shape == (3, vectors.shape[1])
    assert embed(of(KNOWN, "text")[:3], further) == pytest.approx(vectors[:3])


@pytest.mark.parametrize("texts", [["the", "and"], ["soup", "soup"], ["soup"]])
def test_texts_that_say_little_have_vectors_too(texts):
    vectors, further = fitted(tfidf_svd, texts)
    assert np.isfinite(vectors).all()
    assert embed(["bread"], further).shape == (1, vectors.shape[1])


def test_the_encoder_reads_meaning_and_both_ends_of_a_long_text():
    embedding._e5.cache_clear()
    texts = ["The card was swallowed by the machine.", "The ATM kept my card.", "The soup was cold."]
    card, machine, soup = embed(texts, sentence_encoder)
    assert len(card) == 384
    assert card @ machine > card @ soup
    long = "a" * HALF + "b" * HALF
    ends = [f"{long} middle {long}", f"{long} other {long}", f"{long} middle {long[:-1]}c"]
    vectors = embed(ends, sentence_encoder)
    assert vectors[0] == pytest.approx(vectors[1])
    assert vectors[0] != pytest.approx(vectors[2])
