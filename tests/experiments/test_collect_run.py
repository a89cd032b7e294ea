"""Tables from finished runs: the sets that a run's searches asked in full, no validation answer asked again."""

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import calls
from tasks import TEST, TRAIN, VAL, leaning_lm, mail_evaluator, micro_rules, rule_set
from typer.testing import CliRunner, Result

from experiments.__main__ import app as experiments_app
from experiments.search_cost.__main__ import app
from experiments.search_cost.collect_run import spread
from experiments.search_cost.table import Table
from pld_dspy.cli import run_spec as command_module
from pld_dspy.cli.app import app as pld_app
from pld_dspy.errors import DataError, RunError
from pld_dspy.rules import RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.search.space import Space
from pld_dspy.search.storage import find_study, open_study

PROGRAM = """
from pld_dspy.task.splits import Splits
from tasks import TEST, TRAIN, VAL, student

def load(data=None, *, rationales=(), seed=0):
    return Splits(TRAIN, VAL, TEST)
"""
ASKED = 9


@pytest.fixture(scope="module")
def lm() -> dspy.LM:
    return leaning_lm()


@pytest.fixture(autouse=True)
def served(lm: dspy.LM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)


def compiled(folder: Path, *search: str) -> Path:
    (folder / "sorted_mail.py").write_text(PROGRAM, encoding="utf-8")
    lines = [record.model_dump_json() for record in micro_rules(TRAIN)]
    (folder / "rationales.jsonl").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["compile", "--program", str(folder / "sorted_mail.py"), "--student", "openai/none", "--threads", "1"]
    arguments += ["--rationales", str(folder / "rationales.jsonl"), "--tracking", "none", *search]
    done = CliRunner().invoke(pld_app, [*arguments, "--out", str(folder / "run")])
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture(scope="module")
def searched(lm: dspy.LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and a plain search on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
        run = compiled(tmp_path_factory.mktemp("searched"), "--screen-calls", "48", "--trials", "2", "--calibrate")
        done = CliRunner().invoke(experiments_app, ["plain", str(run), "--times", "2"])
    assert done.exit_code == 0, done.output
    return run


@pytest.fixture
def run(searched: Path, tmp_path: Path) -> Path:
    """The same with a ledger of its own."""
    return Path(shutil.copytree(searched, tmp_path / "run"))


def collect(run: Path, path: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["collect-run", str(run), "--out", str(path), "--test", str(ASKED), *more])


def asked_in_full(run: Path) -> list[tuple[tuple[str, int], ...]]:
    """The distinct sets, as a table names them, read off trials.csv and the plain study's parameters."""
    folder = RunFolder(run)
    rows = [row["rules"].split() for row in csv.DictReader(folder.trials.open()) if row["objective"]]
    own = [tuple((part.rpartition("/")[0], int(part.rpartition("/")[2])) for part in row) for row in rows]
    space = Space(find_study(folder.study, prefix=folder.fingerprint)[1].rules)
    trials = open_study(run / "plain_search.log", name=f"plain-{folder.fingerprint}").get_trials()
    asked = [space.candidate(one.params) for one in trials if one.user_attrs.get("objective") is not None]
    plain = [tuple((rule.id, rule.chosen) for rule in space.rule_set(one).rules) for one in asked]
    return list(dict.fromkeys([*own, *plain]))


def test_every_set_asked_in_full_becomes_a_candidate_and_nothing_is_asked_twice(run, lm, tmp_path: Path):
    path, before = tmp_path / "out" / "table.jsonl", len(calls(lm))
    done = collect(run, path)
    assert done.exit_code == 0, done.output
    table, new = Table.load(path), calls(lm)[before:]
    assert [one.rules for one in table.candidates] == asked_in_full(run)
    assert len(table.candidates) > 12
    kinds = [one.kind for one in table.candidates]
    assert kinds == sorted(kinds), "guards first"
    assert table.candidates[0].rules == ()
    assert table.header.validation == tuple(one.label for one in VAL)
    assert Counter(table.header.test) == {"spam": 3, "work": 3, "home": 3}
    users = Counter(call.user for call in new)
    assert len(users) == ASKED
    assert all(any(one.text in user for one in TEST) for user in users), "validation answers are in the ledger"
    assert max(Counter((call.system, call.user) for call in new).values()) == 1
    assert 0 < len(new) < ASKED * len(table.candidates), "what was scored on test before is not asked"


def test_the_answers_are_the_students(run, lm, tmp_path: Path):
    path = tmp_path / "table.jsonl"
    assert collect(run, path).exit_code == 0
    table, one = Table.load(path), Table.load(path).candidates[-1]
    named = {rule.id: rule for rule in table.header.rules}
    rules = rule_set(*(named[name].with_wording(wording) for name, wording in one.rules))
    check = mail_evaluator(leaning_lm())
    assert list(one.validation) == check.labels(rules, VAL, stage="check")
    everywhere = check.labels(rules, TEST, stage="check")
    rest = iter(zip((one.label for one in TEST), everywhere, strict=True))
    assert all(pair in rest for pair in zip(table.header.test, one.test, strict=True)), "in the order of the split"


def test_a_collection_goes_on_where_it_was_cut(run, lm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole, path = tmp_path / "whole.jsonl", tmp_path / "table.jsonl"
    assert collect(Path(shutil.copytree(run, tmp_path / "other")), whole).exit_code == 0
    before, answer, given = len(calls(lm)), lm.engine.fn, []

    def cut(system: str, user: str) -> str:
        if len(given) == 25:
            raise KeyboardInterrupt
        given.append(user)
        return answer(system, user)

    monkeypatch.setattr(lm.engine, "fn", cut)
    assert collect(run, path).exit_code != 0
    held = path.read_text()
    assert 2 < len(held.splitlines()) < len(whole.read_text().splitlines())
    path.write_text(held[:-30])
    monkeypatch.setattr(lm.engine, "fn", answer)
    assert collect(run, path).exit_code == 0
    assert path.read_text() == whole.read_text()
    made = Counter((call.system, call.user) for call in calls(lm)[before:] if call.answer is not None)
    assert max(made.values()) == 1, "an answer that came before the cut is kept"
    after = len(calls(lm))
    assert collect(run, path).exit_code == 0
    assert path.read_text() == whole.read_text()
    assert len(calls(lm)) == after


def test_too_many_sets_are_spread_over_the_order_of_asking(run, tmp_path: Path):
    path = tmp_path / "table.jsonl"
    assert collect(run, path, "--candidates", "7").exit_code == 0
    every = asked_in_full(run)
    found = [every.index(one.rules) for one in Table.load(path).candidates]
    assert len(found) == 7
    assert found == sorted(found)
    assert found[-1] == len(every) - 1, "the last one is in"


def test_sets_are_spread_evenly_behind_the_guards():
    sets = [("guard", RuleSet()), ("guard", RuleSet()), *(("searched", number) for number in range(101))]
    assert [one[1] for one in spread(sets, 7)[2:]] == [0, 25, 50, 75, 100]
    assert spread(sets, 103) == spread(sets, 200) == sets
    assert [one[0] for one in spread(sets[5:] + sets[:2], 4)] == ["guard", "guard", "searched", "searched"]


def test_a_run_without_a_plain_search_gives_its_own_sets(run, tmp_path: Path):
    every = asked_in_full(run)
    (run / "plain_search.log").unlink()
    assert collect(run, tmp_path / "table.jsonl").exit_code == 0
    found = [one.rules for one in Table.load(tmp_path / "table.jsonl").candidates]
    assert found == every[: len(found)]
    assert 3 < len(found) < len(every)
    assert not (run / "plain_search.log").exists()


def test_all_test_examples_are_asked_where_there_are_fewer(run, tmp_path: Path):
    assert collect(run, tmp_path / "table.jsonl", "--candidates", "4", "--test", "999").exit_code == 0
    assert Table.load(tmp_path / "table.jsonl").header.test == tuple(one.label for one in TEST)


def test_a_table_of_a_run_is_replayed(run, tmp_path: Path):
    assert collect(run, tmp_path / "table.jsonl").exit_code == 0
    told = CliRunner().invoke(app, ["replay", str(tmp_path / "table.jsonl"), "--seeds", "2"])
    assert told.exit_code == 0, told.output
    count = len(Table.load(tmp_path / "table.jsonl").candidates)
    assert f"{count} candidates, 24 validation examples; all answers take {count * 24} calls" in told.stdout
    assert f"| pooled_race | {round(0.5 * count * 24)} |" in told.stdout


def test_what_is_no_finished_run_is_named(tmp_path: Path):
    failure = collect(tmp_path, tmp_path / "table.jsonl").exception
    assert isinstance(failure, RunError)
    assert "not a run folder" in str(failure)


def test_a_table_of_other_examples_is_not_mixed(run, lm, tmp_path: Path):
    path = tmp_path / "table.jsonl"
    assert collect(run, path, "--candidates", "4").exit_code == 0
    held, before = path.read_text(), len(calls(lm))
    failure = collect(run, path, "--candidates", "4", "--test", "12").exception
    assert isinstance(failure, RunError)
    assert "table of another student, other rules or other examples" in str(failure)
    assert path.read_text() == held
    assert len(calls(lm)) == before


def test_guards_alone_are_no_table(tmp_path: Path):
    run = compiled(tmp_path, "--screen-calls", "0", "--trials", "0")
    failure = collect(run, tmp_path / "table.jsonl").exception
    assert isinstance(failure, DataError)
    assert "asked no rule set in full but the 3 guards" in str(failure)
    assert f"python -m experiments plain {run}" in str(failure)
    assert not (tmp_path / "table.jsonl").exists()


def test_answers_of_several_labels_are_refused(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings = RunFolder.settings

    def with_several(folder: RunFolder) -> dict[str, Any]:
        found = settings(folder)
        return {**found, "task": {**found["task"], "several": True}}

    monkeypatch.setattr(RunFolder, "settings", with_several)
    failure = collect(run, tmp_path / "table.jsonl").exception
    assert isinstance(failure, DataError)
    assert "several labels at once" in str(failure)
