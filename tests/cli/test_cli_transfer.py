"""pld-dspy transfer: the rules of a finished run, chosen among for another student."""

import json
import shutil
from pathlib import Path

import dspy
import pytest
import yaml
from command_line import refused, run
from engine import calls, rule_following_lm

from pld_dspy.cli import run_spec
from pld_dspy.run.folder import RunFolder

TRANSFER = ("transfer", "run", "--student", "openai/other", "--tracking", "none", "--threads", "1", "--quiet")


@pytest.fixture
def other(done: Path, monkeypatch: pytest.MonkeyPatch) -> dspy.LM:
    lm = rule_following_lm("sport", model="custom/cli-other", cache=False)
    monkeypatch.setattr(run_spec, "resolve_lm", lambda spec, **settings: lm)
    return lm


def test_another_student_gets_its_own_choice_and_a_killed_transfer_goes_on(
    done: Path, other: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = other.engine.fn

    def interrupted(system: str, user: str) -> str:
        if len(calls(other)) == 20:
            raise KeyboardInterrupt
        return answer(system, user)

    estimated = run(*TRANSFER, "--estimate")
    assert "and 0 teacher calls" in estimated.stdout, estimated.output
    monkeypatch.setattr(other.engine, "fn", interrupted)
    assert run(*TRANSFER).exit_code == 130
    monkeypatch.setattr(other.engine, "fn", answer)
    finished = run(*TRANSFER)
    assert finished.exit_code == 0, finished.output
    assert len({str(call) for call in calls(other)}) == len(calls(other)), "no call is repeated"
    assert "Run folder: run-other" in finished.stdout

    settings = RunFolder("run-other").settings()
    assert settings["data"]["rules_of"] == RunFolder("run").fingerprint
    assert settings["command"]["rules_of"] == "run"
    assert settings["command"]["student"] == {"spec": "openai/other"}
    assert settings["settings"]["search"] == RunFolder("run").settings()["settings"]["search"]

    shutil.rmtree("run")  # a finished transfer needs it no more
    why = run("rules", "run-other", "--why", "food-1", "--format", "yaml").stdout
    assert why.startswith("rules:\n- id: food-1")
    assert "rationale: It is about a soup." in why
    for command in ("lint", "recheck"):
        result = run(command, "run-other")
        assert result.exit_code == 0, result.output


def test_calls_can_be_changed_and_the_rest_is_as_in_the_run(done: Path, other: dspy.LM) -> None:
    result = run(*TRANSFER, "--trials", "0", "--screen-calls", "0", "--max-student-calls", "90", "--out", "new")

    assert result.exit_code == 0, result.output
    found, there = (yaml.safe_load(Path(name, "config.yaml").read_text(encoding="utf-8")) for name in ("new", "run"))
    assert found["settings"].pop("search") == {**there["settings"].pop("search"), "trials": 0, "screen_calls": 0}
    assert found["budget"] == {"student_calls": 90}
    assert found["settings"] == there["settings"]
    assert json.loads(Path("new", "result.json").read_text(encoding="utf-8"))["counts"]["trials"] == 3


def test_a_run_is_no_place_for_its_own_transfer(done: Path, other: dspy.LM) -> None:
    assert "in that folder itself" in refused(run(*TRANSFER, "--out", "run", "--fresh"))
    assert "is not a run folder" in refused(run("transfer", "nowhere", "--student", "openai/other"))
