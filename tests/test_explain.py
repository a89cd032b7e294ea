"""Micro-rules from records and from a teacher: matched, refused, counted."""

from dataclasses import replace

import dspy
import pytest
from engine import calls, sections
from tasks import (
    INSTRUCTIONS,
    KEYWORDS,
    as_teacher,
    instruction,
    mail,
    mail_task,
    mail_teacher,
    mails,
    micro_rule,
    micro_rules,
)

from pld_dspy.errors import BudgetExceeded, DataError
from pld_dspy.explain import Explanations, explain, notes_about
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.rules import DOUBT_MARK, MicroRule

TRAIN = mails(9)


def explained(
    *, trainset: list[dspy.Example] = TRAIN, lm: dspy.LM | None = None, ledger: Ledger | None = None, **given: object
) -> Explanations:
    return explain(trainset, mail_task(), teacher=as_teacher(lm, ledger), **given)


def test_records_match_by_id_and_stand_in_the_order_of_the_training_set():
    records = micro_rules(TRAIN)
    found = explained(recorded=records[::-1])
    assert found == Explanations(micro_rules=records)


@pytest.mark.parametrize("said", ["Mail 4 about the {}", "  mail 4, ABOUT the '{}'! "])
def test_records_match_by_inputs_where_ids_are_unknown(said):
    word = TRAIN[4].text.split()[-1]
    record = micro_rule("elsewhere-77", said.format(word), TRAIN[4].label, word)
    found = explained(recorded=[record])
    assert found.micro_rules == [record.model_copy(update={"example_id": "m4"})], "rules name their support by it"
    assert found.unexplained == [f"m{number}" for number in range(9) if number != 4]


def test_records_of_texts_that_differ_in_signs_stay_apart():
    """The records stand in another order than the rows, and one of them is about a text that is not there."""
    rows = [dspy.Example(text=f"I know {name}", label="work").with_inputs("text") for name in ("C++", "C#")]
    records = [micro_rule("x", row.text, "work", row.text[-1]) for row in reversed(rows)]
    found = explained(trainset=rows, recorded=[micro_rule("y", "I know C", "work", "C"), *records])
    assert [rule.inputs["text"] for rule in found.micro_rules] == ["I know C++", "I know C#"]
    assert found.unmatched == ["y"]


def test_records_match_several_inputs_in_any_order_of_fields():
    pairs = [
        dspy.Example(a=f"p{n}", b="h", label=label).with_inputs("a", "b") for n, label in enumerate(["spam", "work"])
    ]
    record = MicroRule(example_id="x", inputs={"b": "h", "a": "p1"}, label="work", rationale="", rule="r")
    [rule] = explained(trainset=pairs, recorded=[record]).micro_rules
    assert rule == record.model_copy(update={"example_id": "row-1"})


def test_an_id_of_none_is_no_id():
    bare = [one.copy(id=None).with_inputs("text") for one in TRAIN[:3]]
    found = explained(trainset=bare, recorded=micro_rules(TRAIN[:3]))
    assert [rule.example_id for rule in found.micro_rules] == ["row-0", "row-1", "row-2"]


def unnamed(examples: list[dspy.Example]) -> list[dspy.Example]:
    """The same examples without their ids."""
    return [dspy.Example(text=one.text, label=one.label).with_inputs("text") for one in examples]


def test_records_of_examples_without_ids_follow_these_into_another_order():
    first = explained(trainset=unnamed(TRAIN), lm=mail_teacher()).micro_rules
    again = explained(trainset=unnamed(TRAIN[::-1]), recorded=first).micro_rules
    assert [rule.rule for rule in again] == [rule.rule for rule in first[::-1]]
    assert [rule.example_id for rule in again] == [f"row-{row}" for row in range(9)]


def test_a_row_number_is_what_records_are_matched_by_last():
    record = micro_rule("row-4", "nowhere to be found", TRAIN[4].label, "x")
    assert explained(trainset=unnamed(TRAIN), recorded=[record]).micro_rules == [record]


