"""One teacher, whatever a user gives; asked once, twice where an answer is unusable, and again for further draws."""

import dspy
import pytest
from engine import calls
from tasks import INSTRUCTIONS, as_teacher, mail_teacher

from pld_dspy.errors import DataError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.teacher.signatures import ExplainExample, GeneralizeRules, JudgeExample
from pld_dspy.teacher.teacher import Teacher, resampled

INPUTS = [{"labels": "spam, work, home", "example": f"Mail {n} about the winner", "label": "spam"} for n in range(3)]


def rule_of(answer: Answer) -> list[str]:
    return [str((answer.outputs or {}).get("rule") or "")]


class TestWhatAUserGives:
    def test_an_lm_is_asked_by_plain_predictors(self):
        lm = mail_teacher()
        found = Teacher.of(lm, task="t")
        assert found is not None
        assert (found.lm, found.programs, found.task) == (lm, {}, "t")
        assert found.settings()["model"] == lm.model

    def test_a_program_that_gives_a_rule_explains_and_its_lm_does_the_rest(self):
        program = dspy.Predict(ExplainExample)
        program.lm = mail_teacher()
        for given in (program, [program, dspy.Predict(JudgeExample)]):
            found = Teacher.of(given, task="t")
            assert found is not None
            assert (found.lm, dict(found.programs)) == (program.lm, {"explain": program})

    def test_any_other_program_is_taken_for_its_lm(self):
        program = dspy.Predict("question -> answer")
        program.lm = mail_teacher()
        found = Teacher.of(program, task="t")
        assert found is not None
        assert (found.lm, found.programs) == (program.lm, {})

    def test_nothing_is_no_teacher_and_anything_else_is_refused(self):
        assert Teacher.of(None, task="t") is Teacher.of([], task="t") is None
        with pytest.raises(DataError, match=r"teacher is a str; give a dspy.LM, a dspy.Module or a list of modules"):
            Teacher.of("gpt", task="t")


class TestAsk:
    def test_answers_come_in_order_with_the_task_in_every_prompt(self):
        lm, ledger = mail_teacher(), Ledger()
        found = as_teacher(lm, ledger).ask(ExplainExample, INPUTS, stage="explain")
        assert [rule_of(answer)[0] != "" for answer in found] == [True] * 3
        assert all(INSTRUCTIONS in call.user for call in calls(lm))
        assert ledger.spent["teacher", "explain"].calls == len(calls(lm)) == 3

    def test_a_cap_leaves_the_rest_without_an_answer(self):
        ledger = Ledger(budget=Budget(teacher_calls=2))
        found = as_teacher(mail_teacher(), ledger).ask(ExplainExample, INPUTS, stage="explain", texts=rule_of)
        assert [answer.outputs is None for answer in found] == [False, False, True]
        assert "explain" in ledger.stopped

    @pytest.mark.parametrize(
        ("said", "reason"), [(" ", "there was no rule"), ("if <sign>, answer <label>", "it repeated the form")]
    )
    def test_an_unusable_answer_is_asked_for_once_more_and_kept_if_it_stays_so(self, said, reason):
        lm = mail_teacher({"rule": lambda given: said if "Mail 1 " in given["example"] else "If winner, answer spam."})
        found = as_teacher(lm).ask(
            ExplainExample, INPUTS, stage="explain", texts=rule_of, empty_reason="there was no rule"
        )
        assert len(calls(lm)) == 3 + 1
        assert f"(An earlier answer was refused: {reason}" in calls(lm)[-1].user
        assert rule_of(found[1])[0].strip() == said.strip()

    def test_a_program_of_ones_own_answers_its_stage_alone(self):
        class Curt(dspy.Module):
            def forward(self, task: str, labels: str, example: str, label: str) -> dspy.Prediction:
                return dspy.Prediction(rationale="", rule=f"{task} {label}")

        lm = mail_teacher()
        teacher = as_teacher(lm, explain=Curt())
        assert rule_of(teacher.ask(ExplainExample, INPUTS[:1], stage="explain")[0]) == [f"{INSTRUCTIONS} spam"]
        assert calls(lm) == []
        inputs = {"labels": "spam, work", "notes": ["If the text mentions winner, answer spam."], "label": "spam"}
        teacher.ask(GeneralizeRules, [{**inputs, "near": [], "kinds": ["imperative"]}], stage="induce")
        assert len(calls(lm)) == 1

    def test_further_draws_are_new_calls(self):
        lm, ledger = mail_teacher(), Ledger()
        for draw in (0, 1, 2, 1):
            as_teacher(lm, ledger).ask(ExplainExample, INPUTS[:1], stage="explain", draw=draw)
        assert len(calls(lm)) == 3
        assert ledger.spent["teacher", "explain"].reused == 1


class TestResampled:
    def test_further_draws_sample_where_the_teacher_would_repeat_itself(self):
        greedy = mail_teacher(temperature=0.0, seed=5)
        lms = [mail_teacher(), greedy, mail_teacher(temperature=1.0)]
        settings = [resampled(dspy.Predict(GeneralizeRules), 2, lm=lm).config for lm in lms]
        assert settings == [
            {"rollout_id": 2},
            {"rollout_id": 2, "temperature": 0.7, "seed": 7},
            {"rollout_id": 2},
        ]

    def test_a_copy_is_changed_and_keeps_the_lm(self):
        program = dspy.ChainOfThought(GeneralizeRules)
        program.predict.lm = mail_teacher(temperature=0.0)
        again = resampled(program, 1, lm=None)
        assert again.predict.lm is program.predict.lm
        assert program.predict.config == {}
        assert resampled(program, 0, lm=None) is program
