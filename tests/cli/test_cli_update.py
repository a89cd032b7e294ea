"""pld-dspy update: more labelled examples for a finished run."""

import json
from pathlib import Path

import dspy
import yaml
from command_line import refused, run, write_csv
from engine import calls

from pld_dspy.release.trail import read_trail
from pld_dspy.run.folder import RunFolder

UPDATE = ("update", "run", "--data", "more.csv", "--tracking", "none", "--threads", "1", "--quiet", "--trials", "1")
MORE = [("more-0", "A kettle", "food"), ("more-1", "One kettle", "food"), ("more-2", "A referee", "sport")]


def write_more(folder: Path, label: str = "food") -> None:
    rows = [{"id": name, "text": f"{text}.", "topic": topic} for name, text, topic in MORE]
    write_csv(folder / "more.csv", [{**rows[0], "topic": label}, *rows[1:]])
    records = [
        {
            "example_id": row["id"],
            "inputs": {"text": row["text"]},
            "label": row["topic"],
            "rationale": "It says so.",
            "rule": f"If the text mentions {row['text'].split()[-1].strip('.')}, answer {row['topic']}.",
        }
        for row in rows
    ]
    (folder / "more.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")


def test_a_run_goes_on_with_more_examples_and_is_a_run_like_any_other(done: Path, student: dspy.LM) -> None:
    write_more(done)
    estimated = run(*UPDATE, "--rationales", "more.jsonl", "--estimate")
    assert "and 0 teacher calls" in estimated.stdout, estimated.output
    assert run("sign", "run", "--by", "Ann", "--tracking", "none").exit_code == 0
    path = RunFolder("run").rules
    path.write_text(path.read_text(encoding="utf-8").replace("If the text", "Where the text", 1), encoding="utf-8")
    result = run(*UPDATE, "--rationales", "more.jsonl", "--out", "new")
    assert "rules.yaml has edits that were not rechecked (" in result.stderr
    assert "run stays as it was signed. new is signed by nobody yet." in result.stdout

    assert result.exit_code == 0, result.output
    assert (
        "for the rules of run: 3. Joined the nearest rule: 0. Gave new rules: 3, food-2 (on the bench: more-0, more-1)"
        in result.stdout
    )
    assert f"Student calls for this: {len(calls(student))}; answers taken over from the run: " in result.stdout
    assert "Run folder: new" in result.stdout
    line = read_trail(Path("new"))[-1]
    assert (line.what, line.details) == ("updated", {"rules_of": "run"})
    found, there = (yaml.safe_load(Path(name, "config.yaml").read_text(encoding="utf-8")) for name in ("new", "run"))
    assert found["command"]["more"]["files"] == ["more.csv"]
    assert found["student"] == there["student"]
    for command in ("recheck", "lint"):
        after = run(command, "new")
        assert after.exit_code == 0, after.output


def test_what_is_missing_or_wrong_is_said_in_one_line(done: Path, student: dspy.LM) -> None:
    write_more(done, label="music")
    assert "new row 0 (id 'more-0'): the label 'music' is not in the label set" in refused(run(*UPDATE))
    write_more(done)
    assert "Give --rationales, or a --teacher" in refused(run(*UPDATE))
    assert "in that folder itself" in refused(run(*UPDATE, "--rationales", "more.jsonl", "--out", "run"))
