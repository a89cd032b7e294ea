"""The commands that ask a finished run again: ladder, stages, plain, speed, nearest; a deterministic student."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import dspy
import pytest
from engine import calls
from tasks import TEST, TRAIN, VAL, leaning_lm, micro_rules
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.compare import compare
from experiments.run_student import drawn_examples
from experiments.stages import Stages, _parts
from experiments.students import missing_calls, students
from pld_dspy.cli import run_spec as command_module
from pld_dspy.cli.app import app as pld_app
from pld_dspy.errors import DataError
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.task.task import Task

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


@pytest.fixture(scope="module")
def lm() -> dspy.LM:
    return leaning_lm()


@pytest.fixture(scope="module")
def run(lm: dspy.LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    for name, split in SPLITS.items():
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ("id", "text", "label"))
            writer.writeheader()
            writer.writerows({"id": one.id, "text": one.text, "label": one.label} for one in split)
    lines = [record.model_dump_json() for record in micro_rules(TRAIN)]
    (folder / "rationales.jsonl").write_text("\n".join(lines), encoding="utf-8")
    tables = [part for name in SPLITS for part in (f"--{name}", str(folder / f"{name}.csv"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
        arguments = ["compile", *tables, "--input", "text", "--label", "label", "--rationales"]
        arguments += [str(folder / "rationales.jsonl"), "--student", "openai/none", "--threads", "1", "--calibrate"]
        arguments += ["--precedents", "2"]
        arguments += ["--screen-calls", "96", "--trials", "2", "--tracking", "none", "--out", str(folder / "run")]
        result = CliRunner().invoke(pld_app, arguments)
    assert result.exit_code == 0, result.output
    return folder / "run"


def experiment(lm: dspy.LM, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_ladder_scores_ever_longer_sets_on_test(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "ladder", str(run), "--tokens", "40", "--tokens", "10000")
    none, short, whole = (cells(line) for line in text.splitlines()[2:5])
    result = PLDResult.load(run)
    assert none[:3] == ["no rules", "0", "0"]
    assert none[4].startswith(f"{result.test.baseline.macro_f1:.3f} ")
    assert int(short[2]) <= 40
    assert int(whole[1]) == len(result.at_budget(tokens=10000))
    assert float(none[5].split()[0]) > float(none[4].split()[0]), "this student leans, and offsets undo it"
    before = len(calls(lm))
    assert experiment(lm, monkeypatch, "ladder", str(run), "--tokens", "40", "--tokens", "10000") == text
    assert len(calls(lm)) == before, "asked once"


def test_speed_compares_adapters_on_the_same_examples(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "speed", str(run), "--n", "9")
    rows = [cells(line) for line in text.splitlines()[2:6]]
    assert [row[:2] for row in rows] == [
        ["unchanged", "LabelAdapter"],
        ["compiled, as it answers", "LabelAdapter"],
        ["compiled", "LabelAdapter"],
        ["unchanged", "ChatAdapter"],
    ]
    assert rows[0][3] == "1.00"
    assert "9 examples" in text


def test_the_nearest_examples_stand_below_the_rules_and_never_the_example_itself(run, lm, monkeypatch):
    before = len(calls(lm))
    text = experiment(lm, monkeypatch, "nearest", str(run), "--k", "2", "--n", "3")
    rows, result = [cells(line) for line in text.splitlines()[2:]], PLDResult.load(run)
    assert [row[:2] for row in rows] == [["0", "no"], ["0", "yes"], ["2", "no"], ["2", "yes"]]
    assert rows[0][2].startswith(f"{result.test.baseline.macro_f1:.3f} ")
    assert rows[1][2].startswith(f"{result.test.compiled.macro_f1:.3f} ")
    tokens = [int(row[7]) for row in rows]
    assert tokens[0] < tokens[2] < tokens[3], "both rules and demonstrations take prompt tokens"
    assert rows[1][5] == ""
    assert rows[3][5]
    golds = {one.text: one.label for one in (*TRAIN, *VAL)}
    shown = [call.messages for call in calls(lm)[before:] if len(call.messages) > 1]
    assert {len(turns) for turns in shown} == {5}, "two demonstrations, each an example and its label"
    for turns in shown:
        asked = turns[-1][1]
        assert all(golds[turns[place][1]] == turns[place + 1][1] for place in (0, 2))
        assert asked not in (turns[0][1], turns[2][1])
    once = len(calls(lm))
    assert experiment(lm, monkeypatch, "nearest", str(run), "--k", "2", "--n", "3").splitlines()[2:]
    assert len(calls(lm)) - once == 4 * 3, "asked once, but for the calls that are timed"


def test_test_examples_with_several_labels_are_drawn_too():
    tagged = [dspy.Example(text="x", tags=["work", "home"] if row < 5 else ["work"]) for row in range(20)]
    task = Task(predictor="self", label_field="tags", labels=("work", "home"), inputs=("text",), several=True)
    opened = SimpleNamespace(task=task, spec=SimpleNamespace(seed=0), examples=lambda split: tagged)
    drawn = drawn_examples(opened, 8)
    assert [one.tags for one in drawn] == [["work", "home"]] * 2 + [["work"]] * 6
    assert drawn_examples(opened, 8) == drawn
    assert drawn_examples(opened, 99) == tagged


def test_effects_by_random_lists_stand_beside_leaving_out_one_by_one(run, lm, monkeypatch):
    before = len(calls(lm))
    text = experiment(lm, monkeypatch, "effects", str(run), "--calls", "24")
    rules = PLDResult.load(run).rules
    assert [cells(line)[0] for line in text.splitlines()[2:-2]] == [rule.id for rule in rules.rules]
    assert f"24 calls against {len(rules) * len(VAL)}" in text
    assert "rank correlation" in text
    assert len(calls(lm)) - before <= 24 + len(rules) * len(VAL), "the whole list was asked by the compile"
    after = len(calls(lm))
    assert experiment(lm, monkeypatch, "effects", str(run), "--calls", "24") == text
    assert len(calls(lm)) == after, "asked once"


def test_stages_are_scored_on_test_one_by_one(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "stages", str(run))
    result = PLDResult.load(run)
    rows = unchanged, everything, reworded, searched = [cells(line) for line in text.splitlines()[2:6]]
    assert [row[0] for row in rows] == ["unchanged", "all rules", "all rules, reworded", "searched"]
    assert unchanged[3].startswith(f"{result.test.baseline.macro_f1:.3f} [")
    assert searched[2] == f"{result.validation.compiled.macro_f1:.3f}"
    assert searched[3].startswith(f"{result.test.compiled.macro_f1:.3f} [")
    assert searched[4].startswith(f"{result.test.difference.macro_f1:+.3f} [")
    assert float(unchanged[5].split()[0]) > float(unchanged[3].split()[0]), "this student leans, and offsets undo it"
    assert int(everything[1]) == int(reworded[1]) == len(result.rules) + len(result.bench)
    assert f"{len(TEST)} test examples" in text
    left = Stages.load(run, result)
    assert [f"{one.test.macro_f1:.3f}" for one in left.stages] == [row[3].split()[0] for row in rows]
    assert [one.difference is None for one in left.stages] == [True, False, False, False]
    assert left.test("unchanged") == result.test.baseline
    assert left.test("searched") == result.test.compiled
    before = len(calls(lm))
    assert experiment(lm, monkeypatch, "stages", str(run)) == text
    assert len(calls(lm)) == before, "asked once"
    assert Stages.load(run, result) == left


def test_the_parts_of_what_a_search_chose_are_scored_by_themselves(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "stages", str(run), "--parts")
    result, sets = PLDResult.load(run), len(calls(lm))
    names = [cells(line)[:2] for line in text.splitlines()[5:9]]
    kept, every = str(len(result.rules)), str(len(result.rules) + len(result.bench))
    parts = [["its choice alone", kept], ["its wordings alone", every], ["its order alone", every]]
    assert names == [["searched", kept], *parts]
    assert experiment(lm, monkeypatch, "stages", str(run)) in text.replace("\n".join(text.splitlines()[6:9]) + "\n", "")
    assert len(calls(lm)) == sets, "asked once"


def test_one_part_of_a_choice_leaves_the_others_as_in_all_rules():
    def rule(name: str, wording: int = 0) -> Rule:
        return Rule(id=name, wordings=(f"{name} first", f"{name} second"), chosen=wording)

    everything = RuleSet(rules=(rule("a"), rule("b"), rule("c")))
    searched = RuleSet(rules=(rule("c", 1), rule("a")))
    found = {name: [one.text for one in rules.rules] for name, rules in _parts(searched, everything)}
    assert found == {
        "its choice alone": ["a first", "c first"],
        "its wordings alone": ["a first", "b first", "c second"],
        "its order alone": ["c first", "a first", "b first"],
    }


def test_a_plain_search_is_given_multiples_of_the_calls_and_goes_on(run, lm, monkeypatch):
    once = experiment(lm, monkeypatch, "plain", str(run), "--times", "1")
    after_one = len(calls(lm))
    text = experiment(lm, monkeypatch, "plain", str(run), "--times", "2", "--times", "1")
    ours, one, two = (cells(line) for line in text.splitlines()[2:5])
    assert [row[0] for row in (ours, one, two)] == ["PLD", "plain, 1 times", "plain, 2 times"]
    result = PLDResult.load(run)
    spent = result.costs["student"]["search"].calls
    assert [int(row[1].replace(",", "")) for row in (ours, one, two)] == [spent, spent, 2 * spent]
    assert cells(once.splitlines()[3]) == one, "the shorter search is the first part of the longer one"
    assert float(two[3]) >= float(one[3])
    assert ours[4].startswith(f"{result.test.compiled.macro_f1:.3f} [")
    added = len(calls(lm)) - after_one
    assert 0 < added <= spent + len(TEST), "no set is paid for twice"
    assert experiment(lm, monkeypatch, "plain", str(run), "--times", "1", "--times", "2") == text
    assert len(calls(lm)) == after_one + added


def test_a_plain_search_sees_what_the_runs_search_saw(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "plain", str(run), "--times", "1")
    own = {float(row["objective"]) for row in csv.DictReader((run / "trials.csv").open()) if row["objective"]}
    assert min(abs(float(cells(text.splitlines()[2])[3]) - value) for value in own) < 5e-4, "with matched offsets"


def test_classifiers_stand_beside_the_students_of_one_run_and_of_several(run, lm, monkeypatch):
    result = PLDResult.load(run)
    lines = experiment(lm, monkeypatch, "classifiers", str(run)).splitlines()
    found = {row[1].split(",")[0]: row for row in map(cells, lines[2:])}
    assert found["unchanged"][2].startswith(f"{result.test.baseline.macro_f1:.3f} ")
    assert found["compiled"][3].startswith(f"{result.calibration.compiled.calibrated.score.macro_f1:.3f} ")
    row = result.baselines["classifier"]
    assert found["classifier"][2].startswith(f"{row.score.macro_f1:.3f} ")
    assert found["classifier"][4].startswith(f"{row.difference.macro_f1:+.3f} ")
    assert found["unchanged + precedents"][4].startswith(
        f"{result.calibration.compiled_weighed.by_rules.macro_f1:+.3f} "
    )
    assert "all rules" in lines[-1]
    both = experiment(lm, monkeypatch, "classifiers", str(run), str(run)).splitlines()
    means = {cells(line)[1]: cells(line)[4] for line in both if line.startswith("| mean of 2 |")}
    assert set(means) == {row.name for row in result.baselines.rows} | {"unchanged + precedents"}
    low, high = row.difference.interval
    half = (high - low) / 2 / 2**0.5
    assert means["classifier"].startswith(f"{row.difference.macro_f1:+.3f} [{row.difference.macro_f1 - half:+.3f}, ")


def test_every_student_is_scored_under_the_rules_of_each(run, lm, monkeypatch, tmp_path):
    result = PLDResult.load(run)
    first, second = (shutil.copytree(run, tmp_path / name) for name in ("first", "second"))
    one = RuleSet(rules=result.rules.rules[:1])
    instructions = one.instruct(result.instructions)
    result.model_copy(update={"rules": one, "instructions": instructions}).save(second)
    program = RunFolder(second).program
    state = json.loads(program.read_text(encoding="utf-8"))
    state.get(result.predictor, state)["signature"]["instructions"] = instructions
    program.write_text(json.dumps(state), encoding="utf-8")
    monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
    (second / "calibration.json").unlink()
    before = len(calls(lm))
    asked = CliRunner().invoke(app, ["students", str(first), str(second)])
    assert asked.exit_code == 0, asked.output
    made = len(calls(lm)) - before
    assert asked.stderr.startswith(f"Student calls that this takes: {made}.\n")
    assert 0 < made <= 2 * len(TEST) + len(VAL)
    assert missing_calls([first, second]) == 0
    head, _, calibrated, plain = map(cells, asked.stdout.splitlines()[:4])
    assert head == ["student", "no rules", "rules of first", "rules of second"]
    assert (calibrated[0], plain[0]) == ("custom/leaning (first)", "custom/leaning (second)")
    assert plain[1].startswith(f"{result.test.baseline.macro_f1:.3f} [")
    assert plain[2].startswith(f"{result.test.compiled.macro_f1:.3f} [")
    assert float(calibrated[1].split()[0]) > float(plain[1].split()[0]), "this student leans, and offsets undo it"


def test_students_of_one_run_or_of_other_data_are_refused(run, tmp_path):
    assert CliRunner().invoke(app, ["students", str(run)]).exit_code != 0
    other = shutil.copytree(run, tmp_path / "other")
    config = (other / "config.yaml").read_text(encoding="utf-8")
    (other / "config.yaml").write_text(config.replace("  test: ", "  test: x"), encoding="utf-8")
    with pytest.raises(DataError, match="other labels or test examples"):
        students([run, other])


def test_two_runs_are_compared_pair_by_pair_without_a_call(run, lm, monkeypatch, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    before, runs = len(calls(lm)), [str(run), str(tmp_path / "other")]
    lines = experiment(lm, monkeypatch, "compare", *runs).splitlines()
    result = PLDResult.load(run)
    assert f"| {result.calibration.compiled.calibrated.score.macro_f1:.3f} [" in lines[2]
    assert f"| {result.calibration.used.calibrated.score.macro_f1:.3f} [" in lines[3]
    assert [line.split(" | ")[2] for line in lines[2:4]] == ["rules", "as the program answers"]
    assert all(line.endswith("| +0.000 [+0.00, +0.00] |") for line in lines[2:])
    pooled = experiment(lm, monkeypatch, "compare", *runs, *runs).splitlines()
    assert pooled[2:6] == [*lines[2:], *lines[2:]]
    assert [line.split(" | ")[0] for line in pooled[6:]] == ["| mean of 2"] * 2
    assert len(calls(lm)) == before
    assert "Give two, or several pairs" in str(CliRunner().invoke(app, ["compare", str(run)]).exception)


def test_runs_on_other_test_examples_are_not_compared_even_with_the_same_labels(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = other / "config.yaml"
    own = RunFolder(run).settings()["data"]["test"]
    config.write_text(config.read_text(encoding="utf-8").replace(own, "another"), encoding="utf-8")
    with pytest.raises(DataError, match="other labels or test examples"):
        compare([run, other])
