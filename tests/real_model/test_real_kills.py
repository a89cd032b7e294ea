"""A compile on the real test model that is killed at random moments comes to the same result.

``pytest -s -m long tests/real_model/test_real_kills.py``; ``-s`` prints where the kills hit.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from command_line import ROOT

from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult

KILLS = 10
SMALL = ("--screen-calls", "96", "--trials", "3", "--calibrate", "--embedder", "tfidf", "--tracking", "none")
DEMO = ("compile", "--program", "pld_dspy.demo", "--student", "local:smollm2-135m", *SMALL)


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """Start the demo task's compile in a process of its own, or go on with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pld_dspy", *DEMO, "--out", str(folder), "--quiet"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(child: subprocess.Popen[bytes]) -> None:
    _, said = child.communicate()
    assert child.returncode == 0, said.decode()


@pytest.mark.long
def test_a_compile_on_a_real_model_that_is_killed_gets_there(cache: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    finish(begin(tmp_path / "whole"))
    seconds = time.monotonic() - begun

    chance, killed, path, stages = random.Random(0), 0, tmp_path / "killed", Counter[str]()
    while killed < KILLS:
        child = begin(path)
        try:
            child.wait(timeout=chance.uniform(3, 0.3 * seconds))
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            killed += 1
            file = RunFolder(path).predictions
            lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
            stages[json.loads(lines[-1])["stage"] if lines else "start"] += 1
        else:
            break  # done before the tenth kill
    finish(begin(path))

    whole, found = PLDResult.load(tmp_path / "whole"), PLDResult.load(path)
    asked = Counter(line["key"] for line in read_jsonl(RunFolder(path).predictions, dict))
    told = f"{killed} kills, last answer in {dict(stages)}; {len(asked)} answers, whole {seconds:.0f} s"
    print(told)  # noqa: T201 - what the long drive is run for
    assert killed == KILLS
    assert set(asked.values()) == {1}
    assert found.rules.digest == whole.rules.digest
    assert found.model_dump(include={"validation", "test"}) == whole.model_dump(include={"validation", "test"})
