"""pld-dspy rules, report and models."""

import json
from pathlib import Path

import pytest
import yaml
from command_line import refused, run
from typer.testing import CliRunner

from pld_dspy.cli.app import app
from pld_dspy.local.models import CATALOGUE
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult


class TestRules:
    def test_text_shows_rules_in_order_with_their_support(self, done: Path) -> None:
        printed = run("rules", "run").stdout

        assert printed.lstrip().startswith("1. If the text mentions")
        assert "sport-1: sport" in printed
        assert "from 4 examples" in printed
        assert "     why: It is about a " in printed

    def test_a_rule_in_the_words_of_one_example_is_said_to_be_so(self, done: Path) -> None:
        path = RunFolder("run").result

        assert "from 4 examples, in the words of one\n" in run("rules", "run").stdout
        path.write_text(path.read_text(encoding="utf-8").replace('"micro-rule"', '"cues"'), encoding="utf-8")
        assert "in the words of one" not in run("rules", "run").stdout

    def test_edited_rules_that_are_no_better_are_said_to_be_these(self, done: Path) -> None:
        PLDResult.load(Path("run")).model_copy(update={"improved": False}).save(Path("run"))

        assert run("rules", "run").stdout.startswith("These rules do not beat the unchanged student on validation.")

    def test_a_console_that_lacks_characters_gets_escapes(self, done: Path) -> None:
        path = RunFolder("run").result
        path.write_text(path.read_text(encoding="utf-8").replace("match", "матч"), encoding="utf-8")

        result = CliRunner(charset="cp1252").invoke(app, ["rules", "run"])

        assert result.exit_code == 0
        assert r"\u043c\u0430\u0442\u0447" in result.stdout

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

    def test_pinned_rules_that_a_limit_does_not_leave_out_are_named(self, done: Path) -> None:
        result = PLDResult.load(Path("run"))
        assert "Pinned" not in run("rules", "run", "--tokens", "1").stdout
        pinned = [rule.model_copy(update={"pin": True}) for rule in result.rules.rules]
        result.model_copy(update={"rules": result.rules.with_rules(pinned)}).save(Path("run"))

        assert "Pinned, so kept at any limit: sport-1.\n" in run("rules", "run", "--tokens", "1").stdout

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

    assert sorted(path.name for path in Path("run").iterdir() if path.suffix != ".lock") == [
        "audit.jsonl",
        "config.yaml",
    ]


def test_models_are_listed_with_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLD_DSPY_CACHE", str(tmp_path))

    listed = run("models").stdout

    assert all(name in listed for name in CATALOGUE)
    assert listed == run("models", "list").stdout
    assert "yes" not in listed
