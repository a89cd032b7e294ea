"""Folders and students for tests of the command line."""

import shutil
from pathlib import Path
from typing import Any

import dspy
import pytest
from command_line import COMPILE, SMALL, run, write_task
from engine import rule_following_lm

from pld_dspy.cli import run_spec


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables of a task, as the current folder; no model can be had."""

    def no_model(spec: str, **settings: Any) -> dspy.LM:
        raise AssertionError(f"{spec} was started")

    write_task(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_spec, "resolve_lm", no_model)
    return tmp_path


@pytest.fixture
def student(task: Path, monkeypatch: pytest.MonkeyPatch) -> dspy.LM:
    """The student that every model name stands for: it obeys rules, and answers "food" without one."""
    lm = rule_following_lm("food", model="custom/cli-student", cache=False)
    monkeypatch.setattr(run_spec, "resolve_lm", lambda spec, **settings: lm)
    return lm


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run; the tests that use it copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    write_task(folder)
    lm = rule_following_lm("food", model="custom/cli-student", cache=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(run_spec, "resolve_lm", lambda spec, **settings: lm)
        result = run(*COMPILE, *SMALL, "--student", "openai/none", "--quiet")
    assert result.exit_code == 0, result.output
    (folder / "stdout").write_text(result.stdout, encoding="utf-8")
    return folder


@pytest.fixture
def done(finished: Path, student: dspy.LM, task: Path) -> Path:
    """The current folder, with a finished run in ``run``."""
    shutil.copytree(finished / "run", task / "run")
    return task
