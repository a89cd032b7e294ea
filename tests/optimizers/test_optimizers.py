"""Every optimizer of the line-up, on the decision whose best rules are known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import calls
from tasks import (
    INSTRUCTIONS,
    LABELS,
    Mail,
    leaning_lm,
    mail_task,
    mail_teacher,
    mails,
    micro_rules,
    student,
    student_lm,
)

from optimizers import OPTIMIZERS, Setting, compile_with
from pld_dspy.errors import DataError
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.pld import PLD
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator
from programs import contract_nli

TRAIN, VAL, TEST = mails(45), mails(30, start=100), mails(45, start=200)


class Nested(dspy.Module):
    """A program whose decision sits one module deep."""

    def __init__(self) -> None:
        super().__init__()
        self.sorter = dspy.Predict(Mail)

    def forward(self, text: str) -> dspy.Prediction:
        return self.sorter(text=text)


def setting(
    program: dspy.Module,
    train: Sequence[dspy.Example] = TRAIN,
    val: Sequence[dspy.Example] = VAL,
    budget: int = 99,
    seed: int = 0,
    **given: Any,
) -> Setting:
    return Setting(student=program, trainset=train, valset=val, budget=budget, seed=seed, **given)


def accuracy(program: dspy.Module) -> float:
    evaluator = Evaluator(student=program, task=mail_task(), ledger=Ledger())
    return evaluator.evaluate(None, TEST, stage="test").score.accuracy


ELSEWHERE = {
    *("copro", "mipro", "mipro_instructions", "gepa", "infer_rules"),
    *("pld", "pld_calibrated", "pld_from_teacher", "precedents"),
}
"""Tested below and in test_rivals.py, or like another."""


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - ELSEWHERE))
def test_gives_a_program_with_the_same_face_and_leaves_the_student_alone(name: str, tmp_path: Path) -> None:
    program = student()
    before = program.dump_state()
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        compiled = compile_with(
            name,
            setting(program, TRAIN[:18], VAL[:9], 90, rationales=micro_rules(TRAIN[:18]), folder=tmp_path / "run"),
        )
        assert compiled(text=TEST[0].text).label in LABELS
    assert program.dump_state() == before


def test_pld_beats_zero_shot_where_rules_help_and_keeps_to_the_budget(tmp_path: Path) -> None:
    lm = student_lm()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        given = {"budget": 400, "rationales": micro_rules(TRAIN), "folder": tmp_path / "run"}
        compiled = compile_with("pld", setting(student(), **given))
        assert len(calls(lm)) <= 400
        assert accuracy(compiled) > 0.9 > 0.5 > accuracy(compile_with("zero_shot", setting(student())))


def test_a_teacher_explains_every_example_where_no_record_is_to_count(tmp_path: Path) -> None:
    records, teacher = micro_rules(TRAIN[:18]), mail_teacher()
    given = {"rationales": records, "teacher": teacher, "folder": tmp_path / "run"}
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        compile_with("pld_from_teacher", setting(student(), TRAIN[:18], VAL[:9], 90, **given))
        asked = {example.text for example in TRAIN[:18] if any(example.text in one.user for one in calls(teacher))}
        with pytest.raises(DataError, match="has no teacher"):
            compile_with("pld_from_teacher", setting(student()))
    assert len(asked) == 18


def test_precedents_alone_weigh_the_unchanged_student_as_pld_reports_it(tmp_path: Path) -> None:
    """What PLD shows as "unchanged + precedents" is what this optimizer gives."""
    lm, optimizer = leaning_lm(), PLD(calibrate=True, precedents=10, tracking=None, run_dir=tmp_path / "pld")
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        optimizer.compile(student(), trainset=TRAIN, valset=VAL, testset=TEST, rationales=micro_rules(TRAIN))
        made = compile_with("precedents", setting(student(), folder=tmp_path / "run"))
        answers = [made(text=one.text).label for one in TEST]
        instructions = made.program.signature.instructions
    reported = optimizer.result.calibration.baseline_weighed.student.calibrated.score
    assert macro_f1([one.label for one in TEST], answers, LABELS) == pytest.approx(reported.macro_f1)
    assert instructions == student().signature.instructions
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()), pytest.raises(DataError, match="no label log-prob"):
        compile_with("precedents", setting(student(), folder=tmp_path / "none"))


def test_demonstrations_come_from_the_training_set_by_the_seed() -> None:
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        shown = [
            [demo["text"] for demo in compile_with("labelled_few_shot", setting(student(), seed=seed)).demos]
            for seed in (0, 0, 1)
        ]
    assert len(shown[0]) == 8
    assert set(shown[0]) <= {example.text for example in TRAIN}
    assert shown[0] == shown[1] != shown[2]


def contracts(n: int) -> list[dspy.Example]:
    """Examples of ContractNLI, each about a span that is not the contract's only one."""
    rows = [
        (
            f"The parties signed number {row}.\nCopies of number {row} are {word} at the end.\n{'Padding. ' * 210}",
            f"Copies of number {row} are destroyed.",
            contract_nli.LABELS[row % 3],
        )
        for row, word in enumerate(["destroyed", "kept", "counted"] * (n // 3))
    ]
    return [
        dspy.Example(contract=contract, hypothesis=hypothesis, relation=relation).with_inputs("contract", "hypothesis")
        for contract, hypothesis, relation in rows
    ]


def test_demonstrations_have_what_the_deciding_predictor_reads() -> None:
    lm, reader, examples = student_lm("Entailment"), contract_nli.student(), contracts(30)
    expected = {
        (reader.retrieve(example.contract, example.hypothesis), example.hypothesis, example.relation)
        for example in examples
    }
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        compiled = compile_with("labelled_few_shot", setting(reader, examples, []))
        assert calls(lm) == []
        compiled(**examples[0].inputs())
    shown = {(demo["excerpt"], demo["hypothesis"], demo["relation"]) for demo in compiled.decide.demos}
    assert len(shown) == 8
    assert shown < expected
    turns = [text for role, text in calls(lm)[0].messages if role == "user"]
    assert {turn for turn in turns[:-1]} == {f"excerpt: {excerpt}\nhypothesis: {said}" for excerpt, said, _ in shown}


def test_bootstrapped_demonstrations_are_none_of_the_labelled_ones() -> None:
    lm, examples = student_lm("Entailment"), contracts(30)
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        compiled = compile_with("bootstrap_few_shot", setting(contract_nli.student(), examples, []))
    demos = compiled.decide.demos
    own = [demo for demo in demos if demo.get("augmented")]
    assert (len(own), len(demos)) == (4, 8)
    assert {demo["relation"] for demo in own} == {"Entailment"}, "those that the student got right"
    assert len({demo["hypothesis"] for demo in demos}) == 8
    assert all(demo["excerpt"] for demo in demos)


def test_few_examples_are_all_shown_and_a_bound_lm_stays() -> None:
    lm = student_lm()
    for name in ("labelled_few_shot", "bootstrap_few_shot"):
        assert len(compile_with(name, setting(student(lm), TRAIN[:3], [])).demos) == 3
        with dspy.context(adapter=LabelAdapter()):
            assert compile_with(name, setting(student(lm), TRAIN, [])).lm is not None


def test_an_example_decided_without_the_predictor_shows_it_nothing() -> None:
    class Shortcut(Nested):
        def forward(self, text: str) -> dspy.Prediction:
            return dspy.Prediction(label="work") if "meeting" in text else super().forward(text)

    compiled = compile_with("labelled_few_shot", setting(Shortcut(), TRAIN[:8], []))
    shown = [demo["text"] for demo in compiled.sorter.demos]
    assert sorted(shown) == sorted(example.text for example in TRAIN[:8] if "meeting" not in example.text)
    assert len(shown) < 8


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(DataError, match="objective='f2'"):
        setting(student(), objective="f2")


def test_pld_and_the_linear_model_maximize_the_objective(tmp_path: Path) -> None:
    def work(examples: Sequence[dspy.Example], predictions: Sequence[dspy.Prediction]) -> float:
        return float(sum(prediction.get("label") == "work" for prediction in predictions) / len(predictions))

    rare = [*TRAIN[::3], TRAIN[1]]  # many of spam, one of work
    records = micro_rules(TRAIN)
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        given = {"budget": 200, "objective": work, "rationales": records, "folder": tmp_path / "run"}
        compiled = compile_with("pld", setting(student(), **given))
        assert compiled.signature.instructions == INSTRUCTIONS, "the unchanged student answers nothing but work"
        asked = "Mail 1 about nothing"
        balanced, plain = (
            compile_with("tfidf_logistic", setting(student(), rare, [], objective=objective)).predict.__self__
            for objective in ("macro_f1", "accuracy")
        )
    assert balanced.predict_proba([asked])[0].min() > plain.predict_proba([asked])[0].min()


def test_linear_model_learns_the_keywords_without_a_call() -> None:
    lm = student_lm()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        assert accuracy(compile_with("tfidf_logistic", setting(student()))) > 0.9
    assert calls(lm) == []


def test_reasoning_is_put_in_where_the_decision_is() -> None:
    program = Nested()
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        compiled = compile_with("chain_of_thought", setting(program))
        assert compiled(text="Mail 1 about the garden").reasoning
    assert isinstance(program.sorter, dspy.Predict)
    assert [name for name, _ in compiled.named_predictors()] == ["sorter.predict"]


def test_unknown_optimizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="zero_shot"):
        compile_with("magic", setting(student()))
