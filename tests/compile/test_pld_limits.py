"""A compile that cannot be done, or not in full: refused before the first call, stopped, or bounded beforehand."""

import random

import dspy
import pytest
from engine import auth_error, calls, fn_lm, timeout_error
from tasks import (
    SEARCH,
    TEST,
    TRAIN,
    VAL,
    compiled,
    mail,
    mail_teacher,
    mails,
    micro_rules,
    pld,
    student,
    student_lm,
)

from pld_dspy.errors import BudgetExceeded, DataError, ModelError, TooManyErrors
from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"metric": lambda gold, pred: 1, "objective": "accuracy"}, "not both"),
        ({"objective": "f1"}, r"objective='f1' is unknown"),
        ({"metric": lambda gold: 1}, r"Give one that takes"),
        ({"tracking": "mlruns"}, r"tracking='mlruns' is not a tracking URI"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_at_once(settings, said):
    with pytest.raises(DataError, match=said):
        PLD(**settings)


UNUSABLE = {
    "overlap": ({"testset": [*TEST, VAL[3]]}, "share the same text"),
    "label": ({"valset": [*VAL, mail(999, "junk", "x")]}, "validation row 24 .*'junk' is not in the label set"),
    "empty": ({"trainset": []}, "training set is empty"),
    "empty validation": ({"valset": []}, "validation set is empty"),
    "one label": ({"trainset": TRAIN[::3]}, "Every training example has the label"),
    "one label left": ({"trainset": [*TRAIN[::3], TRAIN[1]], "valset": None}, "Every training example"),
    "teacher": ({"teacher": "gpt"}, "teacher is a str"),
    "contradiction": ({"rationales": micro_rules([TRAIN[0].copy(label="home")])}, "gives the label 'home'"),
    "rationales file": ({"rationales": "absent.jsonl"}, "absent.jsonl"),
    "rationales": ({"rationales": [{"rule": "a"}]}, "Item 0 of rationales is a dict"),
    "half a character": ({"valset": [*VAL, mail(999, "home", "\ud800")]}, "the field 'text' is no Unicode text"),
}


def test_what_is_no_program_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"The student is a \w+\. Give a dspy\.Module"):
        compiled(pld(tmp_path / "run"), type(student()))


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_data_is_refused_before_the_first_call(tmp_path, name):
    data, said = UNUSABLE[name]
    lm, teacher = student_lm(), mail_teacher()
    with pytest.raises(DataError, match=said):
        compiled(pld(tmp_path / "run", teacher=teacher), student(lm), **data)
    assert calls(lm) == calls(teacher) == []
    assert not (tmp_path / "run").exists()


def test_a_tracking_setting_made_wrong_later_is_refused_before_the_run_folder_is_opened(tmp_path):
    optimizer = pld(tmp_path / "run")
    optimizer.tracking = "mlruns"
    with pytest.raises(DataError, match="is not a tracking URI"):
        compiled(optimizer, student(student_lm()))
    assert not (tmp_path / "run").exists()


def test_neither_teacher_nor_rationales_is_refused_before_the_first_call(tmp_path):
    lm = student_lm()
    for rationales in (None, micro_rules(mails(3, start=500))):
        with pytest.raises(DataError, match="Give a teacher, or rationales"):
            compiled(pld(tmp_path, teacher=None), student(lm), rationales=rationales)
    assert calls(lm) == []


def test_a_missing_model_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match=r"no language model. Call dspy.configure"):
        compiled(pld(tmp_path / "run"), student())
    assert not (tmp_path / "run").exists()
    assert pld(tmp_path).estimate(student(), trainset=TRAIN, rationales=micro_rules(TRAIN)).student_calls > 0


def test_refused_credentials_stop_at_once(tmp_path):
    lm = student_lm(failures=[auth_error()])
    with pytest.raises(ModelError, match="invalid key"):
        compiled(pld(tmp_path, num_threads=8), student(lm))
    assert len(calls(lm)) == 1


def test_a_dead_student_is_no_score_of_zero(tmp_path):
    lm = student_lm(failures=[timeout_error()])
    with pytest.raises(TooManyErrors, match="timed out"):
        compiled(pld(tmp_path, max_errors=3), student(lm))
    assert len(calls(lm)) == 4


def test_a_student_that_gives_no_label_at_all_is_stopped_before_the_budget_is_spent(tmp_path):
    lm, teacher = fn_lm(lambda system, user: f"I read: {user.splitlines()[1]}", cache=False), mail_teacher()
    said = (
        r"None of the student's first 21 answers is in the label set \(spam, work, home\)\. It answered "
        r"'I read: Mail 100 about the \w+'; .*Check that the adapter .* asks for 'label'.*label set.*resume=False"
    )
    with pytest.raises(TooManyErrors, match=said):
        compiled(pld(tmp_path, teacher=teacher, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)), student(lm))
    assert len(calls(lm)) == 21
    assert calls(teacher) == []
    with pytest.raises(TooManyErrors, match="first 21 answers"):  # again, for nothing: the answers are kept
        compiled(pld(tmp_path, adapter=dspy.ChatAdapter(use_json_adapter_fallback=False)), student(lm))
    assert len(calls(lm)) == 21


