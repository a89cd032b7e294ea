"""A small task in files, and the command as a user runs it."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from pld_dspy.cli.app import app

ROOT = Path(__file__).parents[1]
SIGNS = {"food": ("soup", "bread", "recipe", "oven"), "sport": ("match", "goal", "team", "coach")}
TABLES = ("--train", "train.csv", "--val", "val.csv", "--test", "test.csv", "--input", "text", "--label", "topic")
COMPILE = (
    "compile",
    *TABLES,
    "--rationales",
    "rationales.jsonl",
    "--out",
    "run",
    "--tracking",
    "none",
    "--embedder",
    "tfidf",
)
SMALL = ("--screen-calls", "24", "--trials", "1", "--threads", "1")

Rows = list[dict[str, Any]]


def rows_of(split: str) -> Rows:
    words = [(label, word) for label, words in SIGNS.items() for word in words]
    return [
        {"id": f"{split}-{row}", "text": f"A {split} note [{row}] about the {word}.", "topic": label}
        for row, (label, word) in enumerate(words)
    ]


def write_csv(path: Path, rows: Rows, header: Sequence[str] = ("id", "text", "topic")) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)


def write_task(folder: Path) -> None:
    """Two topics, told apart by one word; the rules name the words of a topic."""
    for split in ("train", "val", "test"):
        write_csv(folder / f"{split}.csv", rows_of(split))
    lines = []
    for row in rows_of("train"):
        word = row["text"].rstrip(".").split()[-1]
        rule = f"If the text mentions {' or '.join(SIGNS[row['topic']])}, answer {row['topic']}."
        record = {"example_id": row["id"], "inputs": {"text": row["text"]}, "label": row["topic"]}
        lines.append(json.dumps({**record, "rationale": f"It is about a {word}.", "rule": rule}))
    (folder / "rationales.jsonl").write_text("\n".join(lines), encoding="utf-8")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The message of a refusal: one line on standard error, nothing on standard output, exit code 2."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def write_program(folder: Path, name: str, *, label: str = "topic", bound: str | None = None) -> None:
    """Write a program file over the tables of the task.

    Its data has the labels under ``label``; it is bound to a student that answers ``bound`` where no rule fits.
    """
    (folder / f"{name}.py").write_text(
        f"""
from __future__ import annotations
import csv
from typing import Literal
import dspy
from pld_dspy.task.splits import Splits

Topic = Literal["food", "sport"]

class Decide(dspy.Signature):
    text: str = dspy.InputField()
    topic: Topic = dspy.OutputField()

def student():
    predictor = dspy.Predict(Decide)
    if {bound!r}:
        from engine import rule_following_lm
        predictor.lm = rule_following_lm({bound!r}, model="custom/cli-bound", cache=False)
    return predictor

def load(data, *, rationales, seed):
    parts = []
    for split in ("train", "val", "test"):
        with (data / f"{{split}}.csv").open() as file:
            rows = list(csv.DictReader(file))
        parts.append([dspy.Example(id=r["id"], text=r["text"], topic=r[{label!r}]).with_inputs("text") for r in rows])
    return Splits(*parts)
""",
        encoding="utf-8",
    )