def test_among_equal_texts_a_record_belongs_to_one_with_its_label_and_none_yet():
    """As where the same message was labelled twice, and not in the same way."""
    rows = unnamed([mail(0, "spam", "winner"), mail(0, "work", "winner"), mail(0, "spam", "winner")])
    records = [
        micro_rule("", rows[0].text, label, word)
        for label, word in [("spam", "a"), ("spam", "b"), ("work", "c"), ("spam", "d")]
    ]
    found = explained(trainset=rows, recorded=records)
    told = [(rule.example_id, rule.rule) for rule in found.micro_rules]
    assert told == [(f"row-{row}", records[number].rule) for row, number in enumerate((0, 2, 1))]
    with pytest.raises(DataError, match=r"gives the label 'home', but training row 0 is labelled 'spam'"):
        explained(trainset=rows, recorded=[micro_rule("", rows[0].text, "home", "x")])


def test_unmatched_records_are_left_out_and_named(caplog):
    found = explained(recorded=[*micro_rules(TRAIN), micro_rule("stray", "nowhere to be found", "spam", "x")])
    assert found.unmatched == ["stray"]
    assert len(found.micro_rules) == 9
    assert "1 recorded rationales match no training example: stray" in caplog.text


def test_the_first_record_of_an_example_counts():
    twice = [*micro_rules(TRAIN), micro_rule("m0", TRAIN[0].text, TRAIN[0].label, "second")]
    assert explained(recorded=twice).micro_rules == micro_rules(TRAIN)


def test_notes_are_what_is_said_about_an_example_unless_its_label_is_in_doubt():
    doubtful = micro_rule("m3", TRAIN[3].text, TRAIN[3].label, "x", rationale=f"{DOUBT_MARK} Could be either.")
    silent = micro_rule("m4", TRAIN[4].text, TRAIN[4].label, "y", rationale="")
    told = micro_rules(TRAIN[:1])[0]
    found = notes_about(TRAIN, [silent, doubtful, told], mail_task(), first=10)
    assert found == [(14, silent.rule), (10, told.rule), (10, told.rationale)]
    assert notes_about(TRAIN, [told], replace(mail_task(), several=True)) == []


def test_doubtful_records_are_kept_and_listed():
    doubtful = micro_rule("m3", TRAIN[3].text, TRAIN[3].label, "x", rationale=f"{DOUBT_MARK} Could be either.")
    found = explained(recorded=[doubtful, *micro_rules(TRAIN[:3])])
    assert found.doubtful == ["m3"]
    assert doubtful in found.micro_rules


def test_a_record_that_contradicts_the_gold_label_is_an_error():
    record = micro_rule("m0", TRAIN[0].text, "home", "x")
    with pytest.raises(DataError, match=r"'m0' gives the label 'home', but training row 0 is labelled 'spam'"):
        explained(recorded=[record])


def test_neither_record_nor_teacher_explains_nothing(caplog):
    with caplog.at_level("INFO", "pld_dspy.explain"):
        assert explained() == Explanations([], unexplained=[one.id for one in TRAIN])
    assert "9 examples have no micro-rule: no record and no teacher: m0, m1, m2, m3, m4 ..." in caplog.text


def test_the_teacher_sees_task_labels_example_and_label():
    lm = mail_teacher()
    found = explained(lm=lm)
    assert [rule.rule for rule in found.micro_rules] == [rule.rule for rule in micro_rules(TRAIN)]
    assert [rule.example_id for rule in found.micro_rules] == [example.id for example in TRAIN]
    assert found.micro_rules[0].inputs == {"text": TRAIN[0].text}
    assert found.micro_rules[0].rationale
    [first, *_] = calls(lm)
    for said in (INSTRUCTIONS, "spam, work, home", TRAIN[0].text, f"[[ ## label ## ]]\n{TRAIN[0].label}"):
        assert said in first.user


def test_the_teacher_is_asked_only_for_what_no_record_covers():
    lm = mail_teacher()
    records = [micro_rule(example.id, example.text, example.label, "recorded") for example in TRAIN[2:5]]
    found = explained(lm=lm, recorded=records)
    assert len(calls(lm)) == 6
    assert [rule.rule for rule in found.micro_rules][2:5] == [instruction("recorded", one.label) for one in TRAIN[2:5]]
    assert len(found.micro_rules) == 9


