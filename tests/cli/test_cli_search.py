"""pld-dspy search: a second process helps with a compile that is under way."""

from pathlib import Path

import dspy
import pytest
from command_line import COMPILE, SMALL, refused, run
from engine import calls

from pld_dspy.cli.search import unfinished_compile


def test_a_helper_makes_the_trials_that_are_left(student: dspy.LM, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = student.engine.fn

    def interrupted(system: str, user: str) -> str:
        if len(calls(student)) == 20:
            raise KeyboardInterrupt
        return answer(system, user)

    monkeypatch.setattr(student.engine, "fn", interrupted)
    (task / "policy.yaml").write_text("rules: [{text: 'A note on nothing is sport.', pin: true}]", encoding="utf-8")
    limits = ("--max-student-calls", "400", "--resolve-rounds", "1", "--drafts", "2", "--objective", "accuracy")
    policy = ("--rules", "policy.yaml", "--style", "rules")
    compiling = (*COMPILE, *SMALL, *limits, *policy, "--student", "openai/none", "--quiet")
    assert run(*compiling).exit_code == 130
    pld = unfinished_compile(Path("run"))[1]
    assert (pld.search.trials, pld.induce.drafts, pld.resolve.max_rounds, pld.budget.student_calls) == (1, 2, 1, 400)
    assert pld.search.style == "rules"

    monkeypatch.setattr(student.engine, "fn", answer)
    made = run("search", "run", "--threads", "1")
    assert made.exit_code == 0, made.output
    assert int(made.stdout.removesuffix(" trials made.\n")) > 0
    assert run("search", "run").stdout == "0 trials made.\n"
    assert run(*compiling).exit_code == 0
    shown = run("rules", "run", "--bench", "--format", "yaml").stdout
    assert shown.startswith(
        "rules:\n- id: user-rule-1\n  text: A note on nothing is sport.\n  labels:\n  - sport\n  pin: true\n"
    )
    assert "cues" not in shown
    assert "user-rule-1: sport, from 0 examples, pinned\n" in run("rules", "run").stdout


def test_there_must_be_a_compile_to_help(task: Path) -> None:
    assert "is not a run folder" in refused(run("search", "nowhere"))
