"""Figures over a whole set, checked against scikit-learn and against what they must mean."""

import random
import time

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from pld_dspy.errors import DataError
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.scoring.score import score

LABELS = ("a", "b", "c", "never")
UNKNOWN = "unknown"


def draw(rng: random.Random, n: int, right: float, labels: tuple[str, ...] = LABELS[:3]) -> tuple[list, list]:
    """Gold labels, and answers of which a share ``right`` is right and some are missing or unknown."""
    golds = [rng.choice(labels) for _ in range(n)]
    answers = [gold if rng.random() < right else rng.choice([*labels, "never", None, UNKNOWN]) for gold in golds]
    return golds, answers


@pytest.mark.parametrize("seed", range(40))
def test_figures_equal_scikit_learns_with_failed_rows(seed):
    rng = random.Random(seed)
    golds, answers = draw(rng, rng.randint(1, 60), rng.random())
    given = [answer or "" for answer in answers]
    expected = f1_score(golds, given, labels=list(LABELS), average="macro", zero_division=0)
    found = score(golds, answers, LABELS)

    assert macro_f1(golds, answers, LABELS) == pytest.approx(expected)
    assert (found.macro_f1, found.objective) == (pytest.approx(expected), pytest.approx(expected))
    assert found.accuracy == pytest.approx(accuracy_score(golds, given))
    assert (found.n, found.failures) == (len(golds), answers.count(None))
    columns = precision_recall_fscore_support(golds, given, labels=list(LABELS), zero_division=0)
    for label, (precision, recall, f1, n) in zip(LABELS, zip(*columns, strict=True), strict=True):
        row = found.per_label[label]
        assert (row.precision, row.recall, row.f1, row.n) == pytest.approx((precision, recall, f1, n))


def test_confusion_counts_every_row_with_failures_apart():
    found = score(["a", "a", "a", "b"], ["a", "b", None, "b"], ("a", "b"))
    assert found.confusion == {"a": {"a": 1, "b": 1, "(none)": 1}, "b": {"b": 1}}


def test_a_label_without_examples_counts_as_zero_so_that_subsets_compare():
    assert macro_f1(["a", "b"], ["a", "b"], ("a", "b", "c")) == pytest.approx(2 / 3)


def test_nothing_to_score_is_an_error():
    with pytest.raises(DataError, match="no examples to score"):
        score([], [], LABELS)


def test_the_users_objective_is_kept_beside_macro_f1():
    assert score(["a"], ["a"], ("a",), objective=0.25).objective == 0.25


def test_the_interval_brackets_the_figure_and_narrows_with_n():
    widths = []
    for n in (30, 120, 480):
        found = score(*draw(random.Random(0), n, 0.7), LABELS[:3])
        low, high = found.interval
        assert low < found.macro_f1 < high
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1] > 2.25 * widths[2]


def coverage(labels: int, n: int, right: float, *, samples: int) -> float:
    """Share of intervals that hold the true macro-F1.

    Labels are equally frequent and wrong answers any other label: recall, precision and F1 of all are ``right``.
    """
    names = tuple(f"label {number}" for number in range(labels))
    held = 0
    for seed in range(samples):
        rng = np.random.default_rng(seed)
        golds = rng.integers(labels, size=n)
        missed = (golds + rng.integers(1, labels, size=n)) % labels
        answers = np.where(rng.random(n) < right, golds, missed)
        low, high = score([names[gold] for gold in golds], [names[answer] for answer in answers], names).interval
        held += low <= right <= high
    return held / samples


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    assert coverage(3, 150, 0.7, samples=100) >= 0.9


def test_it_does_with_so_many_labels_that_resamples_miss_some():
    """Plain percentiles, which lie below the figure as the figure lies below the truth, hold it 4 times in 10."""
    assert coverage(77, 400, 0.8, samples=24) >= 0.9


def test_it_does_where_mistakes_are_few():
    """Plain percentiles hold it 8 times in 10: where no mistake was seen, they have no width."""
    assert coverage(2, 60, 0.97, samples=100) >= 0.9


def test_a_rare_label_is_not_certain_however_it_was_answered():
    always_right = ["a"] * 39 + ["b"]
    low, high = score(always_right, always_right, ("a", "b")).interval
    assert low < 0.75
    assert high == 1.0
    golds = ["a"] * 97 + ["b"] * 3
    never_right = score(golds, ["a"] * 100, ("a", "b"))
    assert never_right.interval[1] > 0.55 > 0.5 > never_right.macro_f1


def test_a_label_that_is_neither_gold_nor_answered_adds_no_uncertainty():
    golds, answers = draw(random.Random(3), 150, 0.7)
    answers = [None if answer == "never" else answer for answer in answers]
    low, high = score(golds, answers, LABELS[:3]).interval
    assert score(golds, answers, LABELS).interval == pytest.approx((low * 3 / 4, high * 3 / 4))


@pytest.mark.parametrize("right", [0.55, 0.8])
def test_with_few_large_labels_the_interval_is_that_of_percentiles(right):
    golds, answers = draw(random.Random(4), 400, right)
    numbers = {label: number for number, label in enumerate(LABELS[:3])}
    table = np.zeros((3, 4), dtype=int)
    for gold, answer in zip(golds, answers, strict=True):
        table[numbers[gold], numbers.get(answer, 3)] += 1
    drawn = np.random.default_rng(0).multinomial(400, table.ravel() / 400, size=4000).reshape(-1, 3, 4)
    hits = drawn[:, range(3), range(3)]
    f1 = 2 * hits / (drawn.sum(axis=2) + drawn[:, :, :3].sum(axis=1))
    expected = np.quantile(f1.mean(axis=1), [0.025, 0.975])
    assert score(golds, answers, LABELS[:3]).interval == pytest.approx(expected, abs=0.006)


