"""An experiment as a user runs it, with a deterministic student in place of the model."""

import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import dspy
import pandas as pd
import pytest
from dspy import lm15
from engine import calls, fn_lm, teacher_lm, timeout_error
from tasks import proposing_lm, student_lm
from typer.testing import CliRunner, Result

import experiments.config
import optimizers
from experiments import runner
from experiments.__main__ import app
from experiments.config import Experiment
from experiments.table import finished_cells, newest_run
from pld_dspy import demo
from pld_dspy.errors import DataError

TESTED = 84
"""Test examples of the demo task."""


@pytest.fixture
def config(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "name: tiny\nprogram: pld_dspy.demo\noptimizers: [zero_shot, tfidf_logistic]\nseeds: [0, 1]\n"
        f"tracking: sqlite:///{tmp_path}/mlflow.db\nfolder: {tmp_path}/work\n"
    )
    return path


@pytest.fixture
def lm(monkeypatch: pytest.MonkeyPatch) -> dspy.LM:
    lm = student_lm("food")
    monkeypatch.setattr(runner, "resolve_lm", lambda spec: lm)
    return lm


def change(config: Path, **settings: str) -> None:
    """Replace settings of the file, or add them."""
    lines = [line for line in config.read_text().splitlines() if line.partition(":")[0] not in settings]
    config.write_text("\n".join([*lines, *(f"{name}: {value}" for name, value in settings.items())]) + "\n")


def command(name: str, config: Path, *options: str) -> Result:
    return CliRunner().invoke(app, [name, str(config), *options])


