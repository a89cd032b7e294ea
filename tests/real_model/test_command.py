"""The command as a user runs it, with the real test model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import COMPILE, ROOT, run, write_task

SMALLEST = ("--screen-calls", "0", "--trials", "1", "--threads", "1")


def test_a_student_compiled_in_another_process_answers_as_it_was_scored(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path)
    compiled = subprocess.run(
        [sys.executable, "-m", "pld_dspy", *COMPILE, *SMALLEST, "--student", "local:smollm2-135m"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert compiled.returncode == 0, compiled.stderr
    assert "Traceback" not in compiled.stderr

    monkeypatch.chdir(tmp_path)
    found = run("evaluate", "run", "--json")
    assert found.exit_code == 0, found.stderr
    score = json.loads(found.stdout)
    assert (score["n"], score["failures"]) == (8, 0)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert score["macro_f1"] == pytest.approx(result["test"]["compiled"]["macro_f1"])