def test_an_answer_that_was_parsed_and_is_no_label_is_shown_as_well(tmp_path):
    signature = dspy.Signature("text -> label: str")
    program = dspy.Predict(signature)
    program.lm = fn_lm(lambda system, user: "[[ ## label ## ]]\n" + "junk mail " * 100, cache=False)
    with pytest.raises(TooManyErrors, match=r"It answered '(junk mail ){20}'\. Check") as caught:
        compiled(pld(tmp_path, adapter=dspy.ChatAdapter()), program)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize(("max_errors", "stops_after"), [(0, 11), (15, 16), (24, None)])
def test_more_answers_than_max_errors_must_lack_a_label(tmp_path, max_errors, stops_after):
    """The rules of this student's teacher tell it the labels, so that a user may want to go on."""
    lm = fn_lm(lambda system, user: "spam" if "lottery" in system else "no idea", cache=False)
    optimizer = pld(tmp_path, max_errors=max_errors)
    if stops_after is None:
        compiled(optimizer, student(lm))
        assert optimizer.result.improved
    else:
        with pytest.raises(TooManyErrors, match=f"first {stops_after} answers"):
            compiled(optimizer, student(lm))


def test_answers_that_are_no_label_count_as_wrong_and_are_counted(tmp_path):
    lm = fn_lm(lambda system, user: "spam" if "Mail 11" in user else "no idea", cache=False)
    optimizer = pld(tmp_path)
    compiled(optimizer, student(lm))
    score = optimizer.result.validation.baseline
    assert score.failures == sum("Mail 11" not in one.text for one in VAL)
    assert sum(row.get("(none)", 0) for row in score.confusion.values()) == score.failures


@pytest.mark.parametrize("cap", [24, 40, 70])
def test_a_spent_budget_ends_in_the_best_so_far_and_a_test_report(tmp_path, cap):
    optimizer, lm = pld(tmp_path, budget=Budget(student_calls=cap)), student_lm()
    compiled(optimizer, student(lm))
    spent = sum(cost.calls for stage, cost in optimizer.result.costs["student"].items() if stage != "test")
    assert spent <= cap
    assert f"cap of {cap} student calls" in optimizer.result.stopped
    assert optimizer.result.improved == (cap >= 48)
    assert optimizer.result.test.compiled.n == len(TEST)


@pytest.mark.parametrize("cap", [9, 36])
def test_a_spent_teacher_budget_ends_in_the_rules_so_far(tmp_path, cap):
    optimizer, teacher = pld(tmp_path, budget=Budget(teacher_calls=cap)), mail_teacher()
    optimizer.teacher = teacher
    compiled(optimizer, student(student_lm()))
    assert len(calls(teacher)) == cap
    assert optimizer.result.counts["micro_rules"] == min(cap, len(TRAIN))
    assert any(f"cap of {cap} teacher calls" in note for note in optimizer.result.notes)
    assert optimizer.result.improved
    generous = pld(tmp_path, teacher=teacher)
    compiled(generous, student(student_lm()))
    assert generous.result.counts["micro_rules"] == len(TRAIN)
    assert len(calls(teacher)) == len(TRAIN) + 1  # one draft of all rules


def test_a_budget_below_the_baseline_is_an_error(tmp_path):
    with pytest.raises(BudgetExceeded, match="cap of 10 student calls"):
        compiled(pld(tmp_path, budget=Budget(student_calls=10)), student(student_lm()))


@pytest.mark.parametrize("search", [SEARCH, SearchConfig(screen_calls=1, trials=0, block=24)])
@pytest.mark.parametrize("valset", [VAL, None], ids=["validation set", "none"])
def test_the_estimate_bounds_what_is_spent_and_calls_nobody(tmp_path, search, valset):
    lm, teacher = student_lm(), mail_teacher()
    prices = {lm.model: (1.0, 2.0), teacher.model: (10.0, 20.0)}
    optimizer = pld(tmp_path, teacher=teacher, search=search, budget=Budget(prices=prices))
    records = micro_rules(random.Random(0).sample([*TRAIN, *mails(3, start=900)], 9))
    data = {"trainset": TRAIN, "valset": valset, "testset": TEST, "rationales": records}
    found = optimizer.estimate(student(lm), **data)
    assert calls(lm) == calls(teacher) == []
    optimizer.compile(student(lm), **data)
    costs = optimizer.result.costs
    money = sum(cost.money for stages in costs.values() for cost in stages.values())
    assert len(calls(lm)) <= found.student_calls <= 1.6 * len(calls(lm))
    assert len(calls(teacher)) <= found.teacher_calls <= 2 * len(calls(teacher))
    assert 0 < money <= found.money


def test_the_estimate_keeps_to_the_caps_but_for_the_test(tmp_path):
    data = {"trainset": TRAIN, "valset": VAL, "testset": TEST, "rationales": micro_rules(TRAIN)}
    free = pld(tmp_path).estimate(student(), **data)
    capped = pld(tmp_path, budget=Budget(student_calls=40, teacher_calls=0)).estimate(student(), **data)
    assert capped.stages == free.stages
    assert free.student_calls > capped.student_calls == 40 + 2 * len(TEST)
    assert free.teacher_calls > capped.teacher_calls == 0