def rows(result: Result) -> list[list[str]]:
    """The rows of the first table under its header."""
    lines = [line for line in result.stdout.partition("\n\n")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def interrupted_at(number: int, lm: dspy.LM) -> Callable[[str, str], str]:
    """The LM's answers, but Ctrl-C in place of the one with this number."""
    answer: Callable[[str, str], str] = lm.engine.fn

    def fn(system: str, user: str) -> str:
        if len(calls(lm)) == number:
            lm.engine.fn = answer
            raise KeyboardInterrupt
        return answer(system, user)

    return fn


def test_cells_run_once_and_the_table_has_a_row_for_each(config: Path, lm: dspy.LM) -> None:
    first = command("run", config)
    assert first.exit_code == 0, first.output
    assert len(calls(lm)) == TESTED, "the unchanged student is the same with both seeds, and asked once"
    assert (
        "| test macro-F1 [95% interval] | calibrated | accuracy | seconds per call | prompt tokens per call |"
        in first.stdout
    )
    assert [row[:2] for row in rows(first)] == [
        [name, seed] for seed in ("0", "1") for name in ("zero_shot", "tfidf_logistic")
    ]
    assert "84 test examples" in first.stdout
    again = command("run", config)
    assert again.stdout == first.stdout
    assert command("table", config).stdout == first.stdout
    assert len(calls(lm)) == TESTED


def test_results_are_files_to_keep(config: Path, lm: dspy.LM) -> None:
    assert "No cell of tiny has finished" in str(command("results", config).exception)
    table = command("run", config).stdout
    written = command("results", config, "--out", "kept")
    assert written.stdout == "kept/tiny.md\n", written.output
    said = Path("kept/tiny.md").read_text(encoding="utf-8")
    assert table in said
    assert re.search(r"seeds \[0, 1\], .*budget 1200\. Machine: .+, \d+ cores\. Versions: .*dspy \d", said)
    answers = pd.read_csv("kept/tiny.csv")
    assert [*answers] == ["seed", "example", "gold", "zero_shot", "tfidf_logistic"]
    assert len(answers) == 2 * TESTED
    rights = (answers.gold == answers.tfidf_logistic)[answers.seed == 0].mean()
    assert f"| {rights:.3f} |" in said
    assert "<svg" in Path("kept/tiny.svg").read_text(encoding="utf-8")


def test_with_all_labels_no_example_is_unseen(config: Path) -> None:
    change(config, unseen="true")
    assert "unseen needs a number of labels per class" in str(command("table", config).exception)


def test_what_is_left_is_estimated_beforehand(config: Path, lm: dspy.LM) -> None:
    at_most = 1200 + 60 + TESTED
    told = command("estimate", config).stdout
    assert f"2 of 4 cells are left that call the student, with at most {2 * at_most:,} calls. Give --seconds" in told
    assert f"{2 * at_most / 3600:.1f} hours at 1.00 s a call" in command("estimate", config, "--seconds", "1").stdout
    change(config, seeds="[0]")
    command("run", config)
    change(config, seeds="[0, 1]", optimizers="[zero_shot, tfidf_logistic, pld]")
    told = command("estimate", config).stdout
    assert f"3 of 6 cells are left that call the student, with at most {3 * at_most:,} calls: 0.0 hours at 0.00" in told


def test_each_row_gives_the_figures_of_its_cell(config: Path, lm: dspy.LM) -> None:
    unchanged, linear, *_ = rows(command("run", config))
    value, low, high = map(float, re.findall(r"0\.\d+", unchanged[2]))
    assert low < value < high
    words = len(calls(lm)[1].system.split())
    assert words < float(unchanged[6]) < words + 30, "the engine counts words, those of the claim included"
    assert (unchanged[7], linear[6], linear[7]) == ("0", "0", "0")


def leaning(system: str, user: str) -> list[lm15.TokenLogprob]:
    """A student that knows the budgets by their words, but likes one of them too much."""
    weights = {label: 0.1 + 0.8 * (label in user) + 0.85 * (label == "food") for label in demo.LABELS}
    top = [lm15.TopLogprob(label, math.log(weight / sum(weights.values()))) for label, weight in weights.items()]
    top.sort(key=lambda one: -one.logprob)
    return [lm15.TokenLogprob(top[0].token, top[0].logprob, top=tuple(top))]


def test_every_optimizer_is_scored_with_offsets_too_where_it_has_log_probabilities(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The offsets are those of the validation claims, so that they cost these calls and no label of a test claim."""
    lm = fn_lm(lambda *seen: leaning(*seen)[0].token, cache=False, logprobs=leaning)
    monkeypatch.setattr(runner, "resolve_lm", lambda spec: lm)
    change(config, seeds="[0]")
    splits = demo.load(rationales=Experiment.load(config).micro_rules())
    told = [replaced(splits.val), replaced(splits.test)]
    monkeypatch.setattr(demo, "load", lambda *_, **__: replace(splits, val=told[0], test=told[1]))
    unchanged, linear = rows(command("run", config))
    assert float(unchanged[2].split()[0]) < 0.3
    assert float(unchanged[3].split()[0]) > 0.9
    assert linear[3] == ""
    assert len(calls(lm)) == TESTED + len(splits.val)


def replaced(examples: list[dspy.Example]) -> list[dspy.Example]:
    """The claims with their budget as a last word."""
    return [one.copy(text=f"{one.text} {one.budget}") for one in examples]


def test_each_row_is_compared_with_rules_example_by_example(config: Path, lm: dspy.LM) -> None:
    change(config, optimizers="[tfidf_logistic, pld_all_rules]", seeds="[0]", budget="400")
    result = command("run", config)
    assert "| macro-F1 less pld_all_rules [95% interval] |" in result.stdout
    linear, own = rows(result)
    gain, low, high = map(float, re.findall(r"[-+]\d\.\d+", linear[-1]))
    assert gain == pytest.approx(float(linear[2].split()[0]) - float(own[2].split()[0]), abs=0.0011)
    assert low < gain < high
    assert own[-1] == ""


def test_several_seeds_have_a_mean(config: Path, lm: dspy.LM) -> None:
    change(config, optimizers="[majority, tfidf_logistic, pld_all_rules]", labels="[4]")
    told = command("run", config).stdout
    own = rows(command("table", config))
    _, _, means = told.partition("| optimizer | seeds |")
    *_, linear, rules = means.split("| ahead |\n")[1].split("\n\n")[0].splitlines()
    name, seeds, mean, _, lead, ahead = (cell.strip() for cell in linear.strip("|").split("|"))
    assert (name, seeds) == ("tfidf_logistic, 4 labels per class", "2")
    figures, leads = zip(
        *((row[3].split()[0], row[-1].split()[0]) for row in own if row[0] == "tfidf_logistic"), strict=True
    )
    assert float(mean) == pytest.approx(sum(map(float, figures)) / 2, abs=0.001)
    assert float(lead.split()[0]) == pytest.approx(sum(map(float, leads)) / 2, abs=0.001)
    low, high = map(float, lead.split("[")[1].strip("]").split(","))
    assert low < float(lead.split()[0]) < high
    assert ahead == f"{sum(float(one) > 0 for one in leads)} of 2"
    assert rules.endswith("|  |  |"), "PLD is what the others are compared with"
    change(config, seeds="[0]")
    assert "| seeds |" not in command("table", config).stdout


def test_a_program_that_picks_its_demonstrations_is_not_taken_for_another(config: Path, lm: dspy.LM) -> None:
    change(config, optimizers="[zero_shot, nearest_few_shot]", seeds="[0]")
    unchanged, nearest = rows(command("run", config))
    assert len(calls(lm)) == 2 * TESTED
    assert float(nearest[6]) > 2 * float(unchanged[6]), "demonstrations are prompt tokens"


def test_accuracy_is_the_first_figure_where_it_is_the_objective(config: Path, lm: dspy.LM) -> None:
    by_f1 = rows(command("run", config))[0]
    change(config, objective="accuracy")
    result = command("run", config)
    assert "| test accuracy [95% interval] | calibrated | macro-F1 |" in result.stdout
    by_accuracy = rows(result)[0]
    value, low, high = map(float, re.findall(r"0\.\d+", by_accuracy[2]))
    assert low < value < high
    assert (by_accuracy[2].split()[0], by_accuracy[4]) == (by_f1[4], by_f1[2].split()[0])


def test_learning_curves_draw_few_labels_of_each_class_and_more_of_the_same(config: Path, lm: dspy.LM) -> None:
    change(config, optimizers="[zero_shot, tfidf_logistic]", labels="[4, 30, null]", seeds="[0]")
    experiment = Experiment.load(config)
    few, more, all_of_them = (experiment.splits(experiment.micro_rules(), 0, labels) for labels in experiment.labels)
    for part in ("train", "val"):
        assert Counter(one.budget for one in getattr(few, part)) == dict.fromkeys(demo.LABELS, 2)
        texts = [{one.text for one in getattr(splits, part)} for splits in (few, more, all_of_them)]
        assert texts[0] < texts[1] < texts[2]
    assert [one.text for one in few.test] == [one.text for one in all_of_them.test]
    unseen = experiment.model_copy(update={"unseen": True}).splits(experiment.micro_rules(), 0, 4)
    left = {one.text for one in (*all_of_them.train, *all_of_them.val)} - {one.text for one in (*few.train, *few.val)}
    assert {one.text for one in unseen.test} == left
    change(config, unseen="true", labels="[4]", optimizers="[tfidf_logistic]")
    assert f"student local, {len(left)} labelled examples that were not drawn" in command("run", config).stdout
    change(config, unseen="false", labels="[4, 30, null]", optimizers="[zero_shot, tfidf_logistic]")

    table = command("run", config)
    assert [row[:3] for row in rows(table)] == [
        [name, "0", labels] for labels in ("4", "30", "all") for name in ("zero_shot", "tfidf_logistic")
    ]
    linear = [float(row[3].split()[0]) for row in rows(table)][1::2]
    assert linear[0] < linear[1], "it learns from the labels that the cell has"
    assert len(calls(lm)) == TESTED
    drawn = command("plot", config, "--out", "curves.svg")
    assert drawn.exit_code == 0, drawn.output
    said = Path("curves.svg").read_text()
    assert all(text in said for text in ("labelled examples per class", "TF-IDF + logistic regression", ">all<"))


def test_calls_that_fail_while_compiling_are_counted(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = fn_lm(lambda *_: "food", cache=False, failures=[timeout_error(demo.load().val[0].text, times=1)])
    monkeypatch.setattr(runner, "resolve_lm", lambda spec: lm)
    change(config, optimizers="[labelled_few_shot, majority]", seeds="[0]", budget="150")
    said = command("run", config).stdout
    assert "Model calls that failed while compiling, of student or teacher: labelled_few_shot (seed 0) 1." in said


def test_programs_of_finished_cells_are_timed_in_turn(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = fn_lm(lambda *seen: leaning(*seen)[0].token, cache=False, logprobs=leaning)
    monkeypatch.setattr(runner, "resolve_lm", lambda spec: lm)
    asked = ["zero_shot", "labelled_few_shot", "pld_precedents"]
    change(config, optimizers=f"[{', '.join(asked)}, majority]", seeds="[0]", budget="400")
    assert command("run", config).exit_code == 0
    calls(lm).clear()
    timed = command("latency", config, "--n", "13")
    assert timed.exit_code == 0, timed.output
    assert [row[0] for row in rows(timed)] == asked, "no row for what calls no model"
    shown = [len(call.messages) > 2 for call in calls(lm)]
    assert shown == [*repeat(False, 12), *repeat(True, 12), *repeat(False, 12), False, True, False]
    damaged = next(config.parent.glob("work/tiny/labelled_few_shot-0-*/program.json"))
    damaged.write_text("{}")
    assert f"Cannot load the program of labelled_few_shot (seed 0), {damaged}" in str(
        command("latency", config).exception
    )


def test_where_models_have_prices_it_is_said_when_a_compile_is_paid_back(
    config: Path, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teacher_lm(cache=False)
    monkeypatch.setattr(experiments.config, "resolve_lm", lambda spec, **settings: teacher)
    change(config, optimizers="[zero_shot, pld_from_teacher]", seeds="[0]", budget="400", teacher=teacher.model)
    assert command("run", config).exit_code == 0
    assert [row[-1] for row in rows(command("latency", config, "--n", "3"))] == ["", ""]
    experiment = Experiment.load(config)
    prices = {experiment.student: [1.0, 2.0], teacher.model: [100.0, 200.0]}
    change(config, prices=json.dumps(prices))
    assert [cell.key for cell in Experiment.load(config).cells()] == [cell.key for cell in experiment.cells()]
    timed = rows(command("latency", config, "--n", "3"))
    [(_, free), (_, run)] = finished_cells(experiment)
    spent = {name: run.data.metrics[name] for name in ("teacher_tokens_in", "teacher_tokens_out")}
    assert all(value > 0 for value in spent.values())
    assert run.data.metrics["student_tokens_in"] > 0 == free.data.metrics["student_tokens_in"]
    money = {
        role: [run.data.metrics[f"{role}_tokens_{way}"] * price for way, price in zip(("in", "out"), own, strict=True)]
        for role, own in zip(("student", "teacher"), prices.values(), strict=True)
    }
    (plain_in, plain_out), (own_in, own_out) = ([float(row[4]), float(row[6])] for row in timed)
    saved = 100 * plain_in + 200 * plain_out - own_in - 2 * own_out
    assert [row[-1] for row in timed] == ["0", f"{math.ceil(sum(map(sum, money.values())) / saved):,}"]
    change(config, prices=json.dumps(prices | {teacher.model: [0.0, 0.0]}))
    assert [row[-1] for row in rows(command("latency", config, "--n", "3"))] == ["never", "never"]


def test_a_failing_cell_is_reported_and_tried_again_and_the_others_go_on(
    config: Path, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(setting: optimizers.Setting) -> dspy.Module:
        raise RuntimeError(f"Seed {setting.seed}\nis too odd.")

    works = optimizers.OPTIMIZERS["zero_shot"]
    monkeypatch.setitem(optimizers.OPTIMIZERS, "zero_shot", broken)
    result = command("run", config)
    assert result.exit_code == 1
    assert [row[:2] for row in rows(result)] == [["tfidf_logistic", "0"], ["tfidf_logistic", "1"]]
    assert "Failed: zero_shot (seed 1): RuntimeError: Seed 1 is too odd." in result.stdout
    assert "Not run yet" not in result.stdout
    assert "zero_shot (seed 0) failed: RuntimeError" in caplog.text
    monkeypatch.setitem(optimizers.OPTIMIZERS, "zero_shot", works)
    mended = command("run", config)
    assert mended.exit_code == 0
    assert len(rows(mended)) == 4
    assert "Failed" not in mended.stdout


def test_an_interrupted_run_goes_on_without_repeating_a_call(config: Path, lm: dspy.LM) -> None:
    lm.engine.fn = interrupted_at(40, lm)
    stopped = command("run", config)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    told = command("table", config)
    assert rows(told) == []
    assert "Not run yet: zero_shot (seed 0); " in told.stdout
    resumed = command("run", config)
    assert resumed.exit_code == 0, resumed.output
    assert len(calls(lm)) == TESTED
    finished = newest_run(next(Experiment.load(config).cells()))
    assert finished is not None
    assert finished.data.metrics["seconds_per_call"] > 0, "a replayed answer keeps the seconds that it took"


def test_answers_that_are_no_label_are_told_of(config: Path, lm: dspy.LM) -> None:
    change(config, seeds="[0]")
    lm.engine.fn = lambda system, user: "I would rather not say."
    assert "count as wrong: zero_shot (seed 0) 84.\n" in command("run", config).stdout


def test_a_resumed_compile_counts_the_calls_of_the_interrupted_one(config: Path, lm: dspy.LM) -> None:
    change(config, optimizers="[pld]", seeds="[0]", budget="300")
    lm.engine.fn = interrupted_at(100, lm)
    assert command("run", config).exit_code == 130
    [row] = rows(command("run", config))
    assert 200 < len(calls(lm)) <= 300 + TESTED + 1
    assert int(row[7]) == len(calls(lm)) - TESTED + 1, "the one that was interrupted was begun twice"


def test_a_teacher_is_asked_and_its_calls_are_counted_by_themselves(
    config: Path, lm: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = proposing_lm(repeat("Be fair."))
    monkeypatch.setattr(experiments.config, "resolve_lm", lambda spec, **settings: teacher)
    change(config, optimizers="[infer_rules]", seeds="[0]", budget="68", teacher="openai/teacher")
    command("run", config)
    asked = len(calls(teacher))
    assert asked
    [cell] = Experiment.load(config).cells()
    assert len((cell.folder / "teacher_calls.txt").read_text().split()) == asked
    assert len((cell.folder / "calls.txt").read_text().split()) == len(calls(lm)) - TESTED


def test_effort_starts_anew_unless_the_compile_resumes(tmp_path: Path) -> None:
    path = tmp_path / "calls.txt"
    with dspy.context(lm=student_lm(), callbacks=[runner.CallCounter(path, "custom/student", resumed=False)]):
        for _ in range(3):
            dspy.settings.lm("Hello.")
    path.write_text(path.read_text() + "\n5.0\n7.")
    assert runner.CallCounter(path, "custom/student", resumed=True).calls == 5
    assert 12 < runner.CallCounter(path, "custom/student", resumed=True).seconds < 20
    assert runner.CallCounter(path, "custom/student", resumed=False).calls == 0


def test_the_command_line_overrides_where_data_and_rationales_are(config: Path, lm: dspy.LM, tmp_path: Path) -> None:
    missing = command("run", config, "--data", "nowhere.jsonl")
    assert isinstance(missing.exception, DataError)
    assert "nowhere.jsonl" in str(missing.exception)
    (tmp_path / "none.jsonl").touch()
    experiment = Experiment.load(config, rationales=tmp_path / "none.jsonl", data=None)
    assert experiment.micro_rules() == []
    assert experiment.data is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [("budget", "0"), ("student", "3"), ("colour", "red"), ("optimizers", "[magic]"), ("objective", "f2")],
)
def test_wrong_setting_is_named(config: Path, setting: str, value: str) -> None:
    change(config, **{setting: value})
    with pytest.raises(DataError, match=setting):
        Experiment.load(config)


def test_an_unknown_program_and_a_file_without_settings_are_refused(config: Path) -> None:
    change(config, program="programs.magic")
    with pytest.raises(DataError, match=r"No module named 'programs\.magic'"):
        Experiment.load(config).source.student()
    config.write_text("- one\n- two\n")
    with pytest.raises(DataError, match="holds a list"):
        Experiment.load(config)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "experiments" / "configs").glob("*.yaml")))
def test_shipped_configurations_load_and_name_a_program(path: Path) -> None:
    assert Experiment.load(path).source.student()
