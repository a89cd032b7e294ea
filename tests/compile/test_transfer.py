"""A compile that chooses among the rules of a finished run for another student."""

import shutil
from pathlib import Path

import pytest
from engine import calls, rule_following_lm
from tasks import TEST, TRAIN, VAL, compiled, mail_teacher, mails, pld, student, student_lm

from pld_dspy.compile.build_result import INDUCED
from pld_dspy.errors import DataError, RunError
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.pld import PLD
from pld_dspy.rules import PEOPLE, Rule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    compiled(pld(folder, induce=InduceConfig(wordings=2)), student(student_lm()))
    return folder


def transfer(source: Path, folder: Path, **settings: object) -> PLD:
    return pld(folder, rules_of=source, **settings)


def listed(result: PLDResult) -> dict[str, Rule]:
    return {rule.id: rule.with_wording(0) for rule in (*result.rules.rules, *result.bench)}


def test_the_same_rules_are_chosen_from_for_another_student_without_a_teacher(source, tmp_path):
    before, teacher = PLDResult.load(source), mail_teacher()
    other = rule_following_lm("spam", model="custom/other", cache=False)
    optimizer = transfer(source, tmp_path, teacher=teacher)
    program = compiled(optimizer, student(other))
    result = optimizer.result
    assert calls(teacher) == []
    assert calls(other)
    assert listed(result) == listed(before)
    assert max(len(rule.wordings) for rule in [*result.bench, *result.rules.rules]) > 1
    assert result.rules.render() in program.signature.instructions
    assert result.suspects == before.suspects
    assert [result.counts[name] for name in ("micro_rules", "noise", *INDUCED)] == [
        before.counts[name] for name in ("micro_rules", "noise", *INDUCED)
    ]
    assert (tmp_path / "micro_rules.jsonl").read_bytes() == (source / "micro_rules.jsonl").read_bytes()
    fingerprint = RunFolder(source).fingerprint
    assert RunFolder(tmp_path).settings()["data"]["rules_of"] == fingerprint
    assert any(f"(fingerprint {fingerprint}): no example was explained" in note for note in result.notes)

    data = {"trainset": TRAIN, "valset": VAL, "testset": TEST}
    assert transfer(source, tmp_path).join(student(other), **data) == 0
    assert transfer(source, tmp_path).estimate(student(other), **data).teacher_calls == 0


def test_pins_bans_and_edits_of_the_runs_rules_hold(source, tmp_path):
    run = shutil.copytree(source, tmp_path / "source")
    rules, bench = RuleSet.with_bench_from_yaml((run / "rules.yaml").read_text(encoding="utf-8"))
    pin, ban, edit, gone, *rest = (*rules.rules, *bench)
    edited = edit.model_copy(update={"wordings": ("If the text mentions mail, answer home.", *edit.wordings[1:])})
    more = Rule(id="mine", wordings=("Mail is work.", "All mail is work."), origins=(PEOPLE, PEOPLE))
    changed = RuleSet(rules=(pin.model_copy(update={"pin": True}), edited, more))
    (run / "rules.yaml").write_text(changed.to_yaml([ban.model_copy(update={"ban": True}), *rest]), encoding="utf-8")

    optimizer = transfer(run, tmp_path / "run")
    compiled(optimizer, student(student_lm()))
    found = listed(optimizer.result)
    assert optimizer.result.rules.rules[0].id == pin.id
    assert found[pin.id].pin
    assert optimizer.result.bench[-1].id == ban.id
    assert optimizer.result.bench[-1].ban
    assert gone.id not in found
    assert found[edit.id].wordings == ("If the text mentions mail, answer home.",)
    assert found["mine"].wordings == more.wordings
    assert {rule.id for rule in rest} <= set(found)
    with pytest.raises(RunError, match="data differ"):
        compiled(transfer(source, tmp_path / "run"), student(student_lm()))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"trainset": mails(33)}, "The train split is not the one"),
        ({"valset": None}, "the same seed too"),
        ({"testset": mails(24, start=300)}, "The test split is not the one"),
        ({"rules": RuleSet()}, "rules are given, and rules_of takes those of"),
    ],
)
def test_other_data_or_rules_are_refused_before_a_call(source, tmp_path, data, said):
    lm = student_lm()
    with pytest.raises(DataError, match=said):
        compiled(transfer(source, tmp_path), student(lm), **data)
    assert calls(lm) == []


def test_a_run_that_cannot_be_a_source_is_refused(source, tmp_path):
    with pytest.raises(DataError, match="in that folder itself"):
        transfer(source, source)
    with pytest.raises(RunError, match="not finished"):
        compiled(transfer(tmp_path / "nowhere", tmp_path / "run"), student(student_lm()))
