"""Resolving inside a compile: what it changes comes back in the program, the result and the run folder."""

import json
import re
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import calls
from tasks import (
    TEST,
    TRAIN,
    VAL,
    instruction,
    keyword,
    leaning_lm,
    mail_teacher,
    micro_rule,
    micro_rules,
    rule,
    student,
    student_lm,
)

from pld_dspy.compile import searching
from pld_dspy.errors import DataError
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.release.report import write_report
from pld_dspy.resolve.records import PatchRecord
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import DOUBT_MARK, RuleSet
from pld_dspy.run.progress import read_trials
from pld_dspy.search.plan import Plan
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter

MISREAD = {"jackpot": "invoice", "dinner": "submarine"}
WRONG = [micro_rule(one.id, one.text, one.label, MISREAD.get(keyword(one), keyword(one))) for one in TRAIN]
"""Records of which some mislead: by them an invoice is spam, and no rule knows of dinner."""
MEND = [
    {"kind": "add", "texts": [instruction("dinner", "home")]},
    {"kind": "add", "texts": [instruction("jackpot", "spam") + " <b>Surely.</b>"]},
    {"kind": "add", "ids": [], "texts": [instruction("mail", "work")]},
    {"kind": "retire", "ids": ["nobody"]},
]
DATA = {"trainset": TRAIN, "valset": VAL, "rationales": WRONG}


def mender(changes: Any = MEND) -> dspy.LM:
    return mail_teacher({"changes": lambda given: json.dumps(changes)})


def pld(folder: Path, **settings: Any) -> PLD:
    given: dict[str, Any] = {"search": SearchConfig(screen_calls=0, trials=0), "resolve": ResolveConfig(max_rounds=1)}
    given |= {"adapter": LabelAdapter(), "tracking": None, "teacher": mender(), "run_dir": folder}
    return PLD(**{**given, **settings})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, PLD, Any]:
    lm, optimizer = student_lm("work"), pld(tmp_path_factory.mktemp("run") / "run")
    return optimizer.compile(student(lm), testset=TEST, **DATA), optimizer, lm


def test_what_people_banned_does_not_come_back(tmp_path):
    optimizer = pld(tmp_path / "run", teacher=mender(MEND[:1]))
    banned = RuleSet(rules=(rule("dinner", "dinner", "home").model_copy(update={"ban": True}),))
    optimizer.compile(student(student_lm("work")), rules=banned, **DATA)
    [patch] = read_jsonl(optimizer.run_dir / "patches.jsonl", PatchRecord)
    assert patch.reason == "unusable: people banned a rule that says this"


def test_what_the_teacher_adds_is_in_the_program_the_result_and_the_folder(compiled):
    program, optimizer, _ = compiled
    found = optimizer.result
    patches = read_jsonl(optimizer.run_dir / "patches.jsonl", PatchRecord)
    assert [(one.kind, one.usable) for one in patches] == [("add", True)] * 3 + [("retire", False)]
    assert [one.kept for one in patches][:1] == [True]
    assert instruction("dinner", "home") in program.signature.instructions
    assert instruction("dinner", "home") in [rule.text for rule in RuleSet.from_yaml(_rules(optimizer)).rules]
    assert (found.counts["patches"], found.counts["patches_unusable"]) == (4, 1)
    assert found.counts["patches_kept"] == sum(patch.kept for patch in patches) > 0
    assert found.searched is not None
    assert found.searched.digest != found.rules.digest
    assert "resolve" in found.seconds
    assert found.costs["student"]["resolve"].calls > 0
    assert any(note.startswith("Resolving: of 4 changes by the teacher, 3 were usable") for note in found.notes)
    trials = read_trials(optimizer.run_dir / "trials.csv")
    assert found.counts["trials"] == len(trials)
    whole = ["all rules", "extracted reworded", "reworded", "extracted rules"]
    assert [one.kind for one in trials][:6] == ["baseline", *whole, "revised"]
    assert max(one.objective or 0 for one in trials) == found.validation.compiled.macro_f1
    page = write_report(optimizer.run_dir).read_text(encoding="utf-8")
    assert "Patches" in page
    assert "<b>Surely" not in page


def test_a_gain_that_may_be_chance_does_not_change_the_list(tmp_path):
    """A single validation answer more is right."""
    lucky = next(one.text for one in VAL if keyword(one) == "dinner").removesuffix(" the dinner")
    optimizer = pld(tmp_path / "run", teacher=mender([{"kind": "add", "texts": [instruction(lucky, "home")]}]))
    optimizer.compile(student(student_lm("work")), testset=TEST, **DATA)
    found = optimizer.result
    assert found.searched is None, "resolving changed nothing"
    assert max(one.objective or 0 for one in read_trials(optimizer.run_dir / "trials.csv")) > (
        found.validation.compiled.macro_f1
    )
    [patch] = read_jsonl(optimizer.run_dir / "patches.jsonl", PatchRecord)
    assert (patch.usable, patch.kept) == (True, False)
    assert instruction(lucky, "home") in [rule.text for rule in found.bench]
    assert len({rule.id for rule in (*found.rules.rules, *found.bench)}) == len(found.rules.rules) + len(found.bench)
    [said] = [note for note in found.notes if note.startswith("The best revised list gains +")]
    assert said.endswith("not more than its standard error: the list before stays.")


