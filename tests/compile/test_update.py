"""A compile that goes on from a finished run with further training examples."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import dspy
import numpy as np
import pytest
from engine import calls, sections
from tasks import TEST, TRAIN, keyword, mail, mail_teacher, micro_rules, pld, rule, student, student_lm
from tasks import VAL as TWO_JACKPOTS

from pld_dspy.errors import DataError
from pld_dspy.induce.extend import joining
from pld_dspy.induce.groups import Cluster
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.rules import MicroRule, Rule, RuleSet
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_config import SearchConfig

VAL = [*TWO_JACKPOTS, mail(290, "spam", "jackpot")]  # of two right answers alone, chance may be the cause
OLD = [one for one in TRAIN if keyword(one) != "jackpot"]
NEW = [mail(300 + number, "spam", word) for number, word in enumerate(("jackpot", "jackpot", "jackpot", "lottery"))]
SEARCH = SearchConfig(screen_calls=24, trials=0)
FEW_CALLS = {"search": SearchConfig(screen_calls=0, trials=0), "testset": None}  # the list alone and with all new rules


class Run(NamedTuple):
    """A finished run, and whom it asked."""

    folder: Path
    student: dspy.LM
    teacher: dspy.LM


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("source"), student_lm(), mail_teacher())
    compiled(pld(run.folder, search=SEARCH, teacher=run.teacher), run.student, OLD)
    return run


@pytest.fixture(scope="module")
def source(first: Run) -> Path:
    return first.folder


@pytest.fixture(scope="module")
def second(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, kept = Run(tmp_path_factory.mktemp("second"), student_lm(), mail_teacher()), files(source)
    updated(source, run.folder, run.student, teacher=run.teacher)
    assert files(source) == kept
    return run


def compiled(optimizer: PLD, lm: dspy.LM, train: list[dspy.Example], **data: object) -> dspy.Module:
    return optimizer.compile(student(lm), **{"trainset": train, "valset": VAL, "testset": TEST, **data})


def updated(source: Path, folder: Path, lm: dspy.LM, new: list[dspy.Example] = NEW, **given: object) -> PLDResult:
    data = {name: given.pop(name) for name in ("rationales", "valset", "testset") if name in given}
    optimizer = pld(folder, rules_of=source, **{"search": SEARCH, **given})
    compiled(optimizer, lm, [*OLD, *new], **data)
    return optimizer.result


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def every_rule(result: PLDResult) -> dict[str, object]:
    return {rule.id: rule for rule in (*result.rules.rules, *result.bench)}


def names(rules: Sequence[Rule]) -> list[str]:
    return [rule.id for rule in rules]


def said(result: PLDResult, beginning: str) -> str:
    return next(note for note in result.notes if note.startswith(beginning))


def test_new_examples_join_a_rule_or_make_one_that_is_chosen_and_nothing_is_paid_twice(first, second):
    before, result = PLDResult.load(first.folder), PLDResult.load(second.folder)
    asked = [sections(call.user).get("example") for call in calls(second.teacher)]
    assert [text for text in asked if text] == [one.text for one in NEW]
    assert not {str(call) for call in calls(second.student)} & {str(call) for call in calls(first.student)}
    rules, old = every_rule(result), every_rule(before)
    [made] = set(rules) - set(old)
    assert "jackpot" in rules[made].text
    assert rules[made].support == ("m300", "m301", "m302")
    [lottery] = [name for name, rule in old.items() if "lottery" in rule.text]
    assert rules[lottery].support == (*old[lottery].support, "m303")
    assert rules[lottery].wordings == old[lottery].wordings
    assert names(result.rules.rules) == [*names(before.rules.rules), made], "the list of the run stays"
    assert [rule.text for rule in result.rules.rules[:-1]] == [rule.text for rule in before.rules.rules]
    assert (names(result.bench), result.insight) == (names(before.bench), None)
    assert result.validation.compiled.macro_f1 > before.validation.compiled.macro_f1
    assert not any(rule.pin for rule in every_rule(result).values())
    assert not [note for note in result.notes if "pinned" in note]
    line = said(result, "New examples for the rules of")
    assert (
        f": 4. Joined the nearest rule: 1, {lottery} (+1: m303). Gave new rules: 3, {made} (chosen: m300, m301, m302)."
        in line
    )
    assert said(result, "The run had scored the test split already.")
    assert said(result, "Macro-F1 on test against the list of the run: ")
    assert f"Student calls for this: {len(calls(second.student))};" in said(result, "Student calls")
    assert [one.example_id for one in read_jsonl(second.folder / "micro_rules.jsonl", MicroRule)] == [
        one.id for one in (*OLD, *NEW)
    ]


def test_an_update_of_an_update_in_which_all_join_changes_no_list_and_asks_no_student(second, tmp_path, caplog):
    caplog.set_level("INFO", logger="pld_dspy")
    before, lm, more = PLDResult.load(second.folder), student_lm(), mail(400, "spam", "jackpot")
    result = updated(second.folder, tmp_path, lm, [*NEW, more], teacher=None, rationales=micro_rules([more]))
    assert calls(lm) == []
    assert result.rules.render() == before.rules.render()
    assert names(result.bench) == names(before.bench)
    line = f"1 new micro-rules, clustered with the {len(OLD) + len(NEW)} of the run, gave 0 new rules, the largest from"
    assert line in caplog.text
    assert ("m300", "m301", "m302", "m400") in {rule.support for rule in result.rules.rules}
    assert "The list of rules stays as it was in the run." in result.notes
    assert result.validation == before.validation


def test_an_update_in_which_all_join_needs_nothing_of_its_teacher_but_explanations(second, tmp_path):
    more, teacher = mail(400, "spam", "jackpot"), mail_teacher()
    result = updated(second.folder, tmp_path, student_lm(), [*NEW, more], teacher=teacher)
    assert ("m300", "m301", "m302", "m400") in {rule.support for rule in result.rules.rules}
    assert len(calls(teacher)) == 1


def test_pins_and_bans_hold_and_the_edited_list_is_where_the_search_begins(source, tmp_path):
    run = shutil.copytree(source, tmp_path / "run")
    rules, bench = RuleSet.with_bench_from_yaml((run / "rules.yaml").read_text(encoding="utf-8"))
    pin, ban, *rest = rules.rules
    pinned, banned = pin.model_copy(update={"pin": True}), ban.model_copy(update={"ban": True})
    (run / "rules.yaml").write_text(RuleSet(rules=(*rest, pinned)).to_yaml([*bench, banned]), encoding="utf-8")
    result = updated(run, tmp_path / "new", student_lm(), **FEW_CALLS)
    *kept, made = result.rules.rules
    assert [(rule.id, rule.pin) for rule in kept] == [*((rule.id, False) for rule in rest), (pin.id, True)]
    assert "jackpot" in made.text
    assert result.bench[-1].id == ban.id


def test_a_list_that_helps_nobody_stays_and_is_said_to(source, tmp_path):
    run = shutil.copytree(source, tmp_path / "run")
    rules, bench = RuleSet.with_bench_from_yaml((run / "rules.yaml").read_text(encoding="utf-8"))
    useless = rule("all", "Mail", "work", "Mails", support=["m0"])  # the student answers so anyway
    left = [*rules.rules, *bench]
    (run / "rules.yaml").write_text(RuleSet(rules=(useless,)).to_yaml(left), encoding="utf-8")
    result = updated(run, tmp_path / "new", student_lm(), **FEW_CALLS)
    assert (names(result.rules.rules), names(result.bench)[:-1]) == (["all"], names(left))
    assert said(result, "The rules do not beat the unchanged student on validation: an update keeps those of the run")


@pytest.mark.parametrize(
    ("right", "wrong", "stays"),
    [(1, 0, True), (2, 0, True), (3, 1, True), (3, 0, False)],  # of one answer, no bootstrap interval includes 0
)
def test_new_rules_whose_gain_may_be_chance_leave_the_list_as_it_is(tmp_path, right, wrong, stays):
    others = [one for one in VAL if keyword(one) != "jackpot"]
    golds = [*["spam"] * right, *["work"] * wrong]  # of mails about a jackpot, of which the new rule says spam
    val = [*others, *(mail(500 + row, gold, "jackpot") for row, gold in enumerate(golds))]
    source = tmp_path / "run"
    compiled(pld(source, search=SEARCH, teacher=mail_teacher()), student_lm(), OLD, valset=val, testset=None)
    result = updated(source, tmp_path / "new", student_lm(), valset=val, teacher=mail_teacher(), **FEW_CALLS)
    held = PLDResult.load(source).rules
    assert (result.rules.digest == held.digest) is stays
    made = set(every_rule(result)) - set(every_rule(PLDResult.load(source)))
    assert (made <= {*names(result.bench)}) is stays
    held_back = [note for note in result.notes if note.startswith("The search's best list had new rules")]
    assert len(held_back) == stays
    assert all(name in held_back[0] for name in made if stays)
    ids = ", ".join(f"m{500 + row}" for row in range(right))
    said = f"{right} answers now right ({ids}), {wrong} now wrong"
    assert all(said in note for note in held_back)


def test_where_the_student_came_back_unchanged_only_new_rules_are_chosen(source, tmp_path):
    run = shutil.copytree(source, tmp_path / "run")
    rules, bench = RuleSet.with_bench_from_yaml((run / "rules.yaml").read_text(encoding="utf-8"))
    (run / "rules.yaml").write_text(RuleSet().to_yaml([*rules.rules, *bench]), encoding="utf-8")
    result = updated(run, tmp_path / "new", student_lm(), **FEW_CALLS)
    [made] = result.rules.rules
    assert "jackpot" in made.text
    assert {*names(result.bench)} == {*names(rules.rules), *names(bench)}


def test_an_example_joins_the_nearest_of_several_rules_of_its_cluster():
    members = micro_rules([mail(1, "spam", "lottery"), mail(2, "spam", "winner"), mail(3, "spam", "winner")])
    vectors = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    rules = [rule("spam-1", "lottery", "spam", support=["m1"]), rule("spam-2", "winner", "spam", support=["m2"])]
    assert joining(rules, members, vectors, [Cluster(members)], {"m3"}) == {"spam-2": [members[2]]}


def test_a_killed_update_goes_on_where_it_was(source, second, tmp_path):
    whole, lm = PLDResult.load(second.folder), student_lm()
    answer = lm.engine.fn

    def killed(system: str, user: str) -> str:
        if len(calls(lm)) == 10:
            raise KeyboardInterrupt
        return answer(system, user)

    lm.engine.fn = killed
    with pytest.raises(KeyboardInterrupt):
        updated(source, tmp_path / "new", lm)
    lm.engine.fn = answer
    result = updated(source, tmp_path / "new", lm)
    assert result.rules == whole.rules
    assert len({str(call) for call in calls(lm)}) == len(calls(lm))
    assert said(result, "Student calls") == said(whole, "Student calls")


@pytest.mark.parametrize(
    ("new", "more", "message"),
    [
        (NEW, {"teacher": None}, "No new example would get a micro-rule. Give a teacher, or rationales"),
        ([mail(300, "junk", "jackpot")], {}, "'junk' is not in the label set"),
        ([mail(300, VAL[0].label, keyword(VAL[0])).copy(text=VAL[0].text)], {}, "share the same text"),
        ([OLD[2].copy(id="m300")], {}, "the first 'm300' that of training row 2. Remove them"),
        (NEW, {"valset": VAL[:-1]}, "The validation split is not the one"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_call(source, tmp_path, new, more, message):
    lm = student_lm()
    with pytest.raises(DataError, match=message):
        updated(source, tmp_path, lm, new, **more)
    assert calls(lm) == []
