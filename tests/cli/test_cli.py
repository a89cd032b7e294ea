"""The command as a user runs it: what it prints where, its exit codes, and what it refuses."""

import csv
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
import typer
import yaml
from dspy import lm15
from engine import calls, rule_following_lm
from typer.testing import CliRunner, Result

from pld_dspy.cli import run_spec as command_module
from pld_dspy.cli.app import app
from pld_dspy.cli.finished_run import unfinished
from pld_dspy.cli.printing import mlflow_line
from pld_dspy.errors import DataError
from pld_dspy.induce.config import InduceConfig
from pld_dspy.local.models import CATALOGUE
from pld_dspy.run.folder import RunFolder
from pld_dspy.search.config import SearchConfig

ROOT = Path(__file__).parents[2]
SIGNS = {"food": ("soup", "bread", "recipe", "oven"), "sport": ("match", "goal", "team", "coach")}
TABLES = ("--train", "train.csv", "--val", "val.csv", "--test", "test.csv", "--input", "text", "--label", "topic")
COMPILE = ("compile", *TABLES, "--rationales", "rationales.jsonl", "--out", "run", "--tracking", "none")
SMALL = ("--screen-calls", "24", "--trials", "1", "--threads", "1")

Rows = list[dict[str, Any]]


def rows_of(split: str) -> Rows:
    words = [(label, word) for label, words in SIGNS.items() for word in words]
    return [
        {"id": f"{split}-{row}", "text": f"A {split} note [{row}] about the {word}.", "topic": label}
        for row, (label, word) in enumerate(words)
    ]


