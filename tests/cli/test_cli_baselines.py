"""pld-dspy baselines: what the labels alone give, without a model, and beside the result of a compile."""

import json
import re
from pathlib import Path

import pytest
from command_line import TABLES, refused, run, write_program


def numbers(printed: str, name: str) -> list[str]:
    [line] = [line for line in printed.splitlines() if line.strip().startswith(name)]
    return re.findall(r"\d\.\d+", line)


def test_it_prints_three_ways_the_curve_and_how_to_read_them(task: Path) -> None:
    before = set(task.iterdir())
    done = run("baselines", *TABLES, "--quiet")

    assert done.exit_code == 0, done.output
    assert "Learned from 16 labelled examples" in done.stdout
    assert numbers(done.stdout, "classifier ")[0] == "1.000"
    assert numbers(done.stdout, "majority")[0] == "0.333"
    assert "nearest neighbours" in done.stdout
    for size in ("4", "8", "16"):
        assert re.search(rf"^ *{size} +\d\.\d{{3}} *$", done.stdout, re.MULTILINE)
    assert "A compile pays if rules bring the student above that" in done.stdout
    assert set(task.iterdir()) == before


def test_json_is_one_object_with_the_same_figures(task: Path) -> None:
    done = run("baselines", *TABLES, "--json", "--seed", "1")
    found = json.loads(done.stdout)

    assert [row["name"] for row in found["rows"]] == ["classifier", "nearest neighbours", "majority"]
    assert (found["split"], found["labels"], found["rows"][0]["score"]["n"]) == ("test", 16, 8)
    assert "student" not in found
    assert "answers" not in found["rows"][0]
    assert json.loads(run("baselines", *TABLES, "--json", "--seed", "1").stdout) == found


def test_it_takes_a_program_and_splits_as_compile_does(task: Path) -> None:
    write_program(task, "topics")
    program = json.loads(run("baselines", "--program", "topics", "--data", ".", "--target", "topic", "--json").stdout)
    assert (program["split"], program["labels"]) == ("test", 16)
    split = json.loads(run("baselines", "--train=train.csv", "--input=text", "--label=topic", "--json").stdout)
    assert split["split"] == "validation"
    assert split["labels"] + split["rows"][0]["score"]["n"] == 8


@pytest.mark.parametrize("arguments", [(), ("--train", "train.csv"), (*TABLES, "--data", ".")])
def test_half_of_a_source_is_refused(task: Path, arguments: tuple[str, ...]) -> None:
    assert "Give either --program" in refused(run("baselines", *arguments))


def test_a_compile_shows_them_beside_the_student(finished: Path) -> None:
    printed = (finished / "stdout").read_text(encoding="utf-8")

    assert "student minus this" in printed
    assert numbers(printed, "student ")[0] == "1.000"
    majority = numbers(printed, "majority")
    assert majority[0] == "0.333"
    assert "0.667" in majority
    assert re.search(r"Note: A classifier on the same 16 labels, .* level with the student's 1\.000", printed)
    report = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert "What the labels alone give" in report


def test_examples_in_two_splits_are_refused_with_a_way_on_that_edits_no_file(task: Path) -> None:
    with (task / "train.csv").open("a", encoding="utf-8") as file:
        file.write((task / "test.csv").read_text(encoding="utf-8").splitlines()[1] + "\n")
    said = refused(run("baselines", *TABLES))
    assert "train row 8 and test row 0 share the same text" in said
    assert "--duplicates drop" in said
    found = json.loads(run("baselines", *TABLES, "--json", "--duplicates", "drop").stdout)
    assert (found["labels"], found["rows"][0]["score"]["n"]) == (16, 8)