@pytest.mark.parametrize("useless", [" ", "If <sign>, answer <label>."])
def test_a_useless_teacher_answer_is_counted_and_left_out(caplog, useless):
    lm = mail_teacher(
        {"rule": lambda given: useless if "Mail 5 " in given["example"] else instruction("x", given["label"])}
    )
    found = explained(lm=lm)
    assert (found.unexplained, len(found.micro_rules)) == (["m5"], 8)
    assert "1 examples got no usable micro-rule from the teacher: m5" in caplog.text


@pytest.mark.parametrize("useless", [" ", "If <sign>, answer <label>."])
def test_a_useless_answer_is_asked_for_once_more_with_the_reason(useless):
    def said(given: dict[str, str]) -> str:
        first = "Mail 5 " in given["example"] and "refused" not in given["task"]
        return useless if first else instruction("x", given["label"])

    lm, ledger = mail_teacher({"rule": said}), Ledger()
    assert len(explained(lm=lm, ledger=ledger).micro_rules) == 9
    assert len(calls(lm)) == ledger.spent["teacher", "explain"].calls == 9 + 1
    reason = "it was empty" if useless == " " else "it repeated the form"
    assert f"(An earlier answer was refused: {reason}" in calls(lm)[-1].user
    assert len(explained(lm=lm, ledger=ledger).micro_rules) == 9
    assert len(calls(lm)) == 9 + 1, "neither answer is paid for twice"


@pytest.mark.parametrize(("said", "kept"), [('{"rationale": "So.", "rule": "Told in JSON."}', 9), ("no idea", 8)])
def test_a_malformed_answer_is_asked_for_again_as_json_and_counted_if_it_stays_so(said, kept):
    lm, ledger = mail_teacher(), Ledger()
    answer = lm.engine.fn
    lm.engine.fn = lambda system, user: said if "Mail 5 " in user else answer(system, user)
    found = explained(lm=lm, ledger=ledger)
    assert len(calls(lm)) == ledger.spent["teacher", "explain"].calls == 9 + 1
    assert len(found.micro_rules) == kept
    assert len(found.unexplained) == ledger.spent["teacher", "explain"].failures == 9 - kept
    assert ("Told in JSON." in [rule.rule for rule in found.micro_rules]) == (kept == 9)


def test_a_teacher_that_gives_nothing_usable_is_an_error_that_says_so():
    with pytest.raises(DataError, match=r"The teacher gave a usable micro-rule for none of 9 examples.*stronger"):
        explained(lm=mail_teacher({"rule": lambda given: ""}))


def test_teacher_answers_are_kept():
    ledger, lm = Ledger(), mail_teacher()
    first = explained(lm=lm, ledger=ledger)
    assert explained(lm=lm, ledger=ledger) == first
    assert len(calls(lm)) == 9
    assert ledger.spent["teacher", "explain"].calls == 9


def test_a_cap_on_teacher_calls_leaves_what_was_told_so_far():
    ledger, lm = Ledger(budget=Budget(teacher_calls=4)), mail_teacher()
    found = explained(lm=lm, ledger=ledger)
    assert len(calls(lm)) == len(found.micro_rules) == 4
    assert found.unexplained == [f"m{number}" for number in range(4, 9)]
    assert "cap of 4 teacher calls" in ledger.stopped["explain"]


def test_a_cap_that_leaves_nothing_is_an_error():
    with pytest.raises(BudgetExceeded, match="cap of 0 teacher calls"):
        explained(lm=mail_teacher(), ledger=Ledger(budget=Budget(teacher_calls=0)))


def test_examples_without_ids_are_named_by_their_row():
    found = explained(trainset=unnamed(TRAIN), lm=mail_teacher())
    assert [rule.example_id for rule in found.micro_rules] == [f"row-{row}" for row in range(9)]
    assert all(any(word in rule.rule for word in KEYWORDS) for rule in found.micro_rules)


def test_the_teacher_is_shown_the_texts_that_are_given():
    lm, texts = mail_teacher(), [f"Read {one.id}" for one in TRAIN]
    found = explained(lm=lm, texts=texts, recorded=micro_rules(TRAIN[:4]))
    shown = sorted(sections(call.user)["example"] for call in calls(lm))
    assert shown == texts[4:]
    assert [rule.inputs for rule in found.micro_rules] == [one.inputs().toDict() for one in TRAIN]
