"""Every compile says what the same labels give without it."""

import dspy
import pytest
from engine import calls
from tasks import TEST, TRAIN, VAL, Mail, compiled, leaning_lm, mail, mail_task, micro_rules, pld, student, student_lm

from pld_dspy.compile.build_result import loss_note
from pld_dspy.errors import DataError
from pld_dspy.pld import PLD
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import Comparison, PLDResult
from pld_dspy.scoring.baselines import CLASSIFIER, MAJORITY, NEIGHBOURS, NOTED
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.score import score


def test_they_learn_from_all_labels_that_the_compile_had_and_stand_beside_the_student(tmp_path):
    optimizer, lm = pld(tmp_path), student_lm()
    compiled(optimizer, student(lm))
    result, found = optimizer.result, optimizer.result.baselines
    assert (found.split, found.labels) == ("test", len(TRAIN) + len(VAL))
    assert found.student == result.test.compiled
    for row in found.rows:
        assert row.score.n == len(TEST)
        expected = result.test.compiled.macro_f1 - row.score.macro_f1
        assert row.difference.macro_f1 == pytest.approx(expected)
    assert found[MAJORITY].difference.macro_f1 == pytest.approx(5 / 6)
    assert result.notes[-1] == found.verdict
    assert result.seconds["baselines"] > 0
    assert PLDResult.load(tmp_path).baselines == found
    assert "baselines" not in result.costs["student"]


def test_without_a_test_set_they_learn_from_training_and_are_scored_on_validation(tmp_path):
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()), testset=None)
    found = optimizer.result.baselines
    assert (found.split, found.labels, found[CLASSIFIER].score.n) == ("validation", len(TRAIN), len(VAL))
    assert found.student == optimizer.result.validation.compiled
    assert "on validation" in optimizer.result.notes[-1]


@pytest.mark.parametrize("testset", [TEST, None])
def test_a_calibrated_student_is_compared_as_the_user_gets_it(tmp_path, testset):
    optimizer, lm = pld(tmp_path, calibrate=True), leaning_lm()
    program = compiled(optimizer, student(lm), testset=testset)
    examples = testset or VAL
    with dspy.context(lm=lm, adapter=optimizer.adapter):
        labels = [program(**example.inputs()).label for example in examples]
    task, plain = mail_task(), optimizer.result.test or optimizer.result.validation
    assert optimizer.result.baselines.student == score(task.golds(examples), labels, task.labels)
    assert optimizer.result.baselines.student != plain.compiled


def test_old_results_without_them_are_read(tmp_path):
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()))
    optimizer.result.model_copy(update={"baselines": None}).save(tmp_path)
    text = RunFolder(tmp_path).result.read_text().replace('"baselines": null,', "")
    RunFolder(tmp_path).result.write_text(text)
    assert PLDResult.load(tmp_path).baselines is None


def test_they_can_be_had_before_a_compile_without_a_model_on_the_same_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"trainset": TRAIN, "valset": VAL, "testset": TEST}
    alone = PLD().baselines(dspy.Predict(Mail), **data, rationales=micro_rules(TRAIN))
    assert NOTED not in [row.name for row in PLD().baselines(dspy.Predict(Mail), **data).rows]
    with monkeypatch.context() as patch:
        patch.setattr("pld_dspy.scoring.baselines.MOST_NOTES", 2 * len(TRAIN) - 1)
        many = PLD().baselines(dspy.Predict(Mail), **data, rationales=micro_rules(TRAIN))
    assert NOTED not in [row.name for row in many.rows]
    assert NOTED in [row.name for row in alone.rows]
    assert alone.student is None
    assert alone.verdict is None
    assert list(tmp_path.iterdir()) == []
    optimizer = pld(tmp_path / "run")
    compiled(optimizer, student(student_lm()))
    beside = optimizer.result.baselines
    assert [row.score for row in alone.rows] == [row.score for row in beside.rows]
    assert alone.curve == beside.curve

    lm = student_lm()
    split = PLD().baselines(student(lm), trainset=TRAIN)
    assert calls(lm) == []
    assert (split.split, split.labels + split[NEIGHBOURS].score.n) == ("validation", len(TRAIN))


def test_unusable_data_is_refused_as_by_compile():
    with pytest.raises(DataError, match="share the same text"):
        PLD().baselines(dspy.Predict(Mail), trainset=TRAIN, testset=TRAIN[:3])
    with pytest.raises(DataError, match="nothing to decide"):
        PLD().baselines(dspy.Predict(Mail), trainset=TRAIN[:1], valset=VAL)


def test_three_examples_are_enough():
    few = [mail(1, "spam", "lottery"), mail(2, "work", "meeting"), mail(3, "home", "dinner")]
    found = PLD().baselines(dspy.Predict(Mail), trainset=few[:2], valset=few[2:])
    assert (found.labels, found.curve) == (2, ((2, 0.0),))
    assert found[CLASSIFIER].score.accuracy == 0.0, "a label that it has never seen"


def test_a_loss_on_test_beyond_chance_is_said_first():
    golds = ["a", "b"] * 20
    good, bad = golds, ["a"] * 40
    worse, better = (
        Comparison(
            baseline=score(golds, before, ["a", "b"]),
            compiled=score(golds, after, ["a", "b"]),
            difference=difference(golds, before, after, ["a", "b"]),
        )
        for before, after in ((good, bad), (bad, good))
    )
    [said] = loss_note(worse)
    assert said.startswith("The rules make this student worse: macro-F1 on test -0.667 [")
    assert [*loss_note(better), *loss_note(None)] == []