def write_csv(path: Path, rows: Rows, header: Sequence[str] = ("id", "text", "topic")) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def write_task(folder: Path) -> None:
    """Two topics, told apart by one word; the rules name the words of a topic."""
    for split in ("train", "val", "test"):
        write_csv(folder / f"{split}.csv", rows_of(split))
    lines = []
    for row in rows_of("train"):
        word = row["text"].rstrip(".").split()[-1]
        rule = f"If the text mentions {' or '.join(SIGNS[row['topic']])}, answer {row['topic']}."
        record = {"example_id": row["id"], "inputs": {"text": row["text"]}, "label": row["topic"]}
        lines.append(json.dumps({**record, "rationale": f"It is about a {word}.", "rule": rule}))
    (folder / "rationales.jsonl").write_text("\n".join(lines), encoding="utf-8")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The message of a refusal: one line on standard error, nothing on standard output, exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables of a task, as the current folder; no model can be had."""

    def no_model(spec: str, **settings: Any) -> dspy.LM:
        raise AssertionError(f"{spec} was started")

    write_task(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_module, "resolve_lm", no_model)
    return tmp_path


@pytest.fixture
def student(task: Path, monkeypatch: pytest.MonkeyPatch) -> dspy.LM:
    """The student that every model name stands for: it obeys rules, and answers "food" without one."""
    lm = rule_following_lm("food", model="custom/cli-student", cache=False)
    monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
    return lm


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run; the tests that use it copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    write_task(folder)
    lm = rule_following_lm("food", model="custom/cli-student", cache=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--quiet")
    assert result.exit_code == 0, result.output
    (folder / "stdout").write_text(result.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def done(finished: Path, student: dspy.LM, task: Path) -> Path:
    """The current folder, with a finished run in ``run``."""
    shutil.copytree(finished / "run", task / "run")
    return task


class TestCompile:
    def test_prints_what_came_of_it(self, finished: Path) -> None:
        printed = (finished / "stdout").read_text(encoding="utf-8")
        assert re.search(r"\nDifference in accuracy on test \+\d\.\d+ \[\+.*\], p = 0\.\d{4}\.\n", printed), printed

        assert "0.333" in printed
        assert "1.000" in printed
        assert "answer sport." in printed
        assert "p = " in printed
        assert "Note: No teacher" in printed
        assert "Report: run/report.html" in printed
        assert "mlflow" not in printed

    def test_leaves_a_run_that_says_how_it_was_made(self, finished: Path) -> None:
        settings = yaml.safe_load((finished / "run" / "config.yaml").read_text(encoding="utf-8"))

        assert settings["command"]["source"]["labels"] == ["food", "sport"]
        assert settings["command"]["student"] == {"spec": "openai/none"}
        assert (finished / "run" / "report.html").is_file()

    def test_the_same_command_again_asks_nothing(self, done: Path, student: dspy.LM) -> None:
        assert run(*COMPILE, *SMALL, "--student", "openai/none").exit_code == 0
        assert calls(student) == []

    def test_another_compile_in_the_same_folder_is_refused(self, done: Path) -> None:
        result = run(*COMPILE, "--screen-calls", "48", "--trials", "1", "--student", "openai/none", "--quiet")

        assert "holds another compile: settings differ" in refused(result)
        assert run(*COMPILE, *SMALL, "--student", "openai/none", "--seed", "1", "--fresh").exit_code == 0

    def test_logs_to_standard_error_unless_quiet(self, done: Path) -> None:
        loud = run(*COMPILE, *SMALL, "--student", "openai/none")
        quiet = run(*COMPILE, *SMALL, "--student", "openai/none", "--quiet")

        assert "baseline\n" in loud.stderr
        assert "baseline\n" not in loud.stdout
        assert quiet.stderr == ""

    def test_a_key_is_read_from_the_environment_and_stays_there(
        self, student: dspy.LM, task: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = []
        monkeypatch.setattr(
            command_module, "resolve_lm", lambda spec, **settings: given.append(settings["api_key"]) or student
        )
        monkeypatch.setenv("MY_KEY", "sk-secret")

        assert run(*COMPILE, *SMALL, "--student", "openai/x", "--student-api-key-env", "MY_KEY").exit_code == 0
        assert set(given) == {"sk-secret"}
        assert not [path for path in (task / "run").iterdir() if b"sk-secret" in path.read_bytes()]

    def test_interrupted_it_says_how_to_go_on_and_repeats_no_call(
        self, student: dspy.LM, task: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = student.engine.fn

        def interrupted(system: str, user: str) -> str:
            if len(calls(student)) == 20:
                raise KeyboardInterrupt
            return answer(system, user)

        monkeypatch.setattr(student.engine, "fn", interrupted)
        stopped = run(*COMPILE, *SMALL, "--student", "openai/none", "--quiet")
        assert stopped.exit_code == 130
        assert "the same command resumes" in stopped.stderr
        assert "its compile has not finished" in refused(run("evaluate", "run"))
        assert "its compile has not finished" in refused(run("rules", "run"))

        monkeypatch.setattr(student.engine, "fn", answer)
        assert run(*COMPILE, *SMALL, "--student", "openai/none", "--quiet").exit_code == 0
        asked = [(call.system, call.user) for call in calls(student)]
        assert len(set(asked)) == len(asked)

    def test_an_interrupt_drops_the_calls_that_wait_for_a_thread(
        self, student: dspy.LM, task: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = student.engine.fn
        number = itertools.count()

        def interrupted(system: str, user: str) -> str:
            if next(number) == 10:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)
            return answer(system, user)

        rows = [
            {**row, "id": f"{row['id']}-{copy}", "text": f"{copy} {row['text']}"}
            for copy in range(12)
            for row in rows_of("val")
        ]
        write_csv(task / "val.csv", rows)
        monkeypatch.setattr(student.engine, "fn", interrupted)

        handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for background jobs
        try:
            stopped = run(*COMPILE, *SMALL[:-1], "2", "--student", "openai/none", "--quiet")
        finally:
            signal.signal(signal.SIGINT, handler)

        assert stopped.exit_code == 130
        assert len(calls(student)) < 20

    def test_a_program_brings_its_own_student_data_and_rationales(self, student: dspy.LM, task: Path) -> None:
        result = run("compile", "--program", "pld_dspy.demo", "--estimate")

        assert result.exit_code == 0, result.output
        assert "0 teacher calls" in result.stdout

    def test_a_program_can_be_a_file_here(self, student: dspy.LM, task: Path) -> None:
        program(task, "topics")
        options = ("--data", ".", "--rationales", "rationales.jsonl", "--tracking", "none")
        compiled = run("compile", "--program", "topics.py", *options, *SMALL, "--student", "openai/none")
        assert compiled.exit_code == 0, compiled.output

        result = run("evaluate", "runs/topics", "--json", "--quiet")

        assert json.loads(result.stdout)["macro_f1"] == 1.0

    def test_what_a_program_is_bound_to_is_kept_and_not_written_down(self, student: dspy.LM, task: Path) -> None:
        program(task, "bound", bound="sport")
        options = ("--data", ".", "--rationales", "rationales.jsonl", "--tracking", "none")
        compiled = run("compile", "--program", "bound.py", *options, *SMALL, "--student", "openai/none")
        assert compiled.exit_code == 0, compiled.output

        baseline = run("evaluate", "runs/bound", "--json", "--baseline", "--quiet")
        result = run("evaluate", "runs/bound", "--json", "--quiet")

        assert json.loads(baseline.stdout)["per_label"]["sport"]["recall"] == 1.0
        assert json.loads(result.stdout)["macro_f1"] == 1.0
        assert calls(student) == []
        assert json.loads((task / "runs" / "bound" / "program.json").read_text(encoding="utf-8"))["lm"] is None


class TestEstimate:
    def test_bounds_the_calls_and_starts_no_model(self, task: Path) -> None:
        result = run(*COMPILE, *SMALL, "--student", "local:smollm2-135m", "--estimate")

        assert result.exit_code == 0, result.output
        assert re.search(r"At most \d+ student and 0 teacher calls\.", result.stdout)
        result = run(*COMPILE, *SMALL, "--student", "local:smollm2-135m", "--max-student-calls", "9", "--estimate")
        assert "0 teacher calls, with the caps" in " ".join(result.stdout.split())
        assert not (task / "run").exists()

    def test_counts_the_calls_of_a_teacher(self, task: Path) -> None:
        result = run("compile", *TABLES, *SMALL, "--teacher", "local", "--estimate")

        assert result.exit_code == 0, result.output
        assert "0 teacher calls" not in result.stdout

    def test_the_demo_knows_its_own_search(self) -> None:
        result = run("demo", "--estimate")

        assert result.exit_code == 0, result.output
        assert "search" in result.stdout

    def test_the_demo_can_be_told_of_an_error_rate(self, student: dspy.LM, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(system: str, user: str) -> str:
            raise KeyboardInterrupt

        assert "error_rate=0.1 needs confidences, and calibrate is off" in refused(run("demo", "--error-rate", "0.1"))
        monkeypatch.setattr(student.engine, "fn", interrupted)
        told = ("--calibrate", "--error-rate", "0.1", "--student", "openai/none", "--tracking", "none")
        assert run("demo", *told).exit_code == 130
        pld = unfinished(Path("runs/demo"))[1]
        assert (pld.calibrate, pld.error_rate) == (True, 0.1)


class TestSuspects:
    def test_a_doubted_label_is_dropped_where_asked_and_named(self, task: Path, student: dspy.LM) -> None:
        path = task / "rationales.jsonl"
        lines = path.read_text(encoding="utf-8").replace("It is about a soup.", "[doubtful label] Is it?")
        path.write_text(lines, encoding="utf-8")

        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--suspects", "drop", "--quiet")

        assert "Note: Training labels that are doubted: 1, the most doubtful first: train-0 (food" in result.stdout
        found = json.loads((task / "run" / "result.json").read_text(encoding="utf-8"))
        assert found["counts"]["suspects_dropped"] == 1
        assert not any("train-0" in rule["support"] for rule in [*found["rules"]["rules"], *found["bench"]])

    def test_an_audit_by_a_teacher_needs_one(self, task: Path) -> None:
        said = refused(run(*COMPILE, *SMALL, "--audit", "teacher", "--quiet"))
        assert "there is no teacher. Give one, as PLD(teacher=...) or --teacher" in said

    def test_audit_and_draws_are_in_the_estimate(self, task: Path) -> None:
        told = ("--teacher", "local", "--estimate")
        plain, more = run(*COMPILE, *told), run(*COMPILE, *told, "--audit", "teacher", "--draws", "3")
        assert "audit" not in plain.stdout
        assert re.search(r"audit +teacher +8 ", more.stdout), more.output
        asked = [int(re.search(r"induce +teacher +(\d+) ", found.stdout)[1]) for found in (plain, more)]
        assert asked[1] == 3 * asked[0]

    def test_by_default_nothing_is_doubted(self, finished: Path) -> None:
        found = json.loads((finished / "run" / "result.json").read_text(encoding="utf-8"))
        assert found["counts"]["suspects_dropped"] == found["counts"]["suspects_down_weighted"] == 0
        assert found["counts"]["labels_without_rule"] == found["counts"]["about_format"] == 0


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
        monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)

    @pytest.fixture
    def calibrated(self, unsure: None) -> str:
        """What a calibrated compile prints."""
        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--calibrate", "--quiet")
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_the_result_stands_beside_the_uncalibrated_one(self, calibrated: str) -> None:
        assert "Calibrated on 16 training and validation examples; compiled, no offsets pay, temperature" in calibrated
        shown = (
            r"compiled +1\.000 \[0\.57, 1\.00\] +1\.000 \[0\.57, 1\.00\] +0\.400 -> 0\.0\d\d +0\.000 -> 0\.000 +8 *\n"
        )
        assert re.search(shown, calibrated), calibrated
        assert re.search(
            r"unchanged +0\.333 \[.+\] +0\.333 \[.+\] +0\.\d+ -> 0\.\d+ +0\.500 -> 0\.500 +8 *\n", calibrated
        )
        assert "Difference by calibration +0.000 [+0.00, +0.00], p = 1.0000; compiled and calibrated" in calibrated
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

    def test_a_damaged_calibration_is_refused(self, calibrated: str) -> None:
        Path("run/calibration.json").write_text('{"labels": ["food"], "values": []}', encoding="utf-8")
        assert "calibration.json is damaged" in refused(run("evaluate", "run"))

    def test_an_error_rate_gives_a_threshold_that_evaluate_keeps_to(self, unsure: None) -> None:
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
        helper = unfinished(Path("run"))[1]
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


class TestEvaluate:
    def test_json_stands_alone_on_standard_output(
        self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        answer = student.engine.fn

        def noisy(system: str, user: str) -> str:
            sys.stdout.write("a library's greeting")
            os.write(1, b"a compiled library's greeting\n")
            return answer(system, user)

        monkeypatch.setattr(student.engine, "fn", noisy)
        result = run("evaluate", "run", "--json")

        found = json.loads(result.stdout)
        assert set(found) == {"macro_f1", "accuracy", "n", "failures", "per_label", "calibrated", "seconds"}
        assert (found["macro_f1"], found["n"], found["failures"]) == (1.0, 8, 0)
        assert found["per_label"]["food"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 4}
        assert capfd.readouterr().out == ""
        os.write(1, b"restored")
        assert capfd.readouterr().out == "restored"

    def test_baseline_is_the_unchanged_student(self, done: Path) -> None:
        result = run("evaluate", "run", "--baseline", "--json")

        assert json.loads(result.stdout)["macro_f1"] == pytest.approx(1 / 3)

    def test_a_test_split_that_changed_since_is_not_the_runs_own(self, done: Path) -> None:
        table = done / "test.csv"
        table.write_text("\n".join(table.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")

        assert "is no longer the one" in refused(run("evaluate", "run"))

    def test_rows_of_any_table_with_the_fields_will_do(self, done: Path) -> None:
        rows = [{"topic": "sport", "extra": 1, "text": "The goal."}, {"topic": "sport", "extra": 2, "text": "Soup"}]
        (done / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

        result = run("evaluate", "run", "--data", "more.jsonl", "--json")

        assert json.loads(result.stdout)["accuracy"] == 0.5

    def test_nothing_is_asked_twice(self, done: Path, student: dspy.LM) -> None:
        first = run("evaluate", "run", "--json")
        asked = len(calls(student))
        second = run("evaluate", "run", "--json")

        assert asked == 8
        assert len(calls(student)) == asked
        assert json.loads(first.stdout) == json.loads(second.stdout)

    def test_another_model_is_asked_anew(self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch) -> None:
        given = []
        other = rule_following_lm("sport", model="custom/cli-other", cache=False)
        monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: given.append(spec) or other)

        result = run("evaluate", "run", "--baseline", "--student", "openai/other", "--json")

        assert given[-1] == "openai/other"
        assert json.loads(result.stdout)["per_label"]["sport"]["recall"] == 1.0

    def test_prints_a_table_for_people(self, done: Path) -> None:
        result = run("evaluate", "run")

        assert "macro-F1 1.000" in result.stdout
        assert "sport" in result.stdout

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"text": "a", "topic": "music"}], "label 'music' is not in the label set"),
            ([{"text": "a", "label": "food"}], "no column 'topic'. It has 'text', 'label'"),
            ([{"text": None, "topic": "food"}], "test row 0 has no value for the input field 'text'"),
        ],
    )
    def test_unusable_rows_are_refused_before_a_call(
        self, done: Path, student: dspy.LM, rows: Rows, message: str
    ) -> None:
        (done / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

        assert message in refused(run("evaluate", "run", "--data", "bad.jsonl"))
        assert calls(student) == []

    def test_a_run_made_from_python_is_not_guessed_at(self, done: Path) -> None:
        folder = RunFolder("run")
        settings = {name: value for name, value in folder.settings().items() if name != "command"}
        folder.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

        assert "was compiled from Python" in refused(run("evaluate", "run"))

    def test_a_damaged_config_is_refused(self, done: Path) -> None:
        RunFolder("run").add_settings("command", {"source": {"kind": "tables"}})

        assert "config.yaml is damaged" in refused(run("evaluate", "run"))

    @pytest.mark.parametrize("content", ["", "seed: [0\n"])
    def test_a_config_cut_short_is_refused_by_all_that_read_it(self, done: Path, content: str) -> None:
        RunFolder("run").config.write_text(content, encoding="utf-8")
        compiling = (*COMPILE, *SMALL, "--student", "openai/none", "--quiet")

        for arguments in (("evaluate", "run"), ("search", "run"), compiling):
            assert "config.yaml is damaged" in refused(run(*arguments))
        assert run(*compiling, "--fresh").exit_code == 0

    def test_settings_that_are_missing_are_named(self, done: Path) -> None:
        RunFolder("run").add_settings("settings", {"objective": "macro_f1"})

        assert "config.yaml is damaged: KeyError('search_" in refused(run("search", "run"))

    @pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
    def test_a_program_that_is_lost_or_damaged_is_refused(self, done: Path, content: str | None) -> None:
        path = RunFolder("run").program
        path.unlink() if content is None else path.write_text(content, encoding="utf-8")

        assert "Cannot load run/program.json" in refused(run("evaluate", "run"))


class TestRules:
    def test_text_shows_rules_in_order_with_their_support(self, done: Path) -> None:
        printed = run("rules", "run").stdout

        assert printed.lstrip().startswith("1. If the text mentions")
        assert "sport-1: sport" in printed
        assert "from 4 examples" in printed

    def test_prompt_is_the_whole_instruction_and_nothing_else(self, done: Path) -> None:
        state = json.loads((done / "run" / "program.json").read_text(encoding="utf-8"))

        assert run("rules", "run", "--format", "prompt").stdout == f"{state['signature']['instructions']}\n"

    def test_yaml_has_the_bench_where_asked(self, done: Path) -> None:
        brief = yaml.safe_load(run("rules", "run", "--format", "yaml").stdout)
        full = yaml.safe_load(run("rules", "run", "--format", "yaml", "--bench").stdout)

        assert brief["bench"] == []
        assert full == yaml.safe_load((done / "run" / "rules.yaml").read_text(encoding="utf-8"))

    def test_why_shows_the_examples_that_a_rule_rests_on(self, done: Path) -> None:
        printed = run("rules", "run", "--why", "sport-1").stdout

        assert "train-" in printed
        assert "note [" in printed
        assert "why: It is about a" in printed

    def test_why_gives_the_same_as_yaml(self, done: Path) -> None:
        found = yaml.safe_load(run("rules", "run", "--why", "sport-1", "--format", "yaml").stdout)
        chosen = yaml.safe_load((done / "run" / "rules.yaml").read_text(encoding="utf-8"))["rules"]

        assert found["rules"] == [rule for rule in chosen if rule["id"] == "sport-1"]
        assert [one["example_id"] for one in found["examples"]] == found["rules"][0]["support"]
        assert found["examples"][0]["rationale"].startswith("It is about a")

    def test_why_and_the_whole_prompt_are_refused_together(self, done: Path) -> None:
        said = refused(run("rules", "run", "--why", "sport-1", "--format", "prompt"))

        assert "--format prompt" in said
        assert "--why" in said

    def test_an_unknown_rule_is_refused_with_those_there_are(self, done: Path) -> None:
        assert "It has " in refused(run("rules", "run", "--why", "music-1"))

    def test_control_characters_of_the_data_do_not_reach_the_terminal(self, done: Path) -> None:
        path = done / "run" / "micro_rules.jsonl"
        path.write_text(path.read_text(encoding="utf-8").replace("It is", "\\u001b[2J It is"), encoding="utf-8")

        printed = run("rules", "run", "--why", "sport-1").stdout

        assert "\x1b" not in printed
        assert "\\x1b[2J It is" in printed


def test_report_is_written_anew(done: Path) -> None:
    page = done / "run" / "report.html"
    page.unlink()

    assert run("report", "run").stdout == f"{Path('run') / 'report.html'}\n"
    assert page.is_file()


def test_starting_anew_leaves_no_report_of_the_old_compile(done: Path) -> None:
    RunFolder("run").open({"seed": 1}, resume=False)

    assert sorted(path.name for path in Path("run").iterdir() if path.suffix != ".lock") == ["config.yaml"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://me:sk-secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:sk@se:cret@host/db", "postgresql://me:***@host/db"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
    ],
)
def test_the_line_on_mlflow_holds_no_password(uri: str, said: str) -> None:
    assert mlflow_line(uri) == f"MLflow: mlflow ui --backend-store-uri {said}"


def test_models_are_listed_with_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLD_DSPY_CACHE", str(tmp_path))

    listed = run("models").stdout

    assert all(name in listed for name in CATALOGUE)
    assert listed == run("models", "list").stdout
    assert "yes" not in listed


def program(folder: Path, name: str, *, label: str = "topic", bound: str | None = None) -> None:
    """Write a program file over the tables of the task.

    Its data has the labels under ``label``; it is bound to a student that answers ``bound`` where no rule fits.
    """
    (folder / f"{name}.py").write_text(
        f"""
