"""What wrong labels do to the rules: a deterministic student and teacher, flips that are known."""

from pathlib import Path

import dspy
import pytest
from engine import calls, sections
from tasks import LABELS, leaning_lm, mail_teacher, mails, micro_rules, student_lm
from typer.testing import CliRunner, Result

from experiments import flipped as module
from experiments.__main__ import app

N = 90
PROGRAM = f"""
from tasks import mails, student
from pld_dspy.task.splits import Splits

def load(data, *, rationales=(), seed=0):
    return Splits(mails({N}), mails(30, start=1000), mails(60, start=2000))
"""


@pytest.fixture
def teacher() -> dspy.LM:
    return mail_teacher()


def command(folder: Path, monkeypatch: pytest.MonkeyPatch, student: dspy.LM, teacher: dspy.LM, told: int = N) -> Result:
    folder.joinpath("mail.py").write_text(PROGRAM, encoding="utf-8")
    lines = [record.model_dump_json() for record in micro_rules(mails(N))[:told]]
    folder.joinpath("rationales.jsonl").write_text("\n".join(lines), encoding="utf-8")
    models = {"the student": student, "the teacher": teacher}
    monkeypatch.setattr(module, "resolve_lm", lambda spec, **settings: models[spec])
    arguments = ["flipped", str(folder / "mail.py"), "--rationales", str(folder / "rationales.jsonl")]
    arguments += ["--out", str(folder / "out"), "--student", "the student", "--teacher", "the teacher"]
    return CliRunner().invoke(app, arguments)


def rows(result: Result) -> dict[str, list[str]]:
    assert result.exit_code == 0, result.output
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:6]]
    return {name.rpartition(": ")[2]: rest for name, *rest in cells}


def test_a_tenth_is_explained_with_wrong_labels_and_each_policy_has_its_row(tmp_path, monkeypatch, teacher):
    found = rows(command(tmp_path, monkeypatch, student_lm(), teacher))
    assert list(found) == ["true", "keep", "drop", "down-weight"]
    true = {one.text: one.label for one in mails(N)}
    told = [sections(call.user) for call in calls(teacher)]
    wrong = [(next(text for text in true if text in given["example"]), given["label"]) for given in told]
    assert len(set(wrong)) == len(calls(teacher)) == N // 10
    assert all(label in LABELS and label != true[text] for text, label in wrong)
    doubted, right, of_wrong, *_ = found["drop"]
    assert 0 < int(right) <= int(doubted)
    assert of_wrong == f"{right} of {N // 10}"
    assert found["true"][:3] == ["0", "", ""]


def test_rules_from_wrong_labels_mislead_the_student_and_dropping_them_mends_it(tmp_path, monkeypatch, teacher):
    found = rows(command(tmp_path, monkeypatch, leaning_lm(listing=False), teacher))
    scores = {name: float(row[4].split()[0]) for name, row in found.items()}
    assert scores["keep"] < scores["drop"] <= scores["true"]
    assert all(row[5] == "" for row in found.values())  # this student's server gives no log-probabilities
    assert found["true"][6] == ""
    assert found["keep"][6].startswith(f"{scores['keep'] - scores['true']:+.3f}")


def test_answers_are_kept_and_offsets_fitted_where_there_are_log_probabilities(tmp_path, monkeypatch, teacher):
    lm = leaning_lm()
    first = rows(command(tmp_path, monkeypatch, lm, teacher))
    made = len(calls(lm)) + len(calls(teacher))
    assert rows(command(tmp_path, monkeypatch, lm, teacher)) == first
    assert len(calls(lm)) + len(calls(teacher)) == made
    assert all(float(row[5].split()[0]) > 0 for row in first.values())


def test_a_training_set_that_is_not_explained_in_full_is_refused(tmp_path, monkeypatch, teacher):
    result = command(tmp_path, monkeypatch, student_lm(), teacher, told=N - 1)
    assert f"explains {N - 1} of {N} training examples" in str(result.exception)
