"""pld-dspy evaluate: scores of a finished run."""

import json
import os
import re
import sys
from pathlib import Path

import dspy
import pytest
import yaml
from command_line import COMPILE, SMALL, Rows, refused, rows_of, run, write_csv, write_program
from engine import calls, rule_following_lm

from pld_dspy.cli import run_spec
from pld_dspy.run.folder import RunFolder


def change_config(**sections: object) -> None:
    """Replace sections of the run's config.yaml; None takes a section out."""
    folder = RunFolder("run")
    document = {name: value for name, value in {**folder.settings(), **sections}.items() if value is not None}
    folder.config.write_text(yaml.safe_dump(document), encoding="utf-8")


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

    def test_the_baseline_has_the_frame_that_the_compile_chose(self, done: Path, student: dspy.LM) -> None:
        program = json.loads((done / "run" / "program.json").read_text(encoding="utf-8"))
        [field] = [one for one in program["signature"]["fields"] if one["prefix"] == "Text:"]
        field["prefix"] = "The note:"
        (done / "run" / "program.json").write_text(json.dumps(program), encoding="utf-8")

        run("evaluate", "run", "--baseline", "--json")

        assert all(call.user.startswith("The note:") for call in calls(student))
        assert calls(student)

    def test_a_test_split_that_changed_since_is_not_the_runs_own(self, done: Path) -> None:
        table = done / "test.csv"
        table.write_text("\n".join(table.read_text(encoding="utf-8").splitlines()[:-1]), encoding="utf-8")

        assert "is no longer the one" in refused(run("evaluate", "run"))

    def test_rows_of_any_table_with_the_fields_will_do(self, done: Path) -> None:
        rows = [{"topic": "sport", "extra": 1, "text": "The goal."}, {"topic": "sport", "extra": 2, "text": "Soup"}]
        (done / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

        result = run("evaluate", "run", "--data", "more.jsonl", "--json")

        assert json.loads(result.stdout)["accuracy"] == 0.5

    def test_what_is_answered_wrong_is_listed_where_that_is_wanted(self, done: Path) -> None:
        rows = [{"topic": "sport", "text": "The goal."}, {"topic": "sport", "text": f"Soup {'and soup ' * 60}"}]
        (done / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        options = ("evaluate", "run", "--data", "more.jsonl", "--wrong")

        [wrong] = json.loads(run(*options, "--json").stdout)["wrong"]
        shown = run(*options).stdout

        assert wrong == {"example": "row-1", "gold": "sport", "answer": "food", "text": rows[1]["text"]}
        assert re.search(r"row-1 +sport +food +Soup and soup .+ \.\.\.", shown, re.DOTALL), shown
        assert "row-0" not in shown

    def test_answers_that_the_compile_keeps_are_not_asked_again(self, done: Path, student: dspy.LM) -> None:
        result = run("evaluate", "run", "--json")

        scored = json.loads(Path("run/result.json").read_text(encoding="utf-8"))["test"]["compiled"]
        assert json.loads(result.stdout)["macro_f1"] == scored["macro_f1"]
        assert "Student calls to make: 0." in result.stderr
        assert calls(student) == []

    @pytest.mark.parametrize("command", ["evaluate run", "export run --to text --out out", "ask run soup"])
    def test_a_program_that_somebody_changed_is_refused(self, done: Path, student: dspy.LM, command: str) -> None:
        program = Path("run/program.json")
        program.write_text(program.read_text(encoding="utf-8").replace("sport", "sports"), encoding="utf-8")

        assert "program.json does not follow the rules in result.json" in refused(run(*command.split()))
        assert calls(student) == []

    def test_nothing_is_asked_twice(self, done: Path, student: dspy.LM) -> None:
        RunFolder("run").predictions.unlink()
        first = run("evaluate", "run", "--json")
        asked = len(calls(student))
        second = run("evaluate", "run", "--json")

        assert asked == 8
        assert len(calls(student)) == asked
        assert json.loads(first.stdout) == json.loads(second.stdout)

    def test_another_model_is_asked_anew(self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch) -> None:
        given = []
        other = rule_following_lm("sport", model="custom/cli-other", cache=False)
        monkeypatch.setattr(run_spec, "resolve_lm", lambda spec, **settings: given.append(spec) or other)

        result = run("evaluate", "run", "--baseline", "--student", "openai/other", "--json")

        assert given[-1] == "openai/other"
        assert json.loads(result.stdout)["per_label"]["sport"]["recall"] == 1.0

    def test_prints_a_table_for_people(self, done: Path) -> None:
        result = run("evaluate", "run")

        assert "macro-F1 1.000" in result.stdout
        assert "sport" in result.stdout

    def test_each_value_of_a_column_is_scored_apart_without_a_further_call(self, done: Path, student: dspy.LM) -> None:
        rows = [
            {"text": f"Note {row} about the soup.", "topic": "sport" if row == 0 else "food", "region": region}
            for row, region in enumerate(["north"] * 10 + ["south"] * 11 + ["\x1b[31meast", None, " south "])
        ]
        (done / "more.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        arguments = ("evaluate", "run", "--data", "more.jsonl", "--slice", "region", "--slice", "topic")

        found = json.loads(run(*arguments, "--json").stdout)["slices"]
        printed = run(*arguments).stdout

        south, north, other = found["region"]
        assert [one["value"] for one in found["topic"]] == ["food", "other"]
        assert (south["value"], south["n"], south["accuracy"], south["labels"]) == ("south", 12, 1.0, {"food": 12})
        assert (north["value"], north["accuracy"], north["pooled"]) == ("north", 0.9, [])
        assert north["labels"] == {"food": 9, "sport": 1}
        assert (other["value"], other["n"], other["pooled"]) == ("other", 2, ["\x1b[31meast", "(none)"])
        assert "other (2 with fewer than 10 examples)" in printed
        assert "food 9, sport 1" in printed
        assert len(calls(student)) == len(rows)

    def test_columns_of_the_runs_own_test_table_will_do(self, done: Path) -> None:
        rows = [{**row, "\x1b[31m": "north"} for row in rows_of("test")]
        write_csv(done / "test.csv", rows, list(rows[0]))

        found = run("evaluate", "run", "--slice", "\x1b[31m").stdout

        assert "other (1 with fewer than 10 examples)" in found
        assert "\x1b" not in found

    def test_a_slice_by_a_column_that_is_missing_is_refused_before_a_call(self, done: Path, student: dspy.LM) -> None:
        message = refused(run("evaluate", "run", "--slice", "region"))

        assert "test.csv has no column 'region'. It has 'id', 'text', 'topic'." in message
        assert calls(student) == []

    def test_fields_of_a_programs_examples_are_columns(self, done: Path) -> None:
        write_program(done, "program_of_slices")
        source = {"kind": "program", "module": "program_of_slices.py", "data": "."}
        change_config(command={**RunFolder("run").settings()["command"], "source": source})

        found = json.loads(run("evaluate", "run", "--slice", "topic", "--json").stdout)["slices"]["topic"]

        assert [(one["value"], one["pooled"]) for one in found] == [("other", ["food", "sport"])]

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
        change_config(command=None)

        assert "was compiled from Python" in refused(run("evaluate", "run"))

    def test_a_damaged_config_is_refused(self, done: Path) -> None:
        change_config(command={"source": {"kind": "tables"}})

        assert "config.yaml is damaged" in refused(run("evaluate", "run"))

    @pytest.mark.parametrize("content", ["", "seed: [0\n"])
    def test_a_config_cut_short_is_refused_by_all_that_read_it(self, done: Path, content: str) -> None:
        RunFolder("run").config.write_text(content, encoding="utf-8")
        compiling = (*COMPILE, *SMALL, "--student", "openai/none", "--quiet")

        for arguments in (("evaluate", "run"), ("search", "run"), compiling):
            assert "config.yaml is damaged" in refused(run(*arguments))
        assert run(*compiling, "--fresh").exit_code == 0

    def test_settings_that_are_missing_are_named(self, done: Path) -> None:
        change_config(settings={"objective": "macro_f1"})

        assert "config.yaml is damaged: KeyError('search')" in refused(run("search", "run"))

    @pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
    def test_a_program_that_is_lost_or_damaged_is_refused(self, done: Path, content: str | None) -> None:
        path = RunFolder("run").program
        path.unlink() if content is None else path.write_text(content, encoding="utf-8")

        assert "Cannot load run/program.json" in refused(run("evaluate", "run"))
