"""``experiments spread`` and stages.json: finished runs with several seeds, read without a call."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from engine import calls
from tasks import TEST, compiled, pld, student, student_lm
from typer.testing import CliRunner, Result

from experiments.__main__ import app
from experiments.seeds import read_seeds
from experiments.stages import ALL, FILE, LOOP, SEARCHED, UNCHANGED, Stage, Stages
from pld_dspy.errors import DataError, RunError
from pld_dspy.rules import RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult

ALL_RULES = (0.5, 0.7, 0.9)
"""Test macro-F1 of all rules by seed: mean 0.7, standard deviation 0.2."""
FOUND = (0.7, 0.8, 0.9)
"""And of the searched ones: mean 0.8, standard deviation 0.1."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spread") / "seed0"
    compiled(pld(folder), student(student_lm()))
    return folder


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON or YAML file; a dotted name reaches into sections."""
    load, dump = (json.loads, json.dumps) if path.suffix == ".json" else (yaml.safe_load, yaml.safe_dump)
    document = load(path.read_text(encoding="utf-8"))
    for name, value in fields.items():
        *sections, last = name.split("__")
        section = document
        for one in sections:
            section = section[one]
        section[last] = value
    path.write_text(dump(document), encoding="utf-8")


def seeded(run: Path, folder: Path, seed: int, **found: Any) -> Path:
    """A copy of the run as another seed; ``found`` are fields of result.json."""
    shutil.copytree(run, folder)
    change(folder / "config.yaml", settings__seed=seed, data__test=f"{seed}{seed} (24 rows)")
    change(folder / "result.json", seed=seed, **found)
    return folder


def leave_stages(run: Path, all_rules: float, searched: float | None = None) -> None:
    """What ``experiments stages`` leaves, with the test scores given."""
    result = PLDResult.load(run)
    scores = {UNCHANGED: result.test.baseline, ALL: result.test.compiled.model_copy(update={"macro_f1": all_rules})}
    if searched is not None:
        scores[SEARCHED] = result.test.compiled.model_copy(update={"macro_f1": searched})
    stages = (
        Stage(name=name, rules=0, validation=result.validation.baseline, test=score) for name, score in scores.items()
    )
    Stages.of(result, tuple(stages)).save(run)


@pytest.fixture
def three(run: Path, tmp_path: Path) -> list[Path]:
    """Three seeds with known scores, out of order."""
    folders = []
    for seed, (everything, searched) in enumerate(zip(ALL_RULES, FOUND, strict=True)):
        costs = PLDResult.load(run).model_dump(mode="json")["costs"]
        costs["student"]["search"]["calls"] = 1000 * (seed + 1)
        found = {"test__compiled__macro_f1": searched, "costs": costs, "seconds__search": 60.0 * seed}
        folders.append(seeded(run, tmp_path / f"s{seed}", seed, **found))
        leave_stages(folders[-1], everything)
    return [folders[2], folders[0], folders[1]]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["spread", *map(str, arguments)])


def table(result: Result) -> dict[str, dict[str, str]]:
    """First cell of each row -> title -> cell."""
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


def test_each_seed_has_a_row_and_each_column_its_mean_deviation_and_range(three: list[Path]) -> None:
    rows = table(command(*three))
    assert list(rows)[:3] == ["0", "1", "2"]
    title = f"{ALL}, test macro-F1"
    assert [rows[str(seed)][title].split()[0] for seed in range(3)] == ["0.500", "0.700", "0.900"]
    assert [rows[name][title] for name in ("mean", "standard deviation", "range")] == [
        "0.700",
        "0.200",
        "0.500 to 0.900",
    ]
    found = rows["standard deviation"]
    assert (found[f"{SEARCHED}, test macro-F1"], found[f"{UNCHANGED}, test macro-F1"]) == ("0.100", "0.000")
    assert rows["mean"]["calls of the search"] == "2,000"
    assert rows["range"]["minutes of the search"] == "0.0 to 2.0"
    assert f"{LOOP}, test macro-F1" not in rows["0"]


def test_scores_stand_with_the_intervals_of_the_result(three: list[Path]) -> None:
    result, rows = PLDResult.load(three[1]), table(command(*three))
    low, high = result.test.baseline.interval
    assert rows["0"]["unchanged, test macro-F1"] == f"{result.test.baseline.macro_f1:.3f} [{low:.3f}, {high:.3f}]"
    gap = result.test.difference
    assert rows["0"]["compiled minus unchanged"] == (
        f"{gap.macro_f1:+.3f} [{gap.interval[0]:+.3f}, {gap.interval[1]:+.3f}]"
    )
    assert float(rows["sd by the test sample"]["unchanged, test macro-F1"]) == pytest.approx(
        (high - low) / 3.92, abs=6e-4
    )


def test_what_wordings_and_search_remove_of_the_spread_is_told_with_how_little_three_seeds_say(
    three: list[Path],
) -> None:
    text = command(*three).stdout
    assert "Searched minus all rules, seed by seed: 0.800 - 0.700 = +0.100 on average, +0.000 to +0.200." in text
    assert "remove 50% of the standard deviation over seeds, 0.200 -> 0.100" in text
    # The 97.5% quantile of F with 2 and 2 degrees of freedom is 39.
    assert f"95% interval {0.5 / np.sqrt(39):.2f} to {0.5 * np.sqrt(39):.2f} from 3 seeds" in text
    assert f"{len(TEST)} test examples, drawn by each seed." in text


def test_offsets_from_validation_are_compared_apart(three: list[Path]) -> None:
    assert "offsets from validation" not in command(*three).stdout
    for run, searched in zip(three, (0.95, 0.93, 0.94), strict=True):
        result = PLDResult.load(run)
        stages = Stages.load(run, result)
        moved = result.test.compiled.model_copy(update={"macro_f1": searched})
        students = {
            ALL: stages.stages[1].model_copy(update={"calibrated": stages.test(ALL)}),
            SEARCHED: stages.stages[1].model_copy(update={"name": SEARCHED, "calibrated": moved}),
        }
        Stages.of(result, tuple(students.values())).save(run)
    text = command(*three).stdout
    assert "The same with offsets from validation alone, seed by seed: 0.940 - 0.700 = +0.240 on average" in text
    assert "remove 95% of the standard deviation over seeds, 0.200 -> 0.010" in text


def test_test_examples_that_all_seeds_share_are_told_of(three: list[Path]) -> None:
    for run in three:
        change(run / "config.yaml", data__test="same (24 rows)")
    assert "test examples, the same for all seeds, so" in command(*three).stdout


def test_without_stages_a_column_is_open_and_the_command_for_it_is_told(three: list[Path]) -> None:
    (three[0] / FILE).unlink()
    result = command(*three)
    rows = table(result)
    assert rows["2"][f"{ALL}, test macro-F1"] == "-"
    assert rows["2"][f"{SEARCHED}, test macro-F1"].startswith("0.900 ")
    assert rows["mean"][f"{ALL}, test macro-F1"] == "0.600"
    assert f"python -m experiments stages {three[0]}." in result.stdout
    assert "from 2 seeds" in result.stdout
    assert rows["mean"]["calibrated, test macro-F1"] == "-"
    assert "Compiled without --calibrate" in result.stdout


def test_stages_of_an_earlier_compile_do_not_count(three: list[Path]) -> None:
    change(three[0] / "result.json", test__compiled__macro_f1=0.91)
    assert table(command(*three))["2"][f"{ALL}, test macro-F1"] == "-"


def test_rules_that_the_loop_changed_have_a_column_and_the_searched_ones_come_from_stages(three: list[Path]) -> None:
    for run in three:
        change(run / "result.json", searched=RuleSet().model_dump(mode="json"))
        leave_stages(run, 0.5, searched=0.6)
    rows = table(command(*three))
    assert rows["0"][f"{SEARCHED}, test macro-F1"].startswith("0.600 ")
    assert rows["0"][f"{LOOP}, test macro-F1"].startswith("0.700 ")


def test_no_model_is_asked_and_nothing_is_written(three: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lm = student_lm()
    monkeypatch.setattr("pld_dspy.cli.run_spec.resolve_lm", lambda *spec, **settings: lm)
    before = {path: path.read_bytes() for run in three for path in run.iterdir() if path.is_file()}
    table(command(*three))
    assert calls(lm) == []
    assert before == {path: path.read_bytes() for run in three for path in run.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("settings__search__trials", 99, r"settings\.search\.trials \(2 and 99\)"),
        ("student__program", "other", r"student\.program \(.* and \"other\"\)"),
        ("student__lm__model", "other", r"student\.lm\.model"),
        ("task__labels", ["a"], r"task\.labels"),
        ("settings__new", 1, r"settings\.new \(absent and 1\)"),
        ("data__rationales", "abc (3 rows)", r"rationales \(null and \"abc"),
        ("command", {"source": {"kind": "program", "module": "mine"}}, r"program\.module \(absent and \"mine\"\)"),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_refused(
    three: list[Path], name: str, value: Any, told: str
) -> None:
    change(three[0] / "config.yaml", **{name: value})
    with pytest.raises(DataError, match=rf"s1 and .*s2 differ in .*{told}.*that differ in the seed alone\."):
        read_seeds(three)


def test_one_run_and_a_seed_that_stands_twice_are_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"number of run folders is 1\. Give two or more"):
        read_seeds(three[:1])
    twin = shutil.copytree(three[0], tmp_path / "twin")
    with pytest.raises(DataError, match=r"both have the seed 2\. Give one run per seed"):
        read_seeds([*three, twin])


def test_damaged_stages_runs_without_test_split_and_unfinished_ones_are_refused(three: list[Path]) -> None:
    damaged, untested, unfinished = three
    (damaged / FILE).write_text('{"outcome": 3}', encoding="utf-8")
    with pytest.raises(RunError, match=r"stages\.json is damaged: .*Run python -m experiments stages .* again\."):
        read_seeds([damaged, unfinished])
    change(untested / "result.json", test=None)
    with pytest.raises(DataError, match=r"s0 has no test split.*Compile with test data\."):
        read_seeds([untested, unfinished])
    (unfinished / "result.json").unlink()
    with pytest.raises(RunError, match=r"s1 has no result\.json"):
        read_seeds([unfinished, untested])


@pytest.mark.parametrize(("suffix", "opening"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_figure_is_drawn_where_asked_for(three: list[Path], tmp_path: Path, suffix: str, opening: bytes) -> None:
    path = tmp_path / f"spread.{suffix}"
    assert command(*three, "--out", path).exit_code == 0
    assert path.read_bytes().startswith(opening)


def test_the_figure_has_a_line_a_seed_through_the_stages_it_has(three: list[Path], tmp_path: Path) -> None:
    (three[0] / FILE).unlink()
    path = tmp_path / "spread.svg"
    table(command(*three, "--out", path))
    drawn = re.findall(
        r'<g id="line2d_\d+">\s*<path d="(M [^"]*)"[^>]*stroke: #(?:1f77b4|ff7f0e|2ca02c)', path.read_text()
    )
    points = [len(re.findall("[ML]", line)) for line in drawn]
    assert points[:3] == [3, 3, 2]


@pytest.mark.parametrize(("name", "told"), [("a.txt", r"ends in '\.txt'"), ("none/a.png", "does not exist")])
def test_a_figure_of_another_kind_or_in_no_folder_is_refused(
    three: list[Path], tmp_path: Path, name: str, told: str
) -> None:
    result = command(*three, "--out", tmp_path / name)
    assert isinstance(result.exception, DataError)
    assert re.search(told, str(result.exception))


def test_stages_are_saved_whole_and_read_back(three: list[Path]) -> None:
    run = three[0]
    result = PLDResult.load(run)
    before = Stages.load(run, result)
    assert before is not None
    assert before.save(run) == run / FILE
    assert Stages.load(run, result) == before
    assert [path.name for path in run.glob("*.new")] == []
    assert before.test(LOOP) is None
    assert RunFolder(run).settings()["settings"]["seed"] == result.seed
