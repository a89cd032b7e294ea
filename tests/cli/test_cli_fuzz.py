"""Broken files of every kind: each is a correct run, or one clear line and exit code 2.

``PLD_FUZZ_FILES=768 pytest tests/cli/test_cli_fuzz.py`` tries 1,024 of them; without it, a few.
"""

import json
import os
import random
import shutil
import traceback
from contextlib import suppress
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import Result
from command_line import COMPILE, SMALL, rows_of, run
from mutations import mutated

from pld_dspy.errors import DataError
from pld_dspy.rules import RuleSet

FILES = int(os.environ.get("PLD_FUZZ_FILES", "12"))
SEED = int(os.environ.get("PLD_FUZZ_SEED", "0"))
QUICK = ("--screen-calls", "0", "--trials", "0", "--threads", "1", "--quiet")
TABLES = ("csv", "jsonl", "parquet")
RESUME = (*COMPILE, *SMALL, "--quiet")
REPORT = ("report", "run")
READERS = {
    "config.yaml": [("evaluate", "run", "--json"), ("search", "run"), REPORT, RESUME],
    "result.json": [("rules", "run", "--bench"), REPORT, ("rules", "run", "--format", "yaml")],
    "program.json": [("evaluate", "run", "--json")],
    "micro_rules.jsonl": [REPORT, ("rules", "run", "--why", "food-1")],
    "trials.csv": [REPORT],
    "predictions.jsonl": [RESUME],
    "study.log": [RESUME],
}


def problem(result: Result, what: str) -> list[str]:
    """Nothing after a correct run, or one line on standard error and exit code 2; else what is wrong with it."""
    if result.exit_code == 0:
        return []
    if result.exit_code != 2:
        frames = traceback.extract_tb(result.exception.__traceback__) if result.exception else []
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "pld_dspy" in frame.filename]
        return [f"{what}: exit code {result.exit_code}, {result.exception!r:.300} {places[-2:]} {result.stderr[-300:]}"]
    last = result.stderr.rstrip("\n").rsplit("\n", 1)[-1]
    return [] if last.startswith("Error: ") and len(last) < 2000 else [f"{what}: {result.stderr[-300:]}"]


def write_tables(folder: Path, suffix: str) -> tuple[str, ...]:
    """Write the task's tables in another format; return the command that compiles them."""
    for split in ("train", "val", "test"):
        rows, path = rows_of(split), folder / f"{split}.{suffix}"
        if suffix == "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        elif suffix == "parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return tuple(part.replace(".csv", f".{suffix}") for part in COMPILE)


@pytest.mark.parametrize("suffix", [*TABLES, "rationales"])
def test_broken_tables_and_rationales(task: Path, student, suffix: str) -> None:
    command = write_tables(task, suffix if suffix in TABLES else "csv")
    names = ["rationales.jsonl"] if suffix == "rationales" else [f"{split}.{suffix}" for split in ("train", "val")]
    whole = {name: (task / name).read_bytes() for name in names}
    found: list[str] = []
    for number in range(FILES // 8):
        rng = random.Random(f"{SEED} {suffix} {number}")
        name = rng.choice(names)
        what = f"{number}: {mutated(task / name, rng)}"
        shutil.copyfile(task / name, task / "last_tried")
        shutil.rmtree(task / "run", ignore_errors=True)
        ends = () if number % 4 == 0 else ("--estimate",)
        found += problem(run(*command, *QUICK, *ends), what)
        (task / name).write_bytes(whole[name])
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", READERS)
def test_broken_run_folders(done: Path, name: str) -> None:
    shutil.copytree(done / "run", done / "whole")
    found: list[str] = []
    for number in range(FILES // 12):
        rng = random.Random(f"{SEED} {name} {number}")
        shutil.rmtree(done / "run")
        shutil.copytree(done / "whole", done / "run")
        what = f"{number}: {mutated(done / 'run' / name, rng)}"
        shutil.copyfile(done / "run" / name, done / "last_tried")
        for command in READERS[name]:
            found += problem(run(*command), f"{what}, {' '.join(command[:3])}")
    assert not found, "\n".join(found)


def test_broken_rules_yaml(finished: Path, tmp_path: Path) -> None:
    for number in range(FILES // 4):
        path = tmp_path / "rules.yaml"
        shutil.copyfile(finished / "run" / "rules.yaml", path)
        mutated(path, random.Random(f"{SEED} rules {number}"))
        with suppress(DataError):
            RuleSet.from_yaml(path.read_bytes().decode("utf-8", "replace"))
