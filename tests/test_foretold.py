"""The commands that ask a finished run again: ladder, effects, stages, speed; a deterministic student."""

import csv
import re
from pathlib import Path

import dspy
import pytest
from engine import calls
from tasks import TEST, TRAIN, VAL, leaning_lm, micro_rules
from typer.testing import CliRunner

from experiments.__main__ import app
from pld_dspy import command as command_module
from pld_dspy.cli import app as pld_app
from pld_dspy.result import PLDResult

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


@pytest.fixture(scope="module")
def lm() -> dspy.LM:
    return leaning_lm()


@pytest.fixture(scope="module")
def run(lm: dspy.LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foretold")
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


def test_effects_are_held_against_leaving_each_rule_out(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "effects", str(run))
    result = PLDResult.load(run)
    rows = [cells(line) for line in text.splitlines()[2:] if line.startswith("| ")]
    assert [row[0] for row in rows] == [one.id for one in result.rules.rules]
    told = {one.rule: one.mean for one in result.insight.effects if one.kind == "rule"}
    assert [float(row[1].split()[0]) for row in rows] == pytest.approx([told[row[0]] for row in rows], abs=1e-4)
    chance = float(re.search(r"chance of the gold label (-?[\d.]+)", text.splitlines()[-2]).group(1))
    assert chance > 0.3, "the model that fits this student knows which of its rules matter"
    assert f"{len(rows) * len(VAL)} calls" in text


def test_speed_compares_adapters_on_the_same_examples(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "speed", str(run), "--n", "9")
    rows = [cells(line) for line in text.splitlines()[2:5]]
    assert [row[:2] for row in rows] == [
        ["unchanged", "LabelAdapter"],
        ["compiled", "LabelAdapter"],
        ["unchanged", "ChatAdapter"],
    ]
    assert rows[0][3] == "1.00"
    assert "9 examples" in text


def test_stages_are_scored_on_test_one_by_one(run, lm, monkeypatch):
    text = experiment(lm, monkeypatch, "stages", str(run))
    result = PLDResult.load(run)
    unchanged, everything, searched = (cells(line) for line in text.splitlines()[2:5])
    assert [row[0] for row in (unchanged, everything, searched)] == ["unchanged", "all rules", "searched"]
    assert unchanged[3].startswith(f"{result.test.baseline.macro_f1:.3f} [")
    assert searched[2] == f"{result.validation.compiled.macro_f1:.3f}"
    assert searched[3].startswith(f"{result.test.compiled.macro_f1:.3f} [")
    assert searched[4].startswith(f"{result.test.difference.macro_f1:+.3f} [")
    assert float(unchanged[5].split()[0]) > float(unchanged[3].split()[0]), "this student leans, and offsets undo it"
    assert int(everything[1]) == len(result.rules) + len(result.bench)
    assert f"{len(TEST)} test examples" in text
    before = len(calls(lm))
    assert experiment(lm, monkeypatch, "stages", str(run)) == text
    assert len(calls(lm)) == before, "asked once"
