"""Splits: labels in proportion, groups whole."""

import random
from collections import Counter

import numpy as np
import pytest
from tasks import LABELS, mail, mails

from pld_dspy.errors import DataError
from pld_dspy.task.splits import Splits, normalized, stratified_halves, stratified_order


def test_normalizing_keeps_letters_and_digits_of_any_script():
    assert normalized("  Ünï-Code: 3.5% 日本!") == "ünï code 3 5 日本"


def test_only_splits_that_hold_examples_are_named():
    assert [name for name, _ in Splits(mails(3), mails(3)).non_empty()] == ["train", "validation"]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.8])
def test_the_share_and_the_labels_are_in_proportion(share):
    examples = mails(240)
    first, second = stratified_halves(examples, [one.label for one in examples], range(240), share=share, seed=0)
    assert sorted(one.id for one in first + second) == sorted(one.id for one in examples)
    assert len(second) == pytest.approx(share * 240, abs=240 / 20)
    for label in LABELS:
        assert sum(one.label == label for one in second) == pytest.approx(len(second) / 3, abs=2)


def test_the_parts_keep_the_order_and_follow_the_seed():
    examples = mails(60)
    labels = [one.label for one in examples]
    parts = [stratified_halves(examples, labels, range(60), share=0.4, seed=seed)[1] for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    numbers = [int(one.id[1:]) for one in parts[0]]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", range(8))
def test_no_group_is_ever_split(seed):
    rng = random.Random(seed)
    examples = mails(150)
    groups = [rng.randrange(25) for _ in examples]
    first, second = stratified_halves(examples, [one.label for one in examples], groups, share=0.3, seed=seed)
    group_of = {one.id: group for one, group in zip(examples, groups, strict=True)}
    assert {group_of[one.id] for one in first}.isdisjoint(group_of[one.id] for one in second)
    assert 0.1 < len(second) / 150 < 0.5
    assert set(Counter(one.label for one in second)) == set(LABELS)


def test_too_few_groups_are_named():
    with pytest.raises(DataError, match=r"share of 0.4 out of 9 examples in 1 groups"):
        stratified_halves(mails(9), ["spam"] * 9, [1] * 9, share=0.4, seed=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n", [6, 12, 30, 90])
def test_few_examples_and_a_rare_label_are_no_obstacle(n):
    examples = [*mails(n), mail(99, "rare", "x")]
    first, second = stratified_halves(examples, [one.label for one in examples], range(n + 1), share=0.4, seed=0)
    assert len(first) + len(second) == n + 1
    assert 0.3 < len(second) / (n + 1) < 0.6


def test_labels_with_one_example_each_cannot_be_shared_out():
    with pytest.raises(DataError, match="more examples"):
        stratified_halves(mails(3), ["a", "b", "c"], range(3), share=0.4, seed=0)


@pytest.mark.parametrize("seed", range(5))
def test_every_stretch_of_a_stratified_order_has_the_labels_in_proportion(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(["a", "b", "c"], size=120, p=[0.6, 0.3, 0.1]).tolist()
    order = stratified_order(labels, rng)
    assert sorted(order.tolist()) == list(range(120))
    for label in set(labels):
        share = labels.count(label) / 120
        hits = np.array([labels[row] == label for row in order]).cumsum()
        assert np.abs(hits - share * np.arange(1, 121)).max() <= 2
    assert not np.array_equal(order, stratified_order(labels, rng)), "it is random"
    assert stratified_order([], rng).tolist() == []
