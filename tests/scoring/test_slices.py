"""Figures by slice: a slice's figures are those of its examples alone."""

import random

import pytest

from pld_dspy.scoring.score import score
from pld_dspy.scoring.slices import score_slices
from pld_dspy.task.labels import NO_LABEL

LABELS = ("a", "b", "c")


def test_a_slice_is_scored_as_its_examples_alone_over_the_labels_that_it_has() -> None:
    rng = random.Random(0)
    values = [rng.choice(["x", "y"]) for _ in range(80)]
    golds = [rng.choice("ab" if value == "x" else LABELS) for value in values]
    answers = [rng.choice([gold, gold, *LABELS, None]) for gold in golds]

    found = {one.value: one for one in score_slices(values, golds, answers, LABELS, seed=3)}

    for value, labels in (("x", ("a", "b")), ("y", LABELS)):
        rows = [row for row, one in enumerate(values) if one == value]
        alone = score([golds[row] for row in rows], [answers[row] for row in rows], labels, seed=3)
        own = found[value]
        assert (own.n, own.accuracy) == (alone.n, alone.accuracy)
        assert own.macro_f1 == pytest.approx(alone.macro_f1)
        assert own.interval == pytest.approx(alone.interval, abs=0.02)  # other draws of the bootstrap
        assert own.labels == {label: one.n for label, one in alone.per_label.items()}


def test_values_with_fewer_than_ten_examples_are_pooled_behind_the_others() -> None:
    values = ["few"] * 9 + ["other"] * 10 + ["many"] * 11 + ["one"]

    found = score_slices(values, ["a"] * 31, ["a"] * 31, LABELS)

    assert [(one.value, one.pooled, one.n) for one in found] == [
        ("many", (), 11),
        ("other", (), 10),
        ("other", ("few", "one"), 10),
    ]


def test_a_further_label_is_wrong_and_takes_nothing_from_the_labels_that_are_right() -> None:
    (found,) = score_slices(["x"] * 10, ["a"] * 10, ["a, b"] * 10, LABELS)

    assert (found.macro_f1, found.accuracy) == (1.0, 0.0)


def test_examples_without_any_label_have_no_macro_f1() -> None:
    (found,) = score_slices(["x"] * 10, [NO_LABEL] * 10, [NO_LABEL] * 10, LABELS)

    assert (found.macro_f1, found.interval, found.accuracy, found.labels) == (None, None, 1.0, {})
