"""pld-dspy recheck: edited rules are scored, and become the run's current version."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import dspy
import pytest
from command_line import COMPILE, SMALL, refused, run
from engine import calls, timeout_error

from pld_dspy.cli import finished_run, run_spec
from pld_dspy.cli.run_spec import ModelSpec
from pld_dspy.release import report
from pld_dspy.release.edits import read_edits, write_edits
from pld_dspy.release.trail import read_trail
from pld_dspy.rules import Rule
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult, refuse_to_undo

RUN = Path("run")
RULE = Rule(id="mine", wordings=("If the text mentions soup or match or goal, answer sport.",))


def edit(change: Callable[[list[Rule]], list[Rule]]) -> None:
    """Change the chosen rules in rules.yaml; the bench stays."""
    rules, bench = read_edits(RUN)
    write_edits(RUN, rules.with_rules(change([*rules.rules])), bench)


def files(folder: Path = RUN) -> dict[str, bytes]:
    """What stands in a run folder, but for the answers, which are kept in any case."""
    found = (path for path in folder.iterdir() if path.is_file() and path.suffix != ".lock")
    return {path.name: path.read_bytes() for path in found if path.name not in ("predictions.jsonl", "study.log")}


def said(*options: str) -> str:
    result = run("recheck", "run", *options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_answer_that_changes_is_shown_and_the_version_before_is_kept(done: Path) -> None:
    RunFolder(RUN).effects.write_text("{}", encoding="utf-8")
    before = files()
    edit(lambda rules: [RULE])

    shown = said("--by", "Ann")

    assert "mine: added as rule 1" in shown
    assert "sport-1: removed" in shown
    assert "Student calls to make on validation: 8. All other answers are known." in shown
    assert "macro-F1 1.000 [0.57, 1.00] -> 0.619" in shown
    assert "accuracy 1.000 -> 0.625; 8 examples, 0 failed" in shown
    for line in ("val-0: food -> sport, gold food, now wrong", "val-6: sport -> food, gold sport, now wrong"):
        assert f"{line}; edited rules about these labels: mine, sport-1\n    A val note [" in shown
    assert "Changed answers: 3, 0 now right, 3 now wrong." in shown
    assert "A val note [0] about the soup." in shown
    assert "val-4" not in shown
    assert "F1 of sport: 1.000 -> 0.571" in shown
    assert "run/versions/1" in shown
    assert "Without --test, the run has no test figures for them, and an export may lack test examples." in shown

    assert files(RUN / "versions" / "1") == before
    assert not RunFolder(RUN).effects.exists(), "they are of other rules"
    result = PLDResult.load(RUN)
    assert ([rule.id for rule in result.rules.rules], result.counts["rules"]) == (["mine"], 2)
    assert (result.validation.compiled.accuracy, result.test) == (0.625, None)
    assert result.validation.difference.accuracy.value == 0.125
    assert RULE.text in result.instructions
    assert result.notes[0].startswith("People edited the rules on 20")
    assert result.costs["student"]["recheck"].calls == 8
    assert "mine" in RunFolder(RUN).report.read_text(encoding="utf-8")
    assert [(line.what, line.by) for line in read_trail(RUN)][1:] == [("rechecked", "Ann")]
    assert json.loads(run("evaluate", "run", "--json").stdout)["accuracy"] == 0.625
    assert json.loads(run("evaluate", "run/versions/1", "--json").stdout)["accuracy"] == 1.0
    exported = run("export", "run", "--to", "text", "--out", "b").stdout
    assert exported.startswith("8 validation and test examples are left out: no answer under these rules (on test")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """To draw report.html takes longer than all else, and one test sees it."""
    monkeypatch.setattr(report, "write_report", lambda folder: folder)


@pytest.mark.usefixtures("no_report")
class TestRecheck:
    def test_an_edit_that_is_taken_back_costs_nothing_and_loads_no_model(
        self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = PLDResult.load(RUN)
        edit(lambda rules: [*rules, RULE])
        said("--test")
        asked = len(calls(student))
        edit(lambda rules: rules[:1])
        monkeypatch.setattr(ModelSpec, "check", lambda spec: None)
        monkeypatch.setattr(ModelSpec, "lm", None)  # a call would fail

        shown = said("--test")

        assert "calls to make on validation and test: 0." in shown
        assert len(calls(student)) == asked
        result = PLDResult.load(RUN)
        assert (result.validation, result.test) == (own.validation, own.test)
        assert (result.rules, result.instructions) == (own.rules, own.instructions)
        assert sorted(path.name for path in (RUN / "versions").iterdir()) == ["1", "2"]

    def test_without_an_edit_nothing_is_asked(self, task: Path, finished: Path) -> None:
        shutil.copytree(finished / "run", task / "run")
        before = files()

        assert "Nothing has changed in rules.yaml" in said()
        assert files() == before

    def test_notes_of_people_ask_nothing_and_all_figures_stand(self, task: Path, finished: Path) -> None:
        shutil.copytree(finished / "run", task / "run")  # no model can be had here
        own = PLDResult.load(RUN)
        edit(lambda rules: [rules[0].model_copy(update={"comment": "Seen.", "pin": True})])

        assert "nothing was asked, and all figures stand" in said()
        result = PLDResult.load(RUN)
        assert (result.rules.rules[0].comment, result.rules.rules[0].pin) == ("Seen.", True)
        assert (result.test, result.validation) == (own.test, own.validation)
        assert "comment changed" in result.notes[0]

    def test_a_dry_run_changes_nothing(self, done: Path) -> None:
        edit(lambda rules: [])
        before = files()

        assert "F1 of sport: 1.000 -> 0.000" in said("--dry-run")
        assert files() == before
        assert not (RUN / "versions").exists()

    def test_a_killed_recheck_leaves_the_run_as_it_was(
        self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        edit(lambda rules: [RULE])
        before, answer = files(), student.engine.fn

        def killed(system: str, user: str) -> str:
            if "[3]" in user:
                raise KeyboardInterrupt
            return answer(system, user)

        with monkeypatch.context() as patch:
            patch.setattr(student.engine, "fn", killed)
            assert run("recheck", "run").exit_code == 130
        assert files() == before
        assert re.search(r"calls to make on validation: [1-7]\.", said())

        # Killed once more, when the version before was kept and its own result not yet written.
        for name in ("result.json", "program.json"):
            shutil.copy(RUN / "versions" / "1" / name, RUN / name)
        assert "calls to make on validation: 0." in said()
        assert [path.name for path in (RUN / "versions").iterdir()] == ["1"]

    def test_calls_that_are_lost_are_no_wrong_answers(
        self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(finished_run, "PATIENCE", 0.0)
        edit(lambda rules: [RULE])
        before, student.engine.failures = files(), (timeout_error("[3]"),)

        result = run("recheck", "run")
        assert result.exit_code == 1
        assert "1 of the validation examples got no answer: lost: " in result.stderr
        assert files() == before

        student.engine.failures = ()
        assert "calls to make on validation: 1." in said()

    def test_an_edit_made_while_the_student_is_asked_is_not_lost(
        self, done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        edit(lambda rules: [RULE])
        answer = student.engine.fn

        def slow(system: str, user: str) -> str:
            if "[3]" in user:
                edit(lambda rules: [])
            return answer(system, user)

        monkeypatch.setattr(student.engine, "fn", slow)
        result = run("recheck", "run")

        assert result.exit_code == 2
        assert "was changed while the student was asked. Recheck again" in result.stderr
        assert len(read_edits(RUN)[0]) == 0
        assert not (RUN / "versions").exists()

    def test_a_compile_does_not_undo_it_unasked(self, done: Path) -> None:
        edit(lambda rules: [RULE])
        said()
        compiling = (*COMPILE, *SMALL, "--student", "openai/none", "--quiet")

        assert "people have edited or signed its rules since" in refused(run(*compiling))
        assert PLDResult.load(RUN).rules.rules[0].id == "mine"

    def test_what_was_compiled_afresh_is_not_edited(self, done: Path) -> None:
        shutil.copytree(RUN, RUN / "versions" / "1")  # as --fresh leaves it
        refuse_to_undo(RunFolder(RUN))

    def test_edits_that_are_given_as_rules_are_not_deleted_by_a_fresh_compile(self, done: Path) -> None:
        edit(lambda rules: [RULE])
        before = files()

        compiling = (*COMPILE, *SMALL, "--student", "openai/none", "--quiet", "--rules", "run/rules.yaml", "--fresh")
        assert "run/rules.yaml is this run's own" in refused(run(*compiling))
        assert files() == before

    @pytest.mark.parametrize("how", ["edit", "break", "sign"])
    def test_what_people_did_is_not_undone_unasked(self, done: Path, how: str) -> None:
        if how == "edit":
            edit(lambda rules: [RULE])
        elif how == "break":
            RunFolder(RUN).rules.write_text("rules: [", encoding="utf-8")
        else:
            assert run("sign", "run", "--by", "Ann").exit_code == 0
        before = files()

        compiling = (*COMPILE, *SMALL, "--student", "openai/none", "--quiet")
        assert "people have edited or signed its rules since" in refused(run(*compiling))
        assert files() == before

    def test_faults_and_changed_data_are_refused_before_a_call(self, done: Path, student: dspy.LM) -> None:
        text = RunFolder(RUN).rules.read_text(encoding="utf-8")
        RunFolder(RUN).rules.write_text(text.replace("text:", "texts:"), encoding="utf-8")
        assert "run/rules.yaml line 2: rules 1 (sport-1) has no text" in refused(run("recheck", "run"))

        RunFolder(RUN).rules.write_text(text.replace("goal", "score"), encoding="utf-8")
        (done / "val.csv").write_text((done / "test.csv").read_text(encoding="utf-8"), encoding="utf-8")
        assert run("recheck", "run").exit_code == 2
        (done / "val.csv").write_text((done / "val.csv").read_text(encoding="utf-8").replace("test", "v"), "utf-8")
        result = run("recheck", "run")
        assert "The validation split of run is no longer the one that was compiled with" in result.stderr
        assert calls(student) == []

    def test_the_file_of_rules_that_was_compiled_with_may_be_gone(self, done: Path) -> None:
        config = RunFolder(RUN).config
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace("\ncommand:\n", "\ncommand:\n  rules: gone.yaml\n"), encoding="utf-8")
        edit(lambda rules: [])

        assert "F1 of sport: 1.000 -> 0.000" in said("--dry-run")

    def test_a_model_that_cannot_be_had_changes_nothing(self, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        edit(lambda rules: [RULE])
        before = files()

        def none(spec: str, **settings: object) -> dspy.LM:
            raise run_spec.ModelError("There is none.")

        monkeypatch.setattr(run_spec, "resolve_lm", none)
        assert run("recheck", "run").exit_code != 0
        assert files() == before
