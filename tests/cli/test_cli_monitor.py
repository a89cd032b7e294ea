"""pld-dspy monitor."""

import csv
import json
import re
import sys
from pathlib import Path

import dspy
import pytest
from command_line import ROOT, SIGNS, refused, run, write_csv
from engine import calls

import pld_dspy
from pld_dspy.run.folder import RunFolder

WORDS = [word for words in SIGNS.values() for word in words]
LIKE = [{"text": f"A new note [{row}] about the {word}."} for row, word in enumerate(WORDS * 2)]
OTHER = [{"text": f"Invoice {row}{row} overdue since Monday, please pay"} for row in range(20)]


def table(rows: list[dict[str, object]], name: str = "new.csv") -> str:
    write_csv(Path(name), rows, tuple(rows[0]))
    return name


def test_inputs_like_the_runs_own_are_nothing_unusual(done: Path, student: dspy.LM) -> None:
    result = run("monitor", "run", "--data", table(LIKE), "--strict")

    assert result.exit_code == 0, result.output
    assert "16 new inputs against 16 validation and test examples of the run" in result.stdout
    assert "Nothing unusual. With so few inputs" in result.stdout
    assert calls(student) == []


def test_other_inputs_are_told_and_fail_where_that_is_wanted(done: Path) -> None:
    data = table(OTHER)

    plain, strict = run("monitor", "run", "--data", data), run("monitor", "run", "--data", data, "--strict")

    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert "100% of the inputs are farther from every training example" in plain.stdout
    assert "These inputs are others than those that the rules were made from." in plain.stdout
    assert strict.stdout == plain.stdout


def test_answers_beside_the_inputs_are_compared_with_the_runs_own(done: Path) -> None:
    rows = [{**row, "topic": "sport", "confidence": ""} for row in LIKE]

    found = json.loads(run("monitor", "run", "--data", table(rows), "--json").stdout)

    assert found["labels"] == {"food": [8, 0], "sport": [8, 16]}
    assert found["unusual"] == ["labels"]
    assert found["verdict"] == "Look at this: labels."
    printed = run("monitor", "run", "--data", table(rows)).stdout
    assert "The column topic is taken for what the program answered. If people gave these labels, add --ask." in printed
    assert "The run keeps" not in printed


def test_answers_of_a_split_alone_are_said_to_be_so(done: Path) -> None:
    folder = RunFolder("run")
    lines = folder.predictions.read_text(encoding="utf-8").splitlines()
    folder.predictions.write_text("\n".join(line for line in lines if json.loads(line)["stage"] != "test"), "utf-8")

    printed = run("monitor", "run", "--data", table([{**row, "topic": "sport"} for row in LIKE])).stdout

    assert "The run keeps the program's answers to 8 of its examples." in printed


def test_answers_that_the_run_no_longer_keeps_are_not_compared(done: Path) -> None:
    RunFolder("run").predictions.unlink()
    data = table([{**row, "topic": "sport"} for row in LIKE])

    assert json.loads(run("monitor", "run", "--data", data, "--json").stdout)["labels"] == {}


def test_the_program_is_asked_where_that_is_wanted_and_once(done: Path, student: dspy.LM) -> None:
    rows = [{**row, "topic": label} for row, label in zip(LIKE[:8], ["food"] * 3 + [None] * 5, strict=True)]
    ask = ("monitor", "run", "--data", table(rows), "--ask")

    found, again = (json.loads(run(*ask, "--json").stdout) for _ in range(2))

    assert found == again
    assert re.search(r"in the run \(n = 16\).* now \(n = 8\)", run(*ask).stdout)
    assert len(calls(student)) == 8
    assert found["labels"] == {"food": [8, 4], "sport": [8, 4]}
    assert (found["labelled"], found["right"]) == (3, 3)


def test_what_to_label_next_is_a_table_to_fill_in(done: Path) -> None:
    texts = ["Soup at the match.", *(2 * ["An invoice is overdue."]), WORDS[0]]
    rows = [{"id": f"n{row}", "text": text, "confidence": 0.5 + row / 10} for row, text in enumerate(texts)]
    ask = ("monitor", "run", "--data", table(rows), "--label-next", "2", "--out", "label.csv")

    printed = run(*ask).stdout

    with Path("label.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [list(row) for row in found] == [["id", "text", "topic"]] * 2
    assert [(row["id"], row["topic"]) for row in found] == [("n2", ""), ("n0", "")]
    assert "Label next: n2: An invoice is overdue.\n" in printed
    assert "label.csv exists" in refused(run(*ask))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"topic": "food"}], "has no column 'text'"),
        ([{"text": "a", "confidence": "high"}], "new row 0: the confidence 'high' is no number from 0 to 1"),
        ([{"text": "a", "confidence": "1.5"}], "the confidence '1.5' is no number"),
        ([{"text": "", "topic": "food"}], "new row 0 has no value for the input field 'text'"),
    ],
)
def test_unusable_tables_are_refused(done: Path, rows: list[dict[str, object]], message: str) -> None:
    assert message in refused(run("monitor", "run", "--data", table(rows)))


def test_a_file_for_inputs_that_nobody_asked_for_is_refused(done: Path) -> None:
    assert "--label-next" in refused(run("monitor", "run", "--data", table(LIKE), "--out", "label.csv"))


def test_the_server_of_the_documentation_answers_and_logs_what_monitor_reads(
    done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL)
    assert run("export", "run", "--to", "dspy", "--out", "exported").exit_code == 0
    monkeypatch.syspath_prepend("exported")
    monkeypatch.delitem(sys.modules, "load", raising=False)
    monkeypatch.setattr(pld_dspy, "local_lm", lambda: student, raising=False)
    served: dict[str, object] = {}

    exec(code.replace("team", "topic"), served)
    client = testclient.TestClient(served["app"])
    answers = [client.post("/route", json=row).json() for row in LIKE[:8]]

    assert [answer["topic"] for answer in answers] == ["food"] * 4 + ["sport"] * 4
    found = json.loads(run("monitor", "run", "--data", "answers.jsonl", "--json").stdout)
    assert found["labels"] == {"food": [8, 4], "sport": [8, 4]}
