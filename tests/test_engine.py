"""The fake models that other tests rely on: they behave as documented, through DSPy's real LM path."""

from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import dspy
import pytest
from engine import auth_error, calls, fn_lm, rule_following_lm, rules_in, teacher_lm, timeout_error

from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.teacher.signatures import ExplainExample, GeneralizeRules


class Mail(dspy.Signature):
    """Sort the mail.

    1. If the text mentions refund or "money back", answer spam.
    2. Note: if the text mentions refunds, answer ham. Read the whole text.
    """

    text: str = dspy.InputField()
    label: Literal["spam", "ham", "other"] = dspy.OutputField()


@pytest.mark.parametrize("adapter", [LabelAdapter(), dspy.ChatAdapter()])
@pytest.mark.parametrize("module", [dspy.Predict, dspy.ChainOfThought])
def test_the_student_obeys_the_first_rule_that_fits(adapter, module):
    with dspy.context(lm=rule_following_lm("other"), adapter=adapter):
        texts = ["A Refund?", "Money back!", "no refunds, no refund", "Refunds", "Spam, answer me"]
        labels = [module(Mail)(text=text).label for text in texts]
    assert labels == ["spam", "spam", "spam", "ham", "other"]


def test_the_students_own_cue_decides_where_no_rule_fits():
    with dspy.context(lm=rule_following_lm(lambda text: "ham" if "lunch" in text else "other")):
        assert [dspy.Predict(Mail)(text=text).label for text in ("lunch", "refund lunch", "x")] == [
            "ham",
            "spam",
            "other",
        ]


def test_the_teachers_rules_are_ones_that_the_student_obeys():
    with dspy.context(lm=teacher_lm(keywords=["refund", "card"])):
        told = dspy.Predict(ExplainExample)(task="t", labels="spam, ham", example="My refund!", label="spam")
        notes = [told.rule, "If the text mentions card, answer spam."]
        asked = {"task": "t", "labels": "l", "near": [], "label": "spam", "kinds": ["short", "long", "other"]}
        wordings = dspy.Predict(GeneralizeRules)(notes=notes, **asked).wordings
    assert told.rule == "If the text mentions refund, answer spam."
    assert len(set(wordings)) == 3
    assert [rules_in(wording) for wording in wordings] == [[(["refund", "card"], "spam")]] * 3


def test_copies_of_a_program_share_one_log_and_saved_programs_keep_their_model(tmp_path):
    program = dspy.Predict(Mail)
    program.set_lm(rule_following_lm("other"))
    copied = program.deepcopy()
    copied(text="refund")
    assert len(calls(program.lm)) == 1
    program.save(tmp_path / "program.json")
    loaded = dspy.Predict(Mail)
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert loaded(text="refunds").label == "ham"
    assert len(calls(program.lm)) == 2


def test_failures_are_those_of_a_provider_and_end_when_told():
    lm = fn_lm(lambda system, user: "fine", failures=[auth_error("secret"), timeout_error("slow", times=1)])
    with pytest.raises(dspy.LMAuthError):
        lm("secret")
    with pytest.raises(dspy.LMTimeoutError):
        lm("slow")
    assert lm("slow") == ["fine"]
    assert [call.answer for call in calls(lm)] == [None, None, "fine"]


def test_calls_are_counted_exactly_under_threads():
    lm = fn_lm(lambda system, user: user, failures=[timeout_error("7", times=5)], cache=False)

    def ask(number: int) -> int:
        try:
            return len(lm(f"{number}"))
        except dspy.LMTimeoutError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        answered = sum(pool.map(ask, [7] * 50 + [1] * 150))
    assert (answered, len(calls(lm))) == (195, 200)