from __future__ import annotations
import csv
from typing import Literal
import dspy
from pld_dspy.task.splits import Splits

Topic = Literal["food", "sport"]

class Decide(dspy.Signature):
    text: str = dspy.InputField()
    topic: Topic = dspy.OutputField()

def student():
    predictor = dspy.Predict(Decide)
    if {bound!r}:
        from engine import rule_following_lm
        predictor.lm = rule_following_lm({bound!r}, model="custom/cli-bound", cache=False)
    return predictor

def load(data, *, rationales, seed):
    parts = []
    for split in ("train", "val", "test"):
        with (data / f"{{split}}.csv").open() as file:
            rows = list(csv.DictReader(file))
        parts.append([dspy.Example(id=r["id"], text=r["text"], topic=r[{label!r}]).with_inputs("text") for r in rows])
    return Splits(*parts)
""",
        encoding="utf-8",
    )


class TestRefusals:
    """Each before any model is started, which the fixture sees to."""

    def test_a_missing_file(self, task: Path) -> None:
        (task / "train.csv").unlink()
        assert "Cannot read train.csv" in refused(run(*COMPILE))

    def test_a_missing_column(self, task: Path) -> None:
        message = refused(run(*COMPILE[:-6], "--label", "theme"))
        assert "train.csv has no column 'theme'. It has 'id', 'text', 'topic'." in message

    def test_an_empty_training_set(self, task: Path) -> None:
        write_csv(task / "train.csv", [])
        assert "train.csv has no rows" in refused(run(*COMPILE))

    def test_one_label_only(self, task: Path) -> None:
        write_csv(task / "train.csv", [{**row, "topic": "food"} for row in rows_of("train")])
        assert "Every training example has the label 'food'" in refused(run(*COMPILE))

    def test_a_label_outside_the_programs_set(self, task: Path) -> None:
        program(task, "mislabelled", label="id")
        message = refused(run("compile", "--program", "mislabelled", "--data", ".", "--rationales", "rationales.jsonl"))
        assert "the label 'train-0' is not in the label set (food, sport)" in message

    def test_a_row_without_a_label(self, task: Path) -> None:
        rows = rows_of("val")
        write_csv(task / "val.csv", [*rows[:-1], {**rows[-1], "topic": ""}])
        assert "validation row 7 (id 'val-7') has no value for the label field" in refused(run(*COMPILE))

    def test_a_separator_with_nothing_behind_it(self, task: Path) -> None:
        write_csv(task / "train.csv", [{**row, "topic": f"{row['topic']}|"} for row in rows_of("train")])
        message = refused(run(*COMPILE, "--label-separator", "|"))
        assert "training row 0 (id 'train-0'): a label in the field 'topic' is empty" in message

    def test_control_characters_of_the_data_in_a_message(self, task: Path) -> None:
        first, *rest = rows_of("train")
        write_csv(task / "train.csv", [{**first, "topic": "food\x1b[2J"}, *rest])
        assert "label set (food, food\\x1b[2J, sport)" in refused(run(*COMPILE, "--objective", "f1:music"))

    def test_a_program_whose_data_is_no_splits(self, task: Path) -> None:
        (task / "pairs.py").write_text("def student(): ...\ndef load(data, *, rationales, seed): return [], []\n")
        assert "load() of pairs.py gives a tuple" in refused(run("compile", "--program", "pairs.py"))

    def test_an_id_used_twice(self, task: Path) -> None:
        rows = rows_of("train")
        write_csv(task / "train.csv", [*rows, {**rows[0], "text": "Another text."}])
        assert "training rows 0 and 8 have the same id 'train-0'" in refused(run(*COMPILE))

    def test_splits_that_overlap(self, task: Path) -> None:
        rows = rows_of("train")
        write_csv(task / "val.csv", [{**row, "id": f"val-{row['id']}"} for row in rows])
        assert "train row 0 and validation row 0 share the same text" in refused(run(*COMPILE))

    def test_an_unknown_program(self, task: Path) -> None:
        assert "Cannot import the program 'nowhere.topics'" in refused(run("compile", "--program", "nowhere.topics"))
        assert "Cannot import the program 'topics.py'" in refused(run("compile", "--program", "topics.py"))

    def test_a_program_that_breaks_or_lacks_a_function(self, task: Path) -> None:
        (task / "broken.py").write_text("1 / 0", encoding="utf-8")
        (task / "bare.py").write_text("def student(): ...", encoding="utf-8")
        assert "ZeroDivisionError" in refused(run("compile", "--program", "broken.py"))
        assert "has no function load()" in refused(run("compile", "--program", "bare.py"))

    def test_a_program_without_its_data(self, task: Path) -> None:
        program(task, "topics")
        result = run("compile", "--program", "topics", "--data", "elsewhere", "--rationales", "rationales.jsonl")
        assert "elsewhere does not exist" in refused(result)

    @pytest.mark.parametrize("spec", ["local:gpt-7", "nothing.gguf", "local:nothing.gguf"])
    def test_an_unknown_local_model(self, task: Path, spec: str) -> None:
        assert spec.removeprefix("local:") in refused(run(*COMPILE, "--student", spec))
        assert spec.removeprefix("local:") in refused(run(*COMPILE, "--teacher", spec))

    def test_a_model_name_that_says_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_task(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert "Cannot tell which model 'gpt-7' is" in refused(run(*COMPILE, "--student", "gpt-7"))
        assert "takes no api_base" in refused(run(*COMPILE, "--student-api-base", "http://127.0.0.1:8000/v1"))

    def test_a_model_to_pull_that_is_not_there(self) -> None:
        assert "Unknown local model 'gpt-7'" in refused(run("models", "pull", "gpt-7"))

    def test_a_key_that_is_not_set(self, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_SUCH_KEY", raising=False)
        result = run(*COMPILE, "--student", "openai/x", "--student-api-key-env", "NO_SUCH_KEY")
        assert "NO_SUCH_KEY is not set" in refused(result)

    def test_an_address_with_a_password(self, task: Path) -> None:
        result = run(*COMPILE, "--student", "openai/x", "--student-api-base", "http://me:sk-secret@host/v1")
        assert "sk-secret" not in refused(result)

    def test_neither_rationales_nor_teacher(self, task: Path) -> None:
        assert "Give --rationales, or a --teacher" in refused(run("compile", *TABLES))

    def test_rationales_out_of_form(self, task: Path) -> None:
        (task / "rationales.jsonl").write_text('{"example_id": "train-0"}\n', encoding="utf-8")
        assert "rationales.jsonl line 1: inputs" in refused(run(*COMPILE))

    @pytest.mark.parametrize(
        "arguments",
        [
            ("compile",),
            ("compile", "--train", "train.csv", "--input", "text"),
            ("compile", *TABLES, "--program", "pld_dspy.demo"),
            ("compile", *TABLES, "--data", "."),
        ],
    )
    def test_half_of_a_source_or_two(self, task: Path, arguments: tuple[str, ...]) -> None:
        assert "Give either --program" in refused(run(*arguments))

    def test_a_setting_out_of_range(self, task: Path) -> None:
        assert "SearchConfig.trials is -1" in refused(run(*COMPILE, "--trials", "-1"))
        assert run(*COMPILE, "--seed", "-1").exit_code == 2

    def test_an_objective_that_does_not_exist(self, task: Path) -> None:
        assert "objective='recall' is unknown" in refused(run(*COMPILE, "--objective", "recall"))

    @pytest.mark.parametrize("arguments", [("--adapter", "xml"), ("--threads", "0"), ("--no-such-option",)])
    def test_wrong_options(self, task: Path, arguments: tuple[str, ...]) -> None:
        result = run(*COMPILE, *arguments)
        assert result.exit_code == 2
        assert "Usage" in result.stderr

    @pytest.mark.parametrize("name", ["evaluate", "rules", "report"])
    def test_a_folder_that_holds_no_finished_run(self, task: Path, name: str) -> None:
        RunFolder("unfinished").open({"settings": {}}, resume=True)
        assert "has not finished" in refused(run(name, "unfinished"))
        assert "not a run folder" in refused(run(name, "nowhere"))

    def test_debug_shows_where_an_error_comes_from(self, task: Path) -> None:
        result = run("compile", "--debug")
        assert isinstance(result.exception, DataError)


def test_options_default_to_what_the_library_defaults_to() -> None:
    options = {option.name: option for option in typer.main.get_command(app).commands["compile"].params}
    search = SearchConfig()

    assert options["screen_calls"].default == search.screen_calls
    assert options["trials"].default == search.trials
    induce = InduceConfig()
    for name in ("wordings", "draws", "suspects", "audit"):
        assert getattr(options[name].default, "value", options[name].default) == getattr(induce, name)


def test_help_is_there_without_loading_dspy() -> None:
    code = (
        "import sys\n"
        "from pld_dspy.cli.app import main\n"
        "sys.argv = ['pld-dspy', 'compile', '--help']\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'dspy', 'mlflow', 'optuna'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "--rationales" in done.stdout


@pytest.mark.model
def test_a_real_student_from_compile_to_rules(tmp_path: Path) -> None:
    write_task(tmp_path)

    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pld_dspy", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    compiled = shell(*COMPILE, *SMALL, "--student", "local:smollm2-135m")
    assert compiled.returncode == 0, compiled.stderr
    assert "Traceback" not in compiled.stderr

    found = shell("evaluate", "run", "--json")
    assert found.returncode == 0, found.stderr
    score = json.loads(found.stdout)
    assert (score["n"], score["failures"]) == (8, 0)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert score["macro_f1"] == pytest.approx(result["test"]["compiled"]["macro_f1"])

    baseline = json.loads(shell("evaluate", "run", "--json", "--baseline").stdout)
    assert baseline["macro_f1"] == pytest.approx(result["test"]["baseline"]["macro_f1"])

    assert shell("rules", "run", "--format", "prompt").stdout.startswith("Decide the topic of the text.")
    refusal = shell("evaluate", "nowhere")
    assert (refusal.returncode, refusal.stdout) == (2, "")
    assert refusal.stderr.count("\n") == 1
