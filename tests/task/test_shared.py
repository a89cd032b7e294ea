"""Examples in several splits: only what the student reads alike is the same, and the user says what happens to it."""

from typing import Any

import dspy
import pytest
from tasks import TEST, TRAIN, VAL, mail_task, mails, micro_rules, pld, student, student_lm

from pld_dspy.errors import DataError
from pld_dspy.task.shared import check_disjoint, without_shared
from pld_dspy.task.splits import Splits


def text(content: Any, **fields: object) -> dspy.Example:
    return dspy.Example(text=content, label="spam", **fields).with_inputs("text")


def test_splits_that_share_nothing_pass():
    check_disjoint(mail_task(), Splits(mails(9), mails(9, start=9), mails(9, start=18)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("great day 😀", "great day 😡"),
        ("I know C++", "I know C#"),
        ("a change of -5 percent", "a change of 5 percent"),
        ("You did it?", "You did it!"),
        ("5 > 3", "5 < 3"),
        ("It was 3.5", "It was 3,5"),
        ("in the US", "in the us"),
        ("x²", "x2"),
        ("résumé", "resume"),
        ("No, thanks", "No thanks"),
        (":-)", ":-("),
        ("👍🏽", "👍🏿"),
        (["a b"], ["a", "b"]),
        (-0.5, 0.5),
    ],
)
def test_texts_that_a_student_reads_differently_are_different_examples(one, other):
    splits = Splits([text(one)], [text("v")], [text(other)])
    check_disjoint(mail_task(), splits)
    assert without_shared(mail_task(), splits, "drop")[0] == splits


@pytest.mark.parametrize("copy", ["  win a prize\tnow ", "win a  prize\r\nnow", "win\u00a0a prize now"])
def test_spacing_makes_no_other_example(copy):
    splits = Splits(
        [text("first"), text("win a prize now", id=1)], [text("v")], [text("t"), text("u"), text(copy, id=2)]
    )
    with pytest.raises(DataError, match=r"train row 1 and test row 2 share the same text \('win a prize now'\)"):
        check_disjoint(mail_task(), splits)


def test_neither_the_form_of_an_accent_nor_the_order_of_fields_makes_another_example():
    pairs = [
        (text("re\u0301sume\u0301"), text("résumé")),
        (
            dspy.Example(text="a", more="b", label="spam").with_inputs("text", "more"),
            dspy.Example(more="b", text="a", label="spam").with_inputs("text", "more"),
        ),
        (text({"a", "b", "c"}), text(["a", "b", "c"])),
    ]
    for one, other in pairs:
        with pytest.raises(DataError, match="share the same text"):
            check_disjoint(mail_task(), Splits([one], [other]))


def test_ids_that_begin_anew_in_each_file_say_nothing():
    check_disjoint(mail_task(), Splits([text("a", id=0)], [text("b", id=0)], [text("c", id="0")]))
    with pytest.raises(DataError, match="same text"):
        check_disjoint(mail_task(), Splits([text("a", id=0)], [text("a", id=1)]))


def test_all_shared_examples_are_named_at_once():
    splits = Splits([text("a"), text("b"), text("a")], [text("c"), text("b")], [text("a"), text("d"), text("c")])
    with pytest.raises(DataError) as refused:
        check_disjoint(mail_task(), splits)
    for named in (
        "train rows 0, 2 and test row 0 share the same text ('a')",
        "train row 1 and validation row 1 share the same text ('b')",
        "validation row 0 and test row 2 share the same text ('c')",
    ):
        assert named in str(refused.value)


def test_texts_twice_within_one_split_are_the_users_own_affair():
    check_disjoint(mail_task(), Splits([text("a"), text("a")], [text("b")]))


def test_dropping_keeps_the_later_split_whole_and_each_row_its_name():
    splits = Splits([text("a"), text("b"), text("c")], [text("c"), text("d", id=7), text("e")], [text("b"), text("e")])
    kept, notes = without_shared(mail_task(), splits, "drop")
    assert [(one.text, one.id) for one in kept.train] == [("a", "row-0")]
    assert [(one.text, one.id) for one in kept.val] == [("c", "row-0"), ("d", "7")]
    assert kept.test == splits.test
    assert notes == ["Examples left out because a later split holds them: 1 of validation, 2 of train."]


def test_keeping_says_that_scores_are_too_good():
    splits = Splits([text("a"), text("b")], [text("a")])
    assert without_shared(mail_task(), splits, "keep") == (
        splits,
        ["1 examples stand in several splits: scores are too good."],
    )


def test_near_copies_are_noted():
    _, notes = without_shared(mail_task(), Splits([text("x"), text("Win it!")], [text("win it")]), "refuse")
    assert notes == [
        "1 texts in several splits differ only in case or signs, such as train row 1 and validation row 0. "
        "If they mean the same, scores are too good."
    ]


def test_a_split_that_would_be_left_without_examples_is_refused_with_a_way_on():
    with pytest.raises(DataError, match=r"Every train example stands in a later split.*--duplicates keep"):
        without_shared(mail_task(), Splits([text("a")], [text("a")]), "drop")


def test_a_compile_goes_on_without_the_examples_that_another_split_holds(tmp_path):
    shared = [*TRAIN[:2], *VAL[:1]]
    data = {"trainset": [*TRAIN, VAL[0]], "valset": VAL, "testset": [*TEST, *TRAIN[:2]]}
    with pytest.raises(DataError, match=r"train row 36 and validation row 0 share.*--duplicates drop"):
        pld(tmp_path).compile(student(student_lm()), **data)
    optimizer = pld(tmp_path, teacher=None, duplicates="drop")
    optimizer.compile(student(student_lm()), rationales=micro_rules(TRAIN), **data)
    counts, notes = optimizer.result.counts, " ".join(optimizer.result.notes)
    assert (counts["train"], counts["validation"], counts["test"]) == (34, 24, 26)
    assert "3 of train" in notes
    assert {one.id for one in shared}.isdisjoint(
        name for rule in [*optimizer.result.rules.rules, *optimizer.result.bench] for name in rule.support
    )


def test_a_word_that_is_no_way_to_treat_duplicates_is_refused():
    with pytest.raises(DataError, match=r"duplicates='ignore' is unknown\. Give one of refuse, drop, keep"):
        pld(duplicates="ignore")
