"""pld-dspy lint."""

import json
from pathlib import Path

from command_line import refused, run

from pld_dspy.run.folder import RunFolder


def test_what_is_found_is_listed_and_fails_where_that_is_wanted(done: Path) -> None:
    path = RunFolder("run").rules
    path.write_text(path.read_text(encoding="utf-8").replace("match", "a@b.org"), encoding="utf-8")

    plain, strict, as_json = run("lint", "run"), run("lint", "run", "--strict"), run("lint", "run", "--json")

    assert plain.exit_code == 0
    assert "sport-1: personal data: e-mail address: a@b.org\n" in plain.stdout
    assert (strict.exit_code, strict.stdout) == (1, plain.stdout)
    assert json.loads(as_json.stdout)[0]["kind"] == "personal data"


def test_a_result_says_that_there_is_something_to_look_at(done: Path) -> None:
    notes = json.loads(RunFolder("run").result.read_text(encoding="utf-8"))["notes"]

    assert run("lint", "run").stdout == "all rules: label without a rule: no rule names food\nFindings: 1, rules: 1.\n"
    assert "Findings in the rules: 1. To list them: pld-dspy lint RUN" in notes


def test_a_run_without_rules_is_refused(done: Path) -> None:
    RunFolder("run").rules.unlink()

    assert "rules.yaml" in refused(run("lint", "run"))