@pytest.mark.parametrize(("word", "stays"), [("dinner", True), (None, False)])
def test_a_teachers_rules_must_gain_more_than_chance_over_the_extracted_ones(tmp_path, word, stays):
    """With its draft, many answers more are right, or a single one."""
    lucky = next(one.text for one in VAL if keyword(one) == "dinner").removesuffix(" the dinner")

    def drafted(given: dict[str, str]) -> str:
        notes = (re.split(r"; | \(Why", kind.partition(": ")[2])[0] for kind in json.loads(given["kinds"]))
        texts = [*enumerate(notes, start=1), (1, instruction(word or lucky, "home"))]
        return json.dumps([{"kinds": [number], "imperative": f"{text} Then go on."} for number, text in texts])

    search = SearchConfig(screen_calls=96, trials=0)
    optimizer = pld(tmp_path / "run", teacher=mail_teacher({"rules": drafted}), resolve=None, search=search)
    optimizer.compile(student(student_lm("work")), testset=TEST, **DATA)
    found = optimizer.result
    assert found.at_budget(tokens=10_000) == found.rules, "what the search says is said of the list that stays"
    kinds = {one.kind: one.objective for one in read_trials(optimizer.run_dir / "trials.csv")}
    assert kinds["all rules"] > max(kinds["extracted rules"], kinds.get("extracted reworded", 0.0))
    assert any(one.is_teachers for one in found.rules.rules) is stays
    said = [note for note in found.notes if note.startswith("The best list with rules of a teacher gains +")]
    assert bool(said) is not stays
    ids = [one.id for one in (*found.rules.rules, *found.bench)]
    assert len({*ids}) == len(ids)


def _rules(optimizer: PLD) -> str:
    return (optimizer.run_dir / "rules.yaml").read_text(encoding="utf-8")


def test_a_finished_compile_resolves_again_without_a_call(compiled):
    program, optimizer, lm = compiled
    before = len(calls(lm)), len(calls(optimizer.teacher))
    again = optimizer.compile(student(lm), testset=TEST, **DATA)
    assert (len(calls(lm)), len(calls(optimizer.teacher))) == before
    assert again.signature.instructions == program.signature.instructions


def test_a_compile_killed_within_a_round_goes_on_there(compiled, tmp_path, monkeypatch):
    program, whole, _ = compiled
    lm, steps = student_lm("work"), []
    real = Plan.next

    def killed(self: Plan) -> Any:
        steps.append(self.carried)
        if steps.count(5) == 3:
            raise KeyboardInterrupt
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Plan, "next", killed)
        with pytest.raises(KeyboardInterrupt):
            pld(tmp_path).compile(student(lm), testset=TEST, **DATA)
    again = pld(tmp_path).compile(student(lm), testset=TEST, **DATA)
    assert again.signature.instructions == program.signature.instructions
    asked = sum(cost.calls for cost in whole.result.costs["student"].values())
    assert len(calls(lm)) == asked


def test_workers_join_a_round(compiled, tmp_path, monkeypatch):
    """The compile steps aside once its round is queued: a worker makes all steps."""
    lm, made = student_lm("work"), []
    real = searching.publish_space

    def published(study: Any, space: Any) -> None:
        real(study, space)
        if study.user_attrs.get("continued"):
            made.append(pld(tmp_path).join(student(student_lm("work")), testset=TEST, **DATA))

    monkeypatch.setattr(searching, "publish_space", published)
    optimizer = pld(tmp_path)
    program = optimizer.compile(student(lm), testset=TEST, **DATA)
    assert made == [optimizer.result.counts["trials"] - 5]
    assert program.signature.instructions == compiled[0].signature.instructions


def test_only_harm_is_left_out_and_the_result_is_that_of_the_search(tmp_path):
    def harm(given: dict[str, str]) -> str:
        first = json.loads(given["rules"])[0].split(":")[0]
        return json.dumps([{"kind": "add", "ids": [first], "texts": [instruction("about", "spam")]}])

    alone, loop = (
        pld(tmp_path / f"{one is None}", resolve=one, teacher=mail_teacher({"changes": harm}))
        for one in (None, ResolveConfig())
    )
    for optimizer in (alone, loop):
        optimizer.compile(student(student_lm("work")), **DATA)
    assert loop.result.rules.render() == alone.result.rules.render()
    assert loop.result.searched is None
    assert (loop.result.counts["patches_kept"], len({*loop.result.counts} - {*alone.result.counts})) == (0, 3)
    assert not (alone.run_dir / "patches.jsonl").exists()


