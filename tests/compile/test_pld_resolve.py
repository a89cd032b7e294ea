"""The conflict loop inside a compile: what it changes comes back in the program, the result and the run folder."""

from typing import Any

import pytest
from engine import calls
from tasks import TEST, TRAIN, VAL, keyword, mail_teacher, mails, micro_rule, micro_rules, student, student_lm

from pld_dspy.errors import DataError
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.report.page import write_report
from pld_dspy.resolve.records import PatchRecord
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import DOUBT_MARK
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter

MISREAD = {"jackpot": "invoice", "invoice": "meeting"}
WRONG = [micro_rule(one.id, one.text, one.label, MISREAD.get(keyword(one), keyword(one))) for one in TRAIN]
"""Records of which some mislead: by them an invoice is spam, and no other rule knows better."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, PLD, Any]:
    lm = student_lm("work")
    pld = PLD(
        resolve=ResolveConfig(max_rounds=1),
        search=SearchConfig(screen_calls=0, trials=0),
        run_dir=tmp_path_factory.mktemp("run") / "run",
        adapter=LabelAdapter(),
        tracking=None,
    )
    program = pld.compile(student(lm), trainset=TRAIN, valset=VAL, testset=TEST, rationales=WRONG)
    return program, pld, lm


def test_the_loop_leaves_its_patches_and_counts(compiled):
    _, pld, _ = compiled
    patches = read_jsonl(pld.run_dir / "patches.jsonl", PatchRecord)
    assert pld.result.counts["patches"] == len(patches) > 0
    assert pld.result.counts["patches_kept"] == sum(patch.kept for patch in patches)
    assert "resolve" in pld.result.seconds
    assert pld.result.costs["student"]["resolve"].calls > 0
    assert "Patches" in write_report(pld.run_dir).read_text(encoding="utf-8")


def test_a_teacher_of_no_use_is_told_of_in_the_notes(tmp_path):
    settings = {"search": SearchConfig(screen_calls=0, trials=0), "adapter": LabelAdapter(), "tracking": None}
    teacher = mail_teacher({"patches": lambda given: "[]"})
    pld = PLD(teacher=teacher, resolve=ResolveConfig(), run_dir=tmp_path, **settings)
    pld.compile(student(student_lm("work")), trainset=TRAIN, valset=VAL, rationales=WRONG)
    assert any("not asked again" in note for note in pld.result.notes)


def test_what_comes_back_is_never_worse_on_validation_than_the_search(compiled):
    _, pld, _ = compiled
    best = max(
        float(line.split(",")[5])
        for line in (pld.run_dir / "trials.csv").read_text().splitlines()[1:]
        if line.split(",")[5]
    )
    assert pld.result.validation.compiled.macro_f1 >= best - 1e-9


def test_a_finished_compile_resolves_again_without_a_call(compiled):
    program, pld, lm = compiled
    before = len(calls(lm))
    again = pld.compile(student(lm), trainset=TRAIN, valset=VAL, testset=TEST, rationales=WRONG)
    assert len(calls(lm)) == before
    assert again.signature.instructions == program.signature.instructions


def test_without_the_setting_there_is_no_loop(tmp_path):
    pld = PLD(search=SearchConfig(screen_calls=0, trials=0), run_dir=tmp_path, adapter=LabelAdapter(), tracking=None)
    pld.compile(student(student_lm("work")), trainset=TRAIN, valset=VAL, rationales=micro_rules(TRAIN))
    assert "patches" not in pld.result.counts
    assert not (tmp_path / "patches.jsonl").exists()


def test_the_result_keeps_what_the_search_chose_where_patches_changed_it(tmp_path):
    train, val = mails(150, start=2000), mails(60, start=4000)
    wrong = [micro_rule(one.id, one.text, one.label, MISREAD.get(keyword(one), keyword(one))) for one in train]

    def compiled_with(resolve: ResolveConfig | None) -> PLDResult:
        settings = {"search": SearchConfig(screen_calls=0, trials=0), "adapter": LabelAdapter(), "tracking": None}
        pld = PLD(resolve=resolve, run_dir=tmp_path / f"{resolve is None}", **settings)
        pld.compile(student(student_lm("work")), trainset=train, valset=val, rationales=wrong)
        return pld.result

    searched, resolved = compiled_with(None), compiled_with(ResolveConfig(max_rounds=1))
    assert resolved.counts["patches_kept"] > 0
    assert resolved.searched == searched.rules != resolved.rules
    assert searched.searched is None


@pytest.mark.parametrize("reserve", [0.0, 0.2])
def test_a_capped_search_leaves_the_loop_its_share(tmp_path, reserve):
    pld = PLD(
        resolve=ResolveConfig(reserve=reserve),
        search=SearchConfig(screen_calls=400),
        budget=Budget(student_calls=200),
        run_dir=tmp_path,
        adapter=LabelAdapter(),
        tracking=None,
    )
    pld.compile(student(student_lm("work")), trainset=TRAIN, valset=VAL, rationales=WRONG)
    costs = pld.result.costs["student"]
    left = int(200 * reserve)
    assert sum(costs[stage].calls for stage in ("baseline", "search")) == 200 - left
    assert ("resolve" in costs and costs["resolve"].calls > 0) == (left > 0)
    assert "of 200 student calls" in pld.result.stopped


def test_the_share_is_no_more_than_the_loop_can_use():
    config = ResolveConfig(max_rounds=1, max_patches=1, blame_calls=0)
    most = config.most_student_calls(train=9, val=9, rules=9)
    assert config.reserved_calls(10**6, train=9, val=9) == most
    assert config.reserved_calls(100, train=90, val=90) == 20
    assert config.reserved_calls(None, train=9, val=9) == 0
    with pytest.raises(DataError, match=r"reserve is 1"):
        ResolveConfig(reserve=1)


def test_a_search_within_a_cap_confirms_its_choice_though_the_loop_has_its_share(tmp_path):
    cap, val = 2000, mails(100, start=4000)
    pld = PLD(
        resolve=ResolveConfig(max_rounds=1),
        search=SearchConfig.within(cap, len(val)),
        budget=Budget(student_calls=cap),
        run_dir=tmp_path,
        adapter=LabelAdapter(),
        tracking=None,
    )
    pld.compile(student(student_lm("work")), trainset=TRAIN, valset=val, rationales=WRONG)
    assert pld.result.stopped is None
    costs = pld.result.costs["student"]
    assert sum(costs[stage].calls for stage in ("baseline", "search")) <= 0.8 * cap
    kinds = [line.split(",")[1] for line in (tmp_path / "trials.csv").read_text().splitlines()[1:]]
    assert kinds.count("confirm") == 2


def test_a_dropped_suspect_is_no_error_of_the_student(tmp_path):
    wrong = {one.id: "home" if one.label == "spam" else "spam" for one in TRAIN[:4]}
    train = [one.copy(label=wrong.get(one.id, one.label)) for one in TRAIN]
    records = [
        record.model_copy(update={"rationale": f"{DOUBT_MARK} The label is wrong."})
        if record.example_id in wrong
        else record
        for record in micro_rules(train)
    ]

    def found(policy: str) -> set[str]:
        pld = PLD(
            resolve=ResolveConfig(max_rounds=1),
            induce=InduceConfig(suspects=policy),
            search=SearchConfig(screen_calls=0, trials=0),
            run_dir=tmp_path / policy,
            adapter=LabelAdapter(),
            tracking=None,
        )
        pld.compile(student(student_lm("work")), trainset=train, valset=VAL, rationales=records)
        assert {one.example_id for one in pld.result.suspects} >= set(wrong)
        return {name for patch in read_jsonl(tmp_path / policy / "patches.jsonl", PatchRecord) for name in patch.errors}

    assert found("keep") & set(wrong)
    assert not found("drop") & set(wrong)
