"""What the labels alone give: the figures, the learning curve, and what is said about them."""

import json

import numpy as np
import pytest
from tasks import LABELS, mails

from pld_dspy.local.embedding import tfidf_svd
from pld_dspy.scoring import baselines
from pld_dspy.scoring.baselines import (
    CLASSIFIER,
    DRAWS,
    MAJORITY,
    NEIGHBOURS,
    SHARES,
    Baseline,
    Baselines,
    score_baselines,
)
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.scoring.score import score

KNOWN, NEW = mails(40), mails(24, start=100)


@pytest.fixture(autouse=True)
def all_draws(monkeypatch):
    """The curve as users see it, not the one of the other tests."""
    monkeypatch.setattr(baselines, "DRAWS", DRAWS)
    monkeypatch.setattr(baselines, "SHARES", SHARES)


def scored(known=KNOWN, new=NEW, labels=LABELS, **settings):
    return score_baselines(
        [one.text for one in known],
        [one.label for one in known],
        new_texts=[one.text for one in new],
        new_golds=[one.label for one in new],
        labels=labels,
        **{"split": "test", "embedder": tfidf_svd, **settings},
    )


def drawn(curve, *, right=0.7, student=None, n=200):
    """Baselines whose classifier is right on a share of n examples of two labels; its student on another share."""
    golds = ["a", "b"] * (n // 2)

    def answers(share):
        return [gold if row < share * n else "ab"["ba".index(gold)] for row, gold in enumerate(golds)]

    rows = tuple(
        Baseline(name=name, answers=tuple(found), score=score(golds, found, ("a", "b")))
        for name, found in ((CLASSIFIER, answers(right)), (NEIGHBOURS, answers(0.6)), (MAJORITY, ["a"] * n))
    )
    found = Baselines(split="test", labels=curve[-1][0], embedder="own", rows=rows, curve=curve)
    if student is None:
        return found
    given = answers(student)
    return found.compared(score(golds, given, ("a", "b")), given, golds=golds, labels=("a", "b"), seed=0)


CURVE = ((10, 0.4), (20, 0.5), (40, 0.6), (80, 0.7))


def test_three_ways_are_scored_on_the_new_texts():
    found = scored()
    assert [row.name for row in found.rows] == [CLASSIFIER, NEIGHBOURS, MAJORITY]
    assert (found.split, found.labels, found.embedder) == ("test", 40, "tfidf_svd")
    assert found[CLASSIFIER].score.macro_f1 == found[NEIGHBOURS].score.macro_f1 == 1.0
    assert set(found[MAJORITY].answers) == {"spam"}, "14 of 40"
    assert found[MAJORITY].score.macro_f1 == pytest.approx(1 / 6)
    golds = [one.label for one in NEW]
    assert all(row.score.macro_f1 == macro_f1(golds, row.answers, LABELS) for row in found.rows)


def test_the_curve_ends_on_all_labels_and_is_the_same_again():
    found = scored()
    assert [size for size, _ in found.curve] == [5, 10, 20, 30, 40]
    assert found.curve[-1][1] == found[CLASSIFIER].score.macro_f1
    assert found.curve[0][1] < found.curve[-1][1]
    assert scored() == found
    assert scored(seed=1).curve != found.curve


def test_shuffled_labels_teach_nothing():
    golds = np.random.default_rng(0).permutation([one.label for one in KNOWN])
    shuffled = [one.copy(label=str(gold)) for one, gold in zip(KNOWN, golds, strict=True)]
    assert scored(shuffled)[CLASSIFIER].score.macro_f1 < 0.6


def test_the_difference_is_the_students_minus_theirs():
    found, golds = scored(), [one.label for one in NEW]
    given = [None, *golds[1:]]
    told = found.compared(score(golds, given, LABELS), given, golds=golds, labels=LABELS, seed=3)
    for before, after in zip(found.rows, told.rows, strict=True):
        assert after.difference == difference(golds, before.answers, given, LABELS, seed=3)
        assert after.answers == ()
    assert told[CLASSIFIER].difference.macro_f1 < 0 < told[MAJORITY].difference.macro_f1
    assert Baselines.model_validate(json.loads(told.model_dump_json())) == told


@pytest.mark.parametrize("n", [1, 2, 3])
def test_two_examples_in_all_are_no_error(n):
    found = scored(KNOWN[:n], NEW[:1])
    assert found.curve[-1][0] == n
    assert all(size <= n for size, _ in found.curve)
    golds = [NEW[0].label]
    assert found.compared(score(golds, golds, LABELS), golds, golds=golds, labels=LABELS, seed=0).verdict
    assert found.advice


def test_a_label_with_a_single_example_or_with_none_is_no_error():
    rare = [*(one for one in KNOWN if one.label != "home"), next(one for one in KNOWN if one.label == "home")]
    assert set(scored(rare)[CLASSIFIER].score.per_label) == set(LABELS)
    known = [one for one in KNOWN if one.label == "work"]
    assert set(scored(known)[CLASSIFIER].answers) == {"work"}


def test_several_labels_are_learned_as_combinations():
    pairs = [one.copy(label="spam, work", text=f"{one.text} and the meeting") for one in KNOWN if one.label == "spam"]
    new = [one.copy(label="spam, work", text=f"{one.text} and the meeting") for one in NEW if one.label == "spam"]
    rest = [one for one in KNOWN if one.label == "home"]
    none = [one.copy(label="no label", text=f"{row} nothing of note") for row, one in enumerate(rest)]
    found = scored([*pairs, *rest, *none], [*new, *(one for one in NEW if one.label == "home"), none[0]])
    assert set(found[CLASSIFIER].answers) == {"spam, work", "home", "no label"}
    assert found[CLASSIFIER].score.accuracy == 1.0
    assert found[CLASSIFIER].score.per_label["work"].f1 == 1.0


@pytest.mark.parametrize(
    ("figure", "labels"), [(0.1, 10), (0.4, 10), (0.45, 14), (0.6, 40), (0.7, 80), (0.8, 160), (0.95, 453), (0.99, 597)]
)
def test_labels_are_read_off_the_curve_and_beyond_it(figure, labels):
    assert drawn(CURVE).labels_for(figure) == labels


def test_a_flat_or_a_single_point_is_not_continued():
    assert drawn(((20, 0.5), (40, 0.5), (80, 0.5))).labels_for(0.6) is None
    assert drawn(((2, 0.5),)).labels_for(0.6) is None
    assert drawn(((2, 0.5),)).labels_for(0.4) == 2
    assert drawn(((20, 0.69), (40, 0.695), (80, 0.7))).labels_for(0.9) is None, "far more than there are"


@pytest.mark.parametrize(
    ("student", "words"),
    [
        (0.9, ("behind the student's 0.900", "takes about 320 labels")),
        (0.5, ("ahead of the student's 0.500", "has the student's figure with about 20 labels", "Use it, unless")),
        (0.3, ("ahead of the student's 0.300", "with 10 labels or fewer")),
        (0.71, ("level with the student's 0.710", "takes about 86 labels")),
        (0.69, ("level with the student's 0.690", "with about 75 labels")),
    ],
)
def test_the_verdict_says_who_is_ahead_and_how_many_labels_it_takes(student, words):
    verdict = drawn(CURVE, student=student).verdict
    for said in ("80 labels", "macro-F1 0.700 on test", *words):
        assert said in verdict
    assert ("Use it" in verdict) is ("ahead of" in verdict)


def test_the_verdict_promises_no_labels_where_the_curve_is_flat():
    flat = drawn(((20, 0.7), (40, 0.7), (80, 0.7)), student=0.9)
    assert "more than 640 labels, or never gets there" in flat.verdict
    assert drawn(CURVE).verdict is None


def test_advice_follows_the_figures():
    assert "twice the labels would add about 0.10" in " ".join(drawn(CURVE).advice)
    assert "curve is flat" in " ".join(drawn(((20, 0.7), (40, 0.7), (80, 0.7))).advice)
    weak = drawn(CURVE, right=0.3).advice
    assert "not clearly better than the commonest label" in weak[0]
