"""A compile that calibrates: what it fits, what that does on the test set, what comes back and what it costs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from engine import Failure, calls
from tasks import LABELS, TEST, TRAIN, VAL, Mail, compiled, leaning_lm, mail_task, mails, pld, student, student_lm

from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.calibrate.calibration import SavedCalibration
from pld_dspy.errors import DataError
from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.run.tracking import Recorder
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.student.adapter import LabelAdapter


def calibrated(folder: Path | None, lm: dspy.LM, **settings: Any) -> tuple[PLD, dspy.Module]:
    data = {name: settings.pop(name) for name in ("testset", "trainset") if name in settings}
    optimizer = pld(folder, calibrate=True, **settings)
    return optimizer, compiled(optimizer, student(lm), **data)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dspy.LM, PLDResult, dspy.Module, Path]:
    """A finished compile: the LM with its calls, the result, the program and the folder."""
    folder, lm = tmp_path_factory.mktemp("calibrated"), leaning_lm()
    optimizer, program = calibrated(folder, lm)
    return lm, optimizer.result, program, folder


def test_offsets_undo_what_a_student_likes_and_the_test_set_shows_it(done):
    found = done[1].calibration
    for side, plain in ((found.baseline, done[1].test.baseline), (found.compiled, done[1].test.compiled)):
        assert side.offsets.gain.macro_f1 > 0
        assert side.offsets.values[1] < min(side.offsets.values[0], side.offsets.values[2]) - 1
        assert side.plain.score == plain
        assert side.calibrated.score.macro_f1 > plain.macro_f1
        assert side.calibrated.calibration_error < side.plain.calibration_error
        assert side.calibrated.coverage[-1] == 1
        assert side.calibrated.risk[-1] == pytest.approx(1 - side.calibrated.score.accuracy, abs=1e-4)
        reached = [share >= 0.8 for share in side.calibrated.coverage].index(True)
        assert side.calibrated.error_at_80 == pytest.approx(side.calibrated.risk[reached], abs=1e-4)
        bins = side.calibrated.reliability
        assert sum(one.n for one in bins) == len(TEST)
        gap = sum(one.n * abs(one.confidence - one.accuracy) for one in bins) / len(TEST)
        assert gap == pytest.approx(side.calibrated.calibration_error, abs=1e-4)
    compiled_score = found.compiled.calibrated.score.macro_f1
    assert found.difference.macro_f1 == pytest.approx(compiled_score - done[1].test.compiled.macro_f1)
    assert found.difference_to_baseline.macro_f1 == pytest.approx(compiled_score - done[1].test.baseline.macro_f1)
    assert found.n == done[1].counts["train"] + done[1].counts["validation"]


def test_the_program_that_comes_back_decides_as_the_result_says(done):
    lm, result, program, _ = done
    assert isinstance(program, Calibrated)
    assert program.calibration.values == result.calibration.compiled.offsets.values
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        answers = [program(text=example.text) for example in TEST]
    labels = [answer.label for answer in answers]
    assert macro_f1(mail_task().golds(TEST), labels, LABELS) == result.calibration.compiled.calibrated.score.macro_f1
    assert all(0 < answer.confidence <= 1 for answer in answers)


def test_it_costs_two_calls_a_training_example_and_none_on_the_test_set(done):
    costs = done[1].costs["student"]
    assert costs["calibrate"].calls == 2 * len(TRAIN)
    assert costs["calibrate"].reused == 2 * done[1].counts["validation"]
    assert costs["test"].calls == 2 * len(TEST)
    assert done[1].seconds["calibrate"] > 0


def test_the_folder_keeps_the_users_own_program_and_the_offsets_beside_it(done):
    _, result, program, path = done
    folder = RunFolder(path)
    plain = dspy.Predict(Mail)
    plain.load_state(json.loads(folder.program.read_text()))
    assert plain.signature.instructions == result.instructions == program.program.signature.instructions
    saved = SavedCalibration.model_validate_json(folder.calibration.read_text())
    assert saved == result.calibration.compiled.saved
    assert saved.values == result.calibration.compiled.offsets.values
    assert PLDResult.load(path) == result


def test_run_again_it_asks_nothing_and_finds_the_same(done):
    lm, result, _, folder = done
    before = len(calls(lm))
    again, program = calibrated(folder, lm)
    assert len(calls(lm)) == before
    assert again.result.calibration == result.calibration
    assert isinstance(program, Calibrated)


def test_a_student_killed_while_it_calibrates_goes_on_where_it_was(tmp_path, done):
    lm = leaning_lm(failures=[Failure(TRAIN[20].text, KeyboardInterrupt(), times=1)])
    with pytest.raises(KeyboardInterrupt):
        calibrated(tmp_path, lm)
    optimizer, _ = calibrated(tmp_path, lm)
    asked = [(call.system, call.user) for call in calls(lm) if call.answer is not None]
    assert len(asked) == len(set(asked))
    assert optimizer.result.calibration == done[1].calibration


def test_where_no_offsets_pay_the_decisions_stand_and_have_a_confidence(tmp_path):
    lm = leaning_lm(skill=9.0)
    optimizer, program = calibrated(tmp_path, lm)
    side = optimizer.result.calibration.compiled
    assert side.offsets.gain is None
    assert not any(side.offsets.values)
    assert side.calibrated.score == side.plain.score
    assert optimizer.result.calibration.difference.macro_f1 == 0
    assert not optimizer.result.improved, "the unchanged student is calibrated as well"
    assert side.calibrated.calibration_error != side.plain.calibration_error
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        assert 0 < program(text=TEST[0].text).confidence <= 1


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lambda: leaning_lm(listing=False), {}),
        (lambda: student_lm(), {"adapter": dspy.ChatAdapter()}),
    ],
    ids=["server", "adapter"],
)
def test_without_log_probabilities_a_note_says_so_and_the_plain_program_comes_back(
    tmp_path: Path, make: Callable[[], dspy.LM], settings: dict[str, Any]
):
    optimizer, program = calibrated(tmp_path, make(), **settings)
    assert optimizer.result.calibration is None
    assert isinstance(program, dspy.Predict)
    [note] = [note for note in optimizer.result.notes if note.startswith("Nothing was calibrated")]
    assert "no label log-probabilities" in note
    assert optimizer.result.costs["student"]["calibrate"].calls == 0, "the answers at hand tell"
    assert not RunFolder(tmp_path).calibration.exists()


def test_without_a_test_set_it_is_fitted_all_the_same(tmp_path):
    optimizer, program = calibrated(tmp_path, leaning_lm(), testset=None)
    found = optimizer.result.calibration
    assert any(found.compiled.offsets.values)
    assert found.compiled.plain is found.compiled.calibrated is found.difference is None
    assert isinstance(program, Calibrated)


def test_a_cap_that_is_reached_while_it_calibrates_leaves_validation_to_fit_on(tmp_path, done):
    spent = {stage: cost.calls for stage, cost in done[1].costs["student"].items()}
    cap = sum(calls for stage, calls in spent.items() if stage not in ("test", "calibrate")) + 5
    lm = leaning_lm()
    optimizer, program = calibrated(tmp_path, lm, budget=Budget(student_calls=cap), error_rate=0.2)
    found = optimizer.result.calibration
    assert found.n == len(VAL)
    assert done[1].calibration.n == len(VAL) + len(TRAIN)
    assert found.compiled.abstention is None, "validation chose the rules: it promises nothing"
    assert isinstance(program, Calibrated)
    assert f"validation examples alone, which also chose the rules, and give no threshold: The cap of {cap}" in (
        "\n".join(optimizer.result.notes)
    )
    assert optimizer.result.test == done[1].test
    assert found.compiled.calibrated.score.macro_f1 > optimizer.result.test.compiled.macro_f1
    assert len(calls(lm)) == cap + spent["test"]


def test_the_objective_of_the_calibrated_answers_is_the_users(tmp_path):
    def said_work(examples: list[dspy.Example], predictions: list[dspy.Prediction]) -> float:
        return float(np.mean([prediction.label != "work" for prediction in predictions]))

    optimizer, _ = calibrated(tmp_path, leaning_lm(), objective=said_work)
    side = optimizer.result.calibration.compiled
    answered = sum(row.get("work", 0) for row in side.calibrated.score.confusion.values())
    assert side.calibrated.score.objective == pytest.approx(1 - answered / len(TEST))


def test_a_wanted_error_rate_gives_a_threshold_and_the_program_abstains_below_it(tmp_path, done):
    lm = leaning_lm()
    optimizer, program = calibrated(tmp_path, lm, error_rate=0.2)
    side = optimizer.result.calibration.compiled
    assert side.offsets == done[1].calibration.compiled.offsets
    assert side.calibrated == done[1].calibration.compiled.calibrated
    found = side.abstention
    assert (found.error_rate, found.n) == (0.2, len(TRAIN) + len(VAL))
    assert program.threshold == found.threshold is not None
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        answers = [(program(text=example.text), example.label) for example in TEST]
    given = [prediction.label == gold for prediction, gold in answers if not prediction.abstained]
    assert 0 < len(given) < len(TEST)
    assert (found.test.answered, found.test.wrong) == (len(given), given.count(False))
    assert found.test.coverage == len(given) / len(TEST)
    assert found.test.n_wrong / len(TEST) == pytest.approx(1 - side.calibrated.score.accuracy)
    assert found.validation.n == len(VAL)
    saved = json.loads(RunFolder(tmp_path).calibration.read_text())
    assert (saved["error_rate"], saved["threshold"]) == (0.2, found.threshold)
    assert PLDResult.load(tmp_path) == optimizer.result


def test_a_rate_that_so_few_examples_cannot_promise_leaves_everything_answered_and_a_note(tmp_path):
    optimizer, program = calibrated(tmp_path, leaning_lm(), error_rate=0.05, testset=None)
    found = optimizer.result.calibration.compiled.abstention
    assert found.threshold is program.threshold is found.test is None
    assert found.validation.answered == found.validation.n == len(VAL)
    [note] = [note for note in optimizer.result.notes if "promise" in note]
    assert "the error rate 0.05 on 60 training and validation examples: even without an error it takes 104" in note
    saved = json.loads(RunFolder(tmp_path).calibration.read_text())
    assert (saved["error_rate"], saved["threshold"]) == (0.05, None)


def test_without_an_error_rate_nothing_is_said_of_one(done):
    _, result, program, path = done
    assert program.threshold is result.calibration.compiled.abstention is None
    saved = json.loads(RunFolder(path).calibration.read_text())
    assert saved["error_rate"] is saved["threshold"] is None
    assert PLD(calibrate=True).get_params()["error_rate"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"error_rate": 0.05}, r"error_rate=0\.05 needs confidences.*calibrate=True"),
        ({"error_rate": 0.0, "calibrate": True}, r"error_rate=0\.0 is out of range"),
        ({"error_rate": 1.0, "calibrate": True}, r"error_rate=1\.0 is out of range"),
    ],
)
def test_an_error_rate_that_cannot_be_served_is_refused(settings, message):
    with pytest.raises(DataError, match=message):
        PLD(**settings)


def test_it_is_a_setting_like_others(tmp_path):
    assert PLD(calibrate=True).get_params()["calibrate"] is True
    plain = pld(tmp_path).estimate(student(student_lm()), trainset=TRAIN, valset=mails(24, start=100))
    more = pld(tmp_path, calibrate=True).estimate(student(student_lm()), trainset=TRAIN, valset=mails(24, start=100))
    assert more.student_calls == plain.student_calls + 2 * len(TRAIN)


def test_a_recorder_is_told_of_the_calibrated_figures(tmp_path):
    class Notes(Recorder):
        def __init__(self) -> None:
            self.metrics: dict[str, float] = {}
            self.files: set[str] = set()

        def metric(self, name: str, value: float | None, step: int = 0) -> None:
            self.metrics[name] = value

        def artifact(self, path: Path) -> None:
            self.files.add(path.name)

    notes = Notes()
    optimizer, _ = calibrated(tmp_path, leaning_lm(), tracking=notes)
    side = optimizer.result.calibration.compiled.calibrated
    assert notes.metrics["test_macro_f1_compiled_calibrated"] == side.score.macro_f1
    assert notes.metrics["test_calibration_error_compiled_calibrated"] == side.calibration_error
    assert notes.metrics["test_error_at_80_compiled_calibrated"] == side.error_at_80
    assert "calibration.json" in notes.files
