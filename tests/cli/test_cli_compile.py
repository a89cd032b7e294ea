"""pld-dspy compile: what it prints where, and what it leaves behind."""

import itertools
import json
import os
import re
import signal
import time
from pathlib import Path

import dspy
import pytest
import yaml
from command_line import (
    COMPILE,
    SMALL,
    TABLES,
    refused,
    rows_of,
    run,
    write_csv,
    write_program,
)
from engine import calls

from pld_dspy.cli import run_spec
from pld_dspy.cli.run_compile import mlflow_line
from pld_dspy.cli.search import unfinished_compile


class TestCompile:
    def test_prints_what_came_of_it(self, finished: Path) -> None:
        printed = (finished / "stdout").read_text(encoding="utf-8")
        assert re.search(r"\nDifference in accuracy on test \+\d\.\d+ \[\+.*\], p = 0\.\d{3}\.\n", printed), printed

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
            run_spec, "resolve_lm", lambda spec, **settings: given.append(settings["api_key"]) or student
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
        write_program(task, "topics")
        options = ("--data", ".", "--rationales", "rationales.jsonl", "--tracking", "none")
        compiled = run("compile", "--program", "topics.py", *options, *SMALL, "--student", "openai/none")
        assert compiled.exit_code == 0, compiled.output

        result = run("evaluate", "runs/topics", "--json", "--quiet")

        assert json.loads(result.stdout)["macro_f1"] == 1.0

    def test_what_a_program_is_bound_to_is_kept_and_not_written_down(self, student: dspy.LM, task: Path) -> None:
        write_program(task, "bound", bound="sport")
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

    def test_auto_gives_way_to_other_options(self, task: Path) -> None:
        calls = []
        for more in (("--trials", "4"), ("--trials", "0"), ("--trials", "0", "--screen-calls", "24")):
            result = run(*COMPILE, "--auto", "light", *more, "--student", "local:smollm2-135m", "--estimate")
            assert result.exit_code == 0, result.output
            calls.append(int(re.search(r"At most (\d+) student", result.stdout)[1]))
        assert calls == sorted(set(calls), reverse=True)

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
        pld = unfinished_compile(Path("runs/demo"))[1]
        assert (pld.calibrate, pld.error_rate) == (True, 0.1)


class TestSuspects:
    def test_a_doubted_label_is_dropped_where_asked_and_named(self, task: Path, student: dspy.LM) -> None:
        path = task / "rationales.jsonl"
        lines = path.read_text(encoding="utf-8").replace("It is about a soup.", "[doubtful label] Is it?")
        path.write_text(lines, encoding="utf-8")

        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--suspects", "drop", "--quiet")

        assert "Note: 1 training label is in doubt, the most doubtful first: train-0 (food" in result.stdout
        found = json.loads((task / "run" / "result.json").read_text(encoding="utf-8"))
        assert found["counts"]["suspects_dropped"] == 1
        assert not any("train-0" in rule["support"] for rule in [*found["rules"]["rules"], *found["bench"]])

    def test_an_audit_by_a_teacher_needs_one(self, task: Path) -> None:
        said = refused(run(*COMPILE, *SMALL, "--audit", "teacher", "--quiet"))
        assert "there is no teacher. Give one, as PLD(teacher=...) or --teacher" in said

    def test_audit_and_drafts_are_in_the_estimate(self, task: Path) -> None:
        told = ("--teacher", "local", "--estimate")
        plain, more = run(*COMPILE, *told), run(*COMPILE, *told, "--audit", "teacher", "--drafts", "3")
        assert "audit" not in plain.stdout
        assert re.search(r"audit +teacher +8 ", more.stdout), more.output
        asked = [int(re.search(r"induce +teacher +(\d+) ", found.stdout)[1]) for found in (plain, more)]
        assert asked[1] == asked[0] + 2 * 2

    def test_by_default_nothing_is_doubted(self, finished: Path) -> None:
        found = json.loads((finished / "run" / "result.json").read_text(encoding="utf-8"))
        assert found["counts"]["suspects_dropped"] == found["counts"]["suspects_down_weighted"] == 0
        assert found["counts"]["labels_without_rule"] == found["counts"]["about_format"] == 0


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
