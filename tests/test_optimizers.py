"""Every optimizer of the line-up, on the decision whose best rules are known."""

from pathlib import Path

import dspy
import pytest
from engine import calls
from tasks import LABELS, Mail, mail_task, mails, micro_rules, student, student_lm

from optimizers import OPTIMIZERS, compile_with
from pld_dspy.adapter import LabelAdapter
from pld_dspy.errors import DataError
from pld_dspy.evaluation import Evaluator
from pld_dspy.ledger import Ledger

TRAIN, VAL, TEST = mails(45), mails(30, start=100), mails(45, start=200)


class Nested(dspy.Module):
    """A program whose decision sits one module deep."""

    def __init__(self) -> None:
        super().__init__()
        self.sorter = dspy.Predict(Mail)

    def forward(self, text: str) -> dspy.Prediction:
        return self.sorter(text=text)


def accuracy(program: dspy.Module) -> float:
    evaluator = Evaluator(student=program, task=mail_task(), ledger=Ledger())
    return evaluator.evaluate(None, TEST, stage="test").score.accuracy


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_gives_a_program_with_the_same_face_and_leaves_the_student_alone(name: str, tmp_path: Path) -> None:
    program = student()
    before = program.dump_state()
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        compiled = compile_with(
            name, program, TRAIN, VAL, 400, 0, rationales=micro_rules(TRAIN), folder=tmp_path / "run"
        )
        assert compiled(text=TEST[0].text).label in LABELS
    assert program.dump_state() == before


def test_pld_beats_zero_shot_where_rules_help_and_keeps_to_the_budget(tmp_path: Path) -> None:
    lm = student_lm()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        compiled = compile_with(
            "pld", student(), TRAIN, VAL, 400, 0, rationales=micro_rules(TRAIN), folder=tmp_path / "run"
        )
        assert len(calls(lm)) <= 400
        assert accuracy(compiled) > 0.9 > 0.5 > accuracy(compile_with("zero_shot", student(), TRAIN, VAL, 400, 0))


def test_demonstrations_come_from_the_training_set_by_the_seed() -> None:
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        shown = [
            [demo["text"] for demo in compile_with("labelled_few_shot", student(), TRAIN, VAL, 99, seed).demos]
            for seed in (0, 0, 1)
        ]
    assert len(shown[0]) == 8
    assert set(shown[0]) <= {example.text for example in TRAIN}
    assert shown[0] == shown[1] != shown[2]


def test_linear_model_learns_the_keywords_without_a_call() -> None:
    lm = student_lm()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        assert accuracy(compile_with("tfidf_logistic", student(), TRAIN, VAL, 1, 0)) > 0.9
    assert calls(lm) == []


def test_reasoning_is_put_in_where_the_decision_is() -> None:
    program = Nested()
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        compiled = compile_with("chain_of_thought", program, TRAIN, VAL, 1, 0)
        assert compiled(text="Mail 1 about the garden").reasoning
    assert isinstance(program.sorter, dspy.Predict)
    assert [name for name, _ in compiled.named_predictors()] == ["sorter.predict"]


def test_unknown_optimizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="zero_shot"):
        compile_with("magic", student(), TRAIN, VAL, 1, 0)