def test_without_a_teacher_the_stage_is_left_out_with_a_note(tmp_path):
    optimizer = pld(tmp_path, teacher=None)
    optimizer.compile(student(student_lm("work")), **DATA)
    assert "Nothing was resolved: that takes a teacher." in optimizer.result.notes
    assert "patches" not in optimizer.result.counts
    assert not optimizer.estimate(student(student_lm("work")), **DATA).teacher_calls


def test_a_teacher_of_no_use_is_told_of_in_the_notes(tmp_path):
    optimizer = pld(tmp_path, teacher=mender([]))
    optimizer.compile(student(student_lm("work")), **DATA)
    assert any("of 1 changes by the teacher, 0 were usable" in note for note in optimizer.result.notes)


@pytest.mark.parametrize("reserve", [0.0, 0.2])
def test_a_capped_search_leaves_the_rounds_their_share(tmp_path, reserve):
    search, budget = SearchConfig(screen_calls=400), Budget(student_calls=200)
    optimizer = pld(tmp_path, resolve=ResolveConfig(reserve=reserve), search=search, budget=budget)
    optimizer.compile(student(student_lm("work")), **DATA)
    costs = optimizer.result.costs["student"]
    left = int(200 * reserve)
    assert sum(costs[stage].calls for stage in ("baseline", "search")) == 200 - left
    assert ("resolve" in costs and costs["resolve"].calls > 0) == (left > 0)
    assert "of 200 student calls" in optimizer.result.stopped


def test_under_a_cap_calibration_can_ask_all_training_examples(tmp_path):
    search, budget = SearchConfig(screen_calls=400), Budget(student_calls=260)
    optimizer = pld(tmp_path, search=search, budget=budget, calibrate=True, resolve=ResolveConfig(max_rounds=2))
    optimizer.compile(student(leaning_lm()), **DATA)
    assert optimizer.result.calibration.capped is None
    assert optimizer.result.calibration.n == len(TRAIN) + len(VAL)
    costs = optimizer.result.costs["student"]
    assert costs["resolve"].calls > 0
    assert sum(cost.calls for cost in costs.values()) <= 260
    sizes = {"train": 40, "val": 20, "calibrate": True}
    assert searching.reserved(ResolveConfig(), 240, **sizes) == {"search": 48 + 80, "resolve": 80}
    assert searching.reserved(ResolveConfig(), 239, **sizes) == {"search": 47, "resolve": 0}


def test_the_share_is_no_more_than_the_rounds_can_use():
    config = ResolveConfig(max_rounds=1)
    assert config.reserved_calls(10**6, train=9, val=9) == config.most_student_calls(train=9, val=9) == 9 + 8 * 9
    assert config.reserved_calls(100, train=90, val=90) == 20
    assert config.reserved_calls(None, train=9, val=9) == 0
    with pytest.raises(DataError, match=r"reserve is 1"):
        ResolveConfig(reserve=1)


def test_a_round_costs_no_more_than_was_estimated(tmp_path):
    optimizer = pld(tmp_path, search=SearchConfig(screen_calls=24, trials=1, block=12))
    estimate = optimizer.estimate(student(student_lm("work")), **DATA)
    optimizer.compile(student(student_lm("work")), **DATA)
    for stage in estimate.stages:
        cost = optimizer.result.costs[stage.role].get(stage.stage)
        assert cost is None or cost.calls <= stage.calls, stage


def test_a_label_that_its_rationale_doubts_is_no_error_of_the_student(tmp_path):
    wrong = {one.id: "home" if one.label == "spam" else "spam" for one in TRAIN[:4]}
    train = [one.copy(label=wrong.get(one.id, one.label)) for one in TRAIN]
    records = [
        record.model_copy(update={"rationale": f"{DOUBT_MARK} The label is wrong."})
        if record.example_id in wrong
        else record
        for record in micro_rules(train)
    ]

    def found(policy: str) -> set[str]:
        optimizer = pld(tmp_path / policy, induce=InduceConfig(suspects=policy), resolve=ResolveConfig(errors=24))
        optimizer.compile(student(student_lm("work")), trainset=train, valset=VAL, rationales=records)
        suspects = {one.example_id for one in optimizer.result.suspects}
        assert suspects >= {record.example_id for record in records if record.doubtful}
        assert suspects & set(wrong)
        return {name for patch in read_jsonl(tmp_path / policy / "patches.jsonl", PatchRecord) for name in patch.errors}

    assert not found("keep") & set(wrong)
    assert not found("drop") & set(wrong)
    records = micro_rules(train)
    assert found("down-weight") & set(wrong), "the audit suspects them, but nobody who explained them"