def test_where_no_label_is_gold_the_interval_is_zero():
    assert score(["no label"] * 3, ["a", None, "no label"], ("a", "b")).interval == (0.0, 0.0)


def test_seeds_repeat_the_interval():
    golds, answers = draw(random.Random(1), 50, 0.6)
    intervals = [score(golds, answers, LABELS, seed=seed).interval for seed in (0, 0, 1)]
    assert intervals[0] == intervals[1] != intervals[2]


def paired(n: int, before: float, after: float) -> tuple[list, list, list]:
    rng = random.Random(5)
    golds, old = draw(rng, n, before)
    return golds, old, [gold if rng.random() < after else answer for gold, answer in zip(golds, old, strict=True)]


def test_a_real_difference_is_significant():
    golds, old, new = paired(150, 0.5, 0.5)
    found = difference(golds, old, new, LABELS[:3])
    assert found.macro_f1 == pytest.approx(macro_f1(golds, new, LABELS[:3]) - macro_f1(golds, old, LABELS[:3]))
    assert found.p_value < 0.001
    assert 0 < found.interval[0] < found.macro_f1 < found.interval[1]


def test_a_handful_of_differing_answers_leaves_the_interval_too_narrow():
    golds = ["a", "b"] * 40
    worse = [*"baba", *golds[4:]]  # four answers fewer are right: by tossing coins, that happens once in eight
    found = difference(golds, golds, worse, ("a", "b"))
    assert found.interval[1] < 0 < 0.05 < found.p_value == pytest.approx(1 / 8, abs=0.02)
    assert found.rests_on_few
    more = [*"bababababa", *golds[10:]]
    assert not difference(golds, golds, more, ("a", "b")).rests_on_few
    assert not difference(golds, golds, golds, ("a", "b")).rests_on_few


def test_no_difference_is_not():
    golds, old = draw(random.Random(0), 150, 0.6)
    _, other = draw(random.Random(1), 150, 0.6)
    shuffled = [
        gold if rng < 0.6 else answer
        for gold, answer, rng in zip(golds, other, np.random.default_rng(2).random(150), strict=True)
    ]
    found = difference(golds, old, shuffled, LABELS[:3])
    assert found.p_value > 0.05
    assert found.interval[0] < 0 < found.interval[1]
    same = difference(golds, old, old, LABELS[:3])
    assert (same.macro_f1, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_the_p_value_of_equal_students_is_uniform():
    """Where the two answers of an example are exchangeable, one test in ten has p < 0.1."""
    values = []
    for seed in range(80):
        rng = random.Random(seed)
        golds, old = draw(rng, 60, 0.6)
        new = [gold if rng.random() < 0.6 else "a" for gold in golds]
        swaps = [rng.random() < 0.5 for _ in golds]
        first, second = zip(
            *((b, a) if swap else (a, b) for a, b, swap in zip(old, new, swaps, strict=True)), strict=True
        )
        values.append(difference(golds, first, second, LABELS[:3], seed=seed).p_value)
    assert 1 <= sum(value < 0.1 for value in values) <= 18
    assert 0.35 < np.mean(values) < 0.65


def test_the_difference_of_accuracy_is_that_of_the_answers_only_one_gets_right():
    golds = ["a"] * 50 + ["b"] * 50
    before = ["a"] * 60 + [None] * 10 + ["b"] * 30
    after = ["a"] * 55 + ["b"] * 35 + ["a"] * 10
    found = difference(golds, before, after, ("a", "b")).accuracy
    assert found.value == pytest.approx(accuracy_score(golds, after) - 0.8) == pytest.approx(0.05)
    rng = np.random.default_rng(1)
    change = np.array([(new == gold) - (old == gold) for gold, old, new in zip(golds, before, after, strict=True)])
    low, high = np.quantile([rng.choice(change, 100).mean() for _ in range(4000)], (0.025, 0.975))
    assert found.interval == pytest.approx((low, high), abs=0.015)
    assert found.p_value == pytest.approx(binomtest(15, 25).pvalue)
    back = difference(golds, after, before, ("a", "b")).accuracy
    assert (back.value, back.p_value) == (pytest.approx(-found.value), found.p_value)
    same = difference(golds, golds, golds, ("a", "b")).accuracy
    assert (same.value, same.interval, same.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_differences_are_antisymmetric():
    golds, old, new = paired(80, 0.6, 0.1)
    forth, back = difference(golds, old, new, LABELS), difference(golds, new, old, LABELS)
    assert forth.macro_f1 == pytest.approx(-back.macro_f1)
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=0.02)
    assert forth.p_value == pytest.approx(back.p_value, abs=0.03)


def test_77_labels_and_400_rows_take_less_than_a_second():
    rng = random.Random(0)
    labels = tuple(f"label {number}" for number in range(77))
    golds, old = draw(rng, 400, 0.8, labels)
    _, new = draw(rng, 400, 0.8, labels)
    started = time.thread_time()
    score(golds, old, labels)
    difference(golds, old, new, labels)
    assert time.thread_time() - started < 1.0
