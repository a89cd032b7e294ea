"""pld-dspy compile --calibrate, and what evaluate makes of it."""

import json
import math
import re
from pathlib import Path

import pytest
from command_line import COMPILE, SIGNS, SMALL, refused, rows_of, run
from dspy import lm15
from engine import rule_following_lm

from pld_dspy.calibrate.precedents import Precedents, Weights
from pld_dspy.cli import run_spec
from pld_dspy.cli.search import unfinished_compile
from pld_dspy.local.classifier import Note
from pld_dspy.local.embedding import tfidf_svd
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult


class TestCalibrate:
    @pytest.fixture
    def unsure(self, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A student that is never quite sure, and says food too often."""

        def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
            own = lm.engine.fn(system, user)
            other = next(label for label in SIGNS if label != own)
            top = (lm15.TopLogprob(own, math.log(0.6)), lm15.TopLogprob(other, math.log(0.4)))
            return [lm15.TokenLogprob(own, math.log(0.6), top=top)]

        lm = rule_following_lm("food", model="custom/unsure", cache=False, logprobs=tokens)
        monkeypatch.setattr(run_spec, "resolve_lm", lambda spec, **settings: lm)

    @pytest.fixture
    def calibrated(self, unsure: None) -> str:
        """What a calibrated compile prints."""
        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--calibrate", "--quiet")
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_the_result_stands_beside_the_uncalibrated_one(self, calibrated: str) -> None:
        assert (
            "Calibrated on 16 training and validation examples; compiled student: offsets do not pay, temperature"
            in calibrated
        )
        shown = (
            r"compiled +1\.000 \[0\.57, 1\.00\] +1\.000 \[0\.57, 1\.00\] +0\.400 -> 0\.0\d\d +0\.000 -> 0\.000 +8 *\n"
        )
        assert re.search(shown, calibrated), calibrated
        assert re.search(
            r"unchanged +0\.333 \[.+\] +0\.333 \[.+\] +0\.\d+ -> 0\.\d+ +0\.500 -> 0\.500 +8 *\n", calibrated
        )
        assert "Difference by calibration +0.000 [+0.00, +0.00], p = 1.000; compiled and calibrated" in calibrated
        assert '<h2 id="calibration">' in Path("run/report.html").read_text(encoding="utf-8")

    def test_evaluate_takes_the_calibration_along_and_says_so(self, calibrated: str) -> None:
        assert "With the run's calibration" in run("evaluate", "run").stdout
        assert json.loads(run("evaluate", "run", "--json").stdout)["calibrated"] is True

        assert "calibration" not in run("evaluate", "run", "--baseline").stdout
        assert json.loads(run("evaluate", "run", "--json", "--baseline").stdout)["calibrated"] is False

        other = run("evaluate", "run", "--student", "openai/other")
        assert "Without the run's calibration, which was fitted for openai/none." in other.stdout

    def test_offsets_in_the_run_folder_decide(self, calibrated: str) -> None:
        path = Path("run/calibration.json")
        offsets = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**offsets, "values": [30.0, 0.0]}), encoding="utf-8")
        assert json.loads(run("evaluate", "run", "--json").stdout)["per_label"]["food"]["recall"] == 1.0
        assert json.loads(run("evaluate", "run", "--json").stdout)["per_label"]["sport"]["recall"] == 0.0

        folder = RunFolder("run")
        text = folder.rules.read_text(encoding="utf-8")
        folder.rules.write_text(text.replace("match or goal", "match"), encoding="utf-8")
        shown = run("recheck", "run", "--test").stdout
        assert "With the run's calibration, which was fitted under the rules of the compile." in shown
        assert "validation: macro-F1 0.333 [0.20, 0.88] -> 0.333" in shown
        result = PLDResult.load(folder.path)
        assert result.validation.compiled.accuracy == 0.875, "as in a compile: without calibration"
        assert result.calibration.compiled.calibrated.score.n == result.test.compiled.n == 8

        # Precedents that weigh all decide whatever the rules say; an example itself, here with a wrong label, does not.
        rows = [*({**row, "topic": "food"} for row in rows_of("val")), *rows_of("train")]
        texts, golds, ids = ([row[name] for row in rows] for name in ("text", "topic", "id"))
        notes = [Note(4, "Food is food."), Note(4, "It is about food.")]
        known = Precedents.of(texts, golds, ids, tuple(SIGNS), tfidf_svd, count=1, notes=notes)
        folder.precedents.write_text(known.with_weights(Weights(student=0, nearest=1)).model_dump_json(), "utf-8")
        path.write_text(json.dumps(offsets), encoding="utf-8")
        folder.rules.write_text("rules: []", encoding="utf-8")
        shown = run("recheck", "run").stdout
        assert "validation: macro-F1 1.000" in shown
        assert "No answer changed." in shown
        assert PLDResult.load(folder.path).calibration.compiled.calibrated is None
        asked = run("ask", "run", rows_of("val")[4]["text"]).stdout
        assert asked == (
            "topic: food\nconfidence: 1.00\nthe student's probabilities: food 0.60, sport 0.40\n"
            "precedent val-4: food, similarity 1.00: It is about food.\n"
        )

    def test_a_damaged_calibration_is_refused(self, calibrated: str) -> None:
        Path("run/calibration.json").write_text('{"labels": ["food"], "values": []}', encoding="utf-8")
        assert "calibration.json is damaged" in refused(run("evaluate", "run"))

    def test_an_error_rate_gives_a_threshold_that_evaluate_and_monitor_keep_to(self, unsure: None) -> None:
        asked = (
            "--student",
            "openai/none",
            "--calibrate",
            "--error-rate",
            "0.5",
            "--quiet",
            "--max-student-calls",
            "400",
        )
        result = run(*COMPILE, *SMALL, *asked)
        assert result.exit_code == 0, result.output
        assert "\nTest: Wanted error rate 0.5, threshold " in result.stdout
        assert "8 of 8 answered, coverage 1.000, error rate 0.000 (0 wrong); if all are answered" in result.stdout
        helper = unfinished_compile(Path("run"))[1]
        assert helper.error_rate == 0.5, "helpers search for the same compile"
        assert helper.budget.student_calls == 400, "and under its caps"

        path = Path("run/calibration.json")
        saved = json.loads(path.read_text(encoding="utf-8"))
        found = json.loads(run("evaluate", "run", "--json").stdout)
        assert saved["error_rate"] == found["abstention"]["wanted"] == 0.5
        assert saved["threshold"] == found["abstention"]["threshold"]
        assert (found["abstention"]["n"], found["abstention"]["answered"]) == (8, 8)

        path.write_text(json.dumps({**saved, "threshold": 1.0}), encoding="utf-8")
        found = json.loads(run("evaluate", "run", "--json").stdout)
        assert found["accuracy"] == 1.0, "abstentions count neither as wrong nor as right"
        assert (found["abstention"]["answered"], found["abstention"]["error_rate"]) == (0, None)
        told = run("evaluate", "run").stdout
        assert "0 of 8 answered, coverage 0.000; if all are answered, error rate 0.000 (0 wrong)." in told
        assert "abstention" not in json.loads(run("evaluate", "run", "--json", "--baseline").stdout)

        rows = [{"text": f"A new note about the {word}.", "confidence": 0.1} for word in SIGNS["food"]]
        Path("new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        seen, asked = (
            json.loads(run("monitor", "run", "--data", "new.jsonl", "--json", *more).stdout)["checks"][-1]
            for more in ((), ("--ask",))
        )
        assert (seen["name"], seen["value"]) == ("confidence", 1.0)
        assert seen["text"].endswith(" -> 0.10; under the threshold 100% -> 100%")
        assert asked["value"] == 0.0, "the same student is as sure of all that it answers"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--error-rate", "0.05"), "error_rate=0.05 needs confidences, and calibrate is off. Turn it on"),
            (("--calibrate", "--error-rate", "1"), "error_rate=1.0 is out of range. Give one over 0 and under 1."),
        ],
    )
    def test_an_error_rate_that_cannot_be_served_is_refused(
        self, task: Path, arguments: tuple[str, ...], message: str
    ) -> None:
        assert message in refused(run(*COMPILE, *arguments))
