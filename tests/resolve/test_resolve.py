"""The conflict loop mends a student whose answers follow from its rules, keeps what pays, and can be stopped."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import dspy
import pytest
from engine import auth_error, calls, fn_lm, rules_in, sections, timeout_error
from pydantic import TypeAdapter
from tasks import (
    INSTRUCTIONS,
    as_teacher,
    instruction,
    mail,
    mail_evaluator,
    mail_teacher,
    mails,
    rule,
    rule_set,
    student_lm,
)

from pld_dspy.errors import DataError, ModelError
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.jsonl import read_jsonl, write_jsonl
from pld_dspy.resolve.loop import resolve
from pld_dspy.resolve.records import PatchRecord, Resolution
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.teacher.signatures import Patch, PatchKind

TRAIN, VAL = mails(60), mails(60, start=100)
SPAM = "winner, lottery, jackpot"
GREEDY = rule("spam-1", f"{SPAM}, dinner", "spam", support=["m0"])  # takes home's mails about dinner
HOME = rule("home-1", "dinner, garden, laundry", "home")
WRONG = rule_set(GREEDY, HOME)
"""Everything is right under the default of "work" but mails about dinner."""

DINNERS = tuple(one.id for one in TRAIN if "dinner" in one.text)
REWRITE = {"kind": "rewrite", "rule": "spam-1", "texts": [instruction(SPAM, "spam")]}
HARMFUL = {"kind": "rewrite", "rule": "spam-1", "texts": [instruction("dinner", "home")]}


def teacher(*patches: dict[str, Any], **settings: Any) -> dspy.LM:
    """A teacher that proposes the same patches for every conflict."""
    return answering(lambda given: json.dumps(patches), **settings)


def answering(answer: Callable[[dict[str, str]], str], **settings: Any) -> dspy.LM:
    return mail_teacher({"patches": answer}, **settings)


def resolved(
    rules: RuleSet = WRONG,
    bench: Sequence[Rule] = (),
    *,
    lm: dspy.LM | None = None,
    student: dspy.LM | None = None,
    train: Sequence[dspy.Example] = TRAIN,
    val: Sequence[dspy.Example] = VAL,
    evaluator: Evaluator | None = None,
    on_patch: Any = None,
    seed: int = 0,
    **config: Any,
) -> Resolution:
    return resolve(
        rules,
        bench,
        train,
        val,
        evaluator := evaluator or mail_evaluator(student or student_lm()),
        texts=[one.text for one in (*train, *val)],
        teacher=as_teacher(lm, evaluator.ledger),
        config=ResolveConfig(**config),
        seed=seed,
        on_patch=on_patch,
    )


def tried(found: Resolution) -> list[int]:
    """The number of patches tried in each round."""
    numbers = range(1, len(found.rounds) + 1)
    return [sum(patch.round == number and patch.asked > 0 for patch in found.patches) for number in numbers]


def test_a_wrong_rule_is_rewritten():
    found = resolved(lm=teacher(REWRITE))
    [patch] = found.patches
    assert (patch.kind, patch.source, patch.changed, patch.made) == ("rewrite", "teacher", ("spam-1",), ("spam-1",))
    assert (patch.before, patch.after) == ((GREEDY.text,), (instruction(SPAM, "spam"),))
    assert patch.kept
    assert patch.wins > 2
    assert patch.losses == 0
    assert patch.gain > 0
    assert set(patch.errors) <= set(DINNERS)
    assert found.before < 0.95
    assert found.objective == patch.objective == 1.0
    assert [one.text for one in found.rules.rules] == [instruction(SPAM, "spam"), HOME.text]
    assert [(one.errors, one.conflicts) for one in found.rounds] == [(len(DINNERS), 1), (0, 0)]
    assert found.stopped is None


def test_a_changed_rule_keeps_its_provenance_and_gains_that_of_the_errors():
    changed, other = resolved(lm=teacher(REWRITE)).rules.rules
    assert changed.labels == ("spam", "home")
    assert changed.support[0] == "m0"
    assert changed.support[1:] == DINNERS[:6]
    assert changed.wordings == (instruction(SPAM, "spam"), GREEDY.text)
    assert other == HOME


def test_the_teacher_sees_errors_rules_and_what_must_stay_right():
    lm = teacher(REWRITE)
    resolved(lm=lm, errors_per_call=3, neighbours=2)
    given = sections(calls(lm)[0].user)
    assert given["task"] == INSTRUCTIONS
    assert given["labels"] == "spam, work, home"
    assert json.loads(given["rules"]) == [f"spam-1: {GREEDY.text}", f"home-1: {HOME.text}"]
    errors, correct = json.loads(given["errors"]), json.loads(given["correct"])
    assert len(errors) == 3
    assert errors[0].endswith("dinner\nright answer: home; its answer: spam; it leaned on the rule spam-1")
    assert len(correct) == 2
    assert not any("dinner" in text for text in correct)
    assert json.loads(given["tried"]) == []


def test_a_patch_that_does_harm_is_refused():
    found = resolved(lm=teacher(HARMFUL), max_rounds=1)
    [patch] = found.patches
    assert not patch.kept
    assert patch.losses >= patch.wins > 0
    assert patch.reason.startswith("it breaks too much: ")
    assert patch.asked < 6 + 40, "of 80: it is given up when it can win no more"
    assert patch.gain is None
    assert found.rules == WRONG
    assert found.objective == found.before


def test_a_patch_that_mends_nothing_costs_a_few_calls_only():
    student = student_lm()
    evaluator = mail_evaluator(student)
    evaluator.answers(WRONG, [*TRAIN, *VAL], stage="before")
    asked = len(calls(student))
    found = resolved(
        lm=teacher({"kind": "add", "texts": [instruction("zeppelin", "home")]}), evaluator=evaluator, blame_calls=0
    )
    [patch] = found.patches
    assert "mends none of its 6 errors" in patch.reason
    assert len(calls(student)) - asked == patch.asked == 6


def test_a_patch_that_knows_its_errors_by_heart_is_refused():
    """It mends all that it was made for, breaks nothing, and says nothing about other examples."""

    def by_heart(given: dict[str, str]) -> str:
        numbers = [re.match(r"Mail \d+", text)[0] for text in json.loads(given["errors"])]
        return json.dumps([{"kind": "add", "rule": "spam-1", "texts": [instruction(", ".join(numbers), "home")]}])

    found = resolved(lm=answering(by_heart), max_rounds=1)
    [patch] = found.patches
    assert (patch.wins, patch.losses, patch.kept, patch.gain) == (0, 0, False, None)
    told = re.match(
        r"it mends too little: 0 wins and 0 losses on (\d+) of 80 other examples, (\d+) of them errors", patch.reason
    )
    asked, errors = map(int, told.groups())
    assert patch.asked == 6 + asked
    assert 0 < asked <= errors + 8 < 40, "only the guard's errors can be won"


def test_one_win_is_not_enough():
    train = [one for one in TRAIN if "dinner" not in one.text] + [mail(300 + n, "home", "dinner") for n in range(6)]
    val = [one for one in VAL if "dinner" not in one.text] + [mail(400, "home", "dinner")]
    [patch] = resolved(lm=teacher(REWRITE), train=train, val=val, guard=200, max_rounds=1).patches
    assert (patch.kept, patch.asked) == (False, 6), "nobody need be asked to know"
    assert re.search("it mends too little: .* on 0 of .* examples, 1 of them errors", patch.reason)


def test_a_split_rule_goes_to_the_bench_and_its_parts_stand_in_its_place():
    parts = [instruction("winner", "spam"), instruction("lottery, jackpot", "spam")]
    found = resolved(lm=teacher({"kind": "split", "rule": "spam-1", "texts": parts}))
    assert [one.id for one in found.rules.rules] == ["spam-1a", "spam-1b", "home-1"]
    assert [one.text for one in found.rules.rules[:2]] == parts
    assert {one.support for one in found.rules.rules[:2]} == {("m0", *DINNERS[:6])}
    assert found.bench == [GREEDY]
    assert found.patches[0].made == ("spam-1a", "spam-1b")


def test_an_exception_is_added_to_a_rule():
    """The student obeys ``If the text mentions A, answer B. Exception: if it mentions C, answer D.``"""

    def answer(system: str, user: str) -> str:
        for line in system.splitlines():
            clauses = re.findall(r"if (?:the text|it) mentions (.+?), answer (\w+)", line, re.IGNORECASE)
            fitting = [label for words, label in clauses if any(word in user for word in re.split(", ", words))]
            if fitting and clauses[0][1] == fitting[0]:
                return fitting[-1]
        return "work"

    exception = {"kind": "add_exception", "rule": "spam-1", "texts": ["if it mentions dinner, answer home."]}
    found = resolved(lm=teacher(exception), student=fn_lm(answer, cache=False))
    assert found.rules.rules[0].text == f"{GREEDY.text} Exception: if it mentions dinner, answer home."
    assert found.objective == 1.0


def test_an_added_rule_stands_before_the_one_that_erred():
    found = resolved(lm=teacher({"kind": "add", "texts": [instruction("dinner", "home")]}))
    assert [one.id for one in found.rules.rules] == ["home-2", "spam-1", "home-1"]
    assert found.rules.rules[0].support == DINNERS[:6]
    assert found.objective == 1.0


def test_without_a_teacher_a_harmful_rule_is_retired():
    harmful = rule("spam-9", "meeting", "spam")
    good = rule("spam-1", SPAM, "spam")
    found = resolved(rule_set(harmful, good, HOME))
    assert [one.id for one in found.rules.rules] == ["spam-1", "home-1"]
    assert found.bench == [harmful]
    assert [(patch.kind, patch.source, patch.kept) for patch in found.patches] == [("retire", "unaided", True)]


def test_without_a_teacher_another_wording_is_drawn():
    worded = rule("spam-1", f"{SPAM}, dinner", "spam", "dinner", SPAM)
    found = resolved(rule_set(worded, HOME))
    assert [(patch.kind, patch.kept) for patch in found.patches] == [
        ("rewrite", False),
        ("retire", False),
        ("rewrite", True),
    ]
    assert found.rules.rules[0].chosen == 2
    assert found.rules.rules[0].wordings == worded.wordings


def test_without_a_teacher_the_nearest_rule_of_the_bench_comes_back():
    far = rule("home-8", "submarine", "home", support=["m0"])
    near = rule("home-9", "dinner, garden, laundry", "home", support=[DINNERS[0]])
    found = resolved(rule_set(rule("spam-1", SPAM, "spam")), [far, near])
    assert [one.id for one in found.rules.rules] == ["spam-1", "home-9"]
    assert found.bench == [far]
    assert len(found.patches) == 1
    assert found.rules.rules[1].support[0] == DINNERS[0]
    assert len(found.rules.rules[1].support) > 1


def test_rules_can_be_made_from_nothing():
    texts = {"home": HOME.text, "spam": instruction(SPAM, "spam")}

    def add(given: dict[str, str]) -> str:
        gold = re.search(r"right answer: (\w+)", given["errors"])[1]
        return json.dumps([{"kind": "add", "texts": [texts[gold]]}])

    found = resolved(RuleSet(), lm=answering(add))
    assert {one.id for one in found.rules.rules} == {"home-1", "spam-1"}
    assert found.objective == 1.0


def test_a_round_that_does_not_improve_is_the_last():
    lm = teacher(HARMFUL)
    found = resolved(lm=lm, max_rounds=5, blame_calls=0)
    assert len(found.rounds) == len(calls(lm)) == 1


def test_a_teacher_of_whom_nothing_is_kept_gives_way_to_patches_without_one():
    lm = teacher(HARMFUL)
    found = resolved(lm=lm, max_rounds=5, bench=[rule("home-7", "dinner", "home")])
    assert [(patch.round, patch.source, patch.kind, patch.kept) for patch in found.patches] == [
        (1, "teacher", "rewrite", False),
        (2, "unaided", "add", True),
    ]
    assert len(calls(lm)) == 1
    assert len(found.rounds) == 3
    assert found.objective == 1.0
    told = "Nothing that the teacher proposed in round 1 was kept (0 unusable, 1 refused), so it was not asked again."
    assert found.teacher_dropped == told


def test_a_teacher_of_no_use_is_not_asked_again_where_patches_without_one_mend_something():
    lm = teacher()
    rules = rule_set(rule("spam-9", "meeting", "spam"), *WRONG.rules)
    found = resolved(rules, lm=lm, max_rounds=5)
    asked_of = len({call.user.split("[[ ## tried ## ]]")[0] for call in calls(lm)})
    assert asked_of == found.rounds[0].conflicts
    assert len(found.rounds) > 1
    assert [patch.kept for patch in found.patches if patch.kind == "retire"].count(True) == 1
    assert "(2 unusable, 0 refused)" in found.teacher_dropped


def test_a_teacher_of_some_use_is_asked_again():
    rules, lm = two_errors()
    found = resolved(rules, lm=lm)
    assert found.teacher_dropped is None
    assert {patch.round for patch in found.patches if patch.source == "teacher"} == {1, 2}


@pytest.mark.parametrize(
    "said",
    ["", "I had dinner", "{input}", "{input} right answer: home", WRONG.rules[1].text.upper(), WRONG.rules[0].text],
)
def test_a_teacher_that_repeats_what_it_is_shown_costs_no_student_call(said):
    def repeat(given: dict[str, str]) -> str:
        text = said.format(input=json.loads(given["errors"])[0].split("\n")[0])
        return json.dumps([{"kind": "add", "texts": [text]}] if text else [])

    lm, student = answering(repeat), student_lm()
    found = resolved(lm=lm, student=student, blame_calls=0, max_rounds=5)
    assert len(calls(student)) == len(TRAIN) + len(VAL)
    assert len(calls(lm)) == 2, "asked once more, with the reason"
    [patch] = found.patches
    assert (patch.usable, patch.asked, len(found.rounds)) == (False, 0, 1)
    assert "unusable: " + patch.reason in sections(calls(lm)[-1].user)["tried"]
    assert "(1 unusable, 0 refused)" in found.teacher_dropped


@pytest.mark.parametrize(("config", "asked"), [({}, 6), ({"errors_per_call": 3}, 3), ({"blame_calls": 2}, 2)])
def test_only_errors_that_a_conflict_shows_are_traced(config, asked):
    """There are more errors about dinner; under HOME alone, nothing else is asked."""
    student = student_lm()
    found = resolved(lm=teacher(REWRITE), student=student, max_rounds=1, **config)
    assert found.rounds[0].errors == len(DINNERS) > 6
    assert sum(len(rules_in(call.system)) == 1 for call in calls(student)) == asked
    assert found.objective == 1.0


def two_errors() -> tuple[RuleSet, dspy.LM]:
    """Two rules that err, and a teacher who at first mends one of them only."""
    rules = rule_set(GREEDY, HOME, rule("home-2", "invoice", "home"))
    useless = {"kind": "rewrite", "rule": "home-2", "texts": [instruction("invoice, winner", "home")]}

    def mend(given: dict[str, str]) -> str:
        if "home-2" not in given["errors"]:
            return json.dumps([REWRITE])
        return json.dumps([{"kind": "retire", "rule": "home-2"} if "refused" in given["tried"] else useless])

    return rules, answering(mend)


@pytest.mark.parametrize(("most", "left"), [(1, ["spam-1", "home-1", "home-2"]), (2, ["spam-1", "home-1"])])
def test_the_rounds_are_limited(most, left):
    rules, lm = two_errors()
    found = resolved(rules, lm=lm, max_rounds=most)
    assert len(found.rounds) == most
    assert [one.id for one in found.rules.rules] == left


def test_the_teacher_is_told_what_was_refused():
    rules, lm = two_errors()
    found = resolved(rules, lm=lm)
    assert [(patch.round, patch.kept) for patch in found.patches] == [(1, True), (1, False), (2, True)]
    [told] = json.loads(sections(calls(lm)[-1].user)["tried"])
    assert told.startswith("rewrite home-2: If the text mentions invoice, winner, answer home. (refused: it mends none")


def test_the_best_set_on_validation_comes_back_not_the_last():
    """Dinner is home in training, and spam in the few mails of the validation set: the guard is misled by numbers."""
    train = [*mails(60), *(mail(number, "home", "dinner") for number in range(300, 330))]
    val = [one for one in VAL if "dinner" not in one.text] + [mail(500 + n, "spam", "dinner") for n in range(3)]
    found = resolved(lm=teacher(REWRITE), train=train, val=val, max_rounds=1)
    [patch] = found.patches
    assert (patch.kept, patch.gain > 0, patch.wins > 10) == (False, True, True)
    assert patch.objective < found.objective == found.before == 1.0
    assert "; validation 1.000 -> 0." in patch.reason
    assert found.rules == WRONG


def test_wins_on_a_frequent_label_do_not_pay_for_losses_on_a_rare_one():
    """Most mails about dinner are home; two that are spam are half of all spam."""
    train = [mail(n, "home", "dinner") for n in range(14)] + [mail(20 + n, "work", "meeting") for n in range(20)]
    val = [mail(100 + n, "home", "dinner") for n in range(8)] + [mail(120 + n, "work", "meeting") for n in range(80)]
    val += [mail(210 + n, "home", "garden") for n in range(80)] + [mail(300 + n, "spam", "dinner") for n in range(3)]
    rules = rule_set(rule("spam-1", "dinner", "spam"), rule("home-1", "dinner, garden", "home"))
    found = resolved(rules, lm=teacher({"kind": "retire", "rule": "spam-1"}), train=train, val=val, guard=400)
    [patch] = found.patches
    assert patch.wins > 4 * patch.losses
    assert "the objective falls" in patch.reason
    assert (patch.kept, patch.objective) == (False, None)


def test_alternatives_are_tried_in_turn_until_one_is_kept():
    useless = {"kind": "add", "texts": [instruction("zeppelin", "home")]}
    found = resolved(lm=teacher(useless, HARMFUL, REWRITE, useless))
    assert [patch.kept for patch in found.patches] == [False, False, True]
    fourth = resolved(lm=teacher(useless, HARMFUL, {**useless, "texts": ["Answer home."]}, REWRITE))
    assert not any(patch.kept for patch in fourth.patches)


def test_the_same_rules_are_tried_once():
    found = resolved(lm=teacher(HARMFUL, HARMFUL, REWRITE))
    assert [(patch.asked > 0, patch.usable, patch.kept) for patch in found.patches] == [
        (True, True, False),
        (False, True, False),
        (True, True, True),
    ]
    assert found.patches[1].reason == "these rules were tried before"
    assert tried(found) == [2, 0]


def test_the_patches_of_a_round_are_limited():
    rules, lm = two_errors()
    assert tried(resolved(rules, lm=lm, max_patches=1)) == [1, 1]


def test_patches_are_announced_as_they_are_settled():
    seen: list[PatchRecord] = []
    found = resolved(lm=teacher(HARMFUL, REWRITE), on_patch=seen.append)
    assert seen == found.patches
    assert len(seen) == 2


MALFORMED = ["no list at all", '[{"kind": "sing"}]', '[{"kind": "retire", "rule": "spam-77"}]', '[{"kind": "rewrite"}]']


@pytest.mark.parametrize("answer", MALFORMED)
def test_a_malformed_answer_is_asked_for_again_with_the_reason(answer):
    lm = answering(lambda given: json.dumps([REWRITE]) if "unusable" in given["tried"] else answer)
    found = resolved(lm=lm)
    assert [(patch.kind, patch.kept) for patch in found.patches] == [("rewrite", True)]


@pytest.mark.parametrize("answer", MALFORMED)
def test_an_answer_that_stays_malformed_is_counted_and_patches_without_a_teacher_stand_in(answer):
    evaluator = mail_evaluator(student_lm())
    found = resolved(lm=answering(lambda given: answer), evaluator=evaluator, bench=[rule("home-7", "dinner", "home")])
    first, second = found.patches
    assert (first.source, first.usable, first.kept, first.asked) == ("teacher", False, False, 0)
    assert first.reason
    assert (second.source, second.kind, second.kept, second.made) == ("unaided", "add", True, ("home-7",))
    assert [patch.usable for patch in found.patches] == [False, True]
    assert evaluator.ledger.spent["teacher", "resolve"].calls >= 2


def test_one_malformed_patch_does_not_spoil_the_others():
    found = resolved(lm=teacher({"kind": "retire", "rule": "spam-77"}, REWRITE))
    assert [(patch.usable, patch.kept) for patch in found.patches] == [(False, False), (True, True)]
    assert found.patches[0].reason == "there is no rule 'spam-77'"


def test_a_rules_id_before_its_text_is_no_part_of_the_text():
    echoed = {**REWRITE, "texts": [f"spam-1: {REWRITE['texts'][0]}"]}
    [patch] = resolved(lm=teacher(echoed)).patches
    assert patch.after == tuple(REWRITE["texts"])


UNREADABLE = [{"kind": "sing", "texts": ["la"]}, "Rewrite the first rule.", {"texts": 5}, {"kind": "add", "texts": {}}]


@pytest.mark.parametrize("patch", UNREADABLE)
def test_a_patch_that_cannot_be_read_is_counted_and_does_not_spoil_the_others(patch):
    lm = teacher(patch, REWRITE)
    found = resolved(lm=lm)
    assert [(patch.usable, patch.kept) for patch in found.patches] == [(False, False), (True, True)]
    assert len(calls(lm)) == 1


def test_the_prompt_names_no_kind_but_those_that_can_be_used():
    schema = json.dumps(TypeAdapter(Patch).json_schema())
    assert all(kind in schema for kind in get_args(PatchKind))
    assert "unreadable" not in schema


def test_what_mends_nothing_of_one_conflict_is_tried_for_another():
    """The garden is taken for spam by a rule that stays first; the laundry for work, by no rule at all."""
    words = ["garden", "garden", "laundry"]
    train, val = (
        [mail(start + n, "home", words[n % 3]) for n in range(60)] + mails(60, start=start + 500) for start in (0, 1000)
    )
    known = rule("work-1", "dinner", "home"), rule("spam-1", f"{SPAM}, garden", "spam")
    bench = [rule("home-7", "laundry", "home")]
    found = resolved(rule_set(*known), bench, train=train, val=val, blame_calls=0, max_rounds=1)
    recalls = [patch for patch in found.patches if patch.made == ("home-7",)]
    assert [patch.kept for patch in recalls] == [False, True]
    assert "mends none" in recalls[0].reason


def test_a_patch_for_a_rule_that_is_gone_is_refused():
    rules, _ = two_errors()
    parts = [instruction("winner", "spam"), instruction("lottery, jackpot", "spam")]
    found = resolved(rules, lm=teacher({"kind": "split", "rule": "spam-1", "texts": parts}))
    assert [(patch.usable, patch.kept) for patch in found.patches[:2]] == [(True, True), (False, False)]
    assert "no rule 'spam-1'" in found.patches[1].reason


def test_nothing_is_asked_twice(tmp_path):
    rules, _ = two_errors()
    path = tmp_path / "predictions.jsonl"
    first = resolved(rules, lm=two_errors()[1], evaluator=mail_evaluator(student_lm(), path))
    student, lm = student_lm(), two_errors()[1]
    assert resolved(rules, lm=lm, evaluator=mail_evaluator(student, path)) == first
    assert (calls(student), calls(lm)) == ([], [])
    assert len(path.read_text().splitlines()) == len({json.loads(line)["key"] for line in path.open()})


def test_a_loop_stopped_by_caps_and_taken_up_again_is_the_same_loop(tmp_path):
    rules, lm = two_errors()
    student = student_lm()
    whole = resolved(rules, lm=lm, student=student)
    total = len(calls(student))
    objectives = []
    student, lm = student_lm(), two_errors()[1]
    for cap in (10, 130, 170, 260, 300, total - 1):
        evaluator = mail_evaluator(student, tmp_path / "p.jsonl", budget=Budget(student_calls=cap))
        found = resolved(rules, lm=lm, evaluator=evaluator)
        assert f"cap of {cap} student calls" in found.stopped
        assert len(calls(student)) == cap
        objectives.append(found.objective or 0.0)
    assert objectives == sorted(objectives)
    evaluator = mail_evaluator(student, tmp_path / "p.jsonl")
    assert resolved(rules, lm=lm, evaluator=evaluator) == whole
    assert total <= len(calls(student)) <= total + 5  # tighter caps look for errors among fewer, so guards differ a bit


def test_a_cap_that_allows_nothing_gives_the_rules_back():
    found = resolved(evaluator=mail_evaluator(student_lm(), budget=Budget(student_calls=3)))
    assert (found.rules, found.before, found.objective, found.rounds) == (WRONG, None, None, [])


def test_what_a_cap_cuts_short_is_in_the_record():
    found = resolved(lm=teacher(REWRITE), evaluator=mail_evaluator(student_lm(), budget=Budget(student_calls=140)))
    [cut] = found.rounds
    assert 0 < cut.errors < len(DINNERS)  # found among fewer examples
    assert tried(found) == [0]
    assert found.objective == found.before


def test_half_of_what_a_cap_leaves_is_for_patches():
    config = ResolveConfig(sample=200, blame_calls=120)
    assert config.within(1200) == config
    tight = config.within(300)
    assert (tight.sample, tight.blame_calls) == (100, 50)
    assert config.model_copy(update={"blame_calls": None}).within(300).blame_calls == 50
    assert (config.within(0).sample, config.within(0).blame_calls) == (1, 1)


def test_a_loop_under_a_tight_cap_does_not_spend_it_on_diagnosis_alone():
    rules = rule_set(*(rule(f"spam-{n}", f"dinner, garden {n}", "spam") for n in range(12)), HOME)
    student = student_lm()
    evaluator = mail_evaluator(student, budget=Budget(student_calls=len(VAL) + 90))
    evaluator.labels(rules, VAL, stage="search")
    found = resolved(rules, lm=teacher({"kind": "retire", "rule": "spam-0"}), evaluator=evaluator)
    assert found.patches
    assert evaluator.ledger.spent["student", "resolve"].calls <= 90


def test_a_cap_on_teacher_calls_leaves_the_rest_to_patches_without_one():
    evaluator = mail_evaluator(student_lm(), budget=Budget(teacher_calls=0))
    found = resolved(
        rule_set(rule("spam-9", "meeting", "spam"), *WRONG.rules[1:]), lm=teacher(REWRITE), evaluator=evaluator
    )
    assert {patch.source for patch in found.patches} == {"unaided"}
    assert "cap of 0 teacher calls" in evaluator.ledger.stopped["resolve"]
    assert found.stopped is None


def test_a_teacher_that_refuses_the_key_stops_at_once():
    with pytest.raises(ModelError, match="refuses"):
        resolved(lm=teacher(REWRITE, failures=[auth_error()]))


def test_a_teacher_call_that_is_lost_is_left_to_patches_without_one():
    lm = teacher(REWRITE, failures=[timeout_error()])
    found = resolved(lm=lm, bench=[rule("home-7", "dinner", "home")])
    assert [patch.source for patch in found.patches] == ["unaided"]
    assert len(calls(lm)) == 1


def test_an_error_without_an_answer_is_left_alone():
    """No rule can mend a call that failed."""
    broken = fn_lm(lambda system, user: "home" if "about" in user and "meeting" not in user else "???", cache=False)
    found = resolved(RuleSet(), student=broken)
    wrong = [one for one in TRAIN if one.label != "home" and "meeting" not in one.text]
    assert found.rounds[0].errors == len(wrong) < sum(one.label != "home" for one in TRAIN)


@pytest.mark.parametrize("bound", [None, 5, 0])
def test_the_calls_stay_within_the_bounds(bound):
    rules, lm = two_errors()
    student = student_lm()
    config = {"blame_calls": bound, "max_patches": 3, "sample": 30, "guard": 10}
    resolved(rules, lm=lm, student=student, **config)
    bounds = ResolveConfig(**config)
    assert len(calls(student)) <= bounds.most_student_calls(train=len(TRAIN), val=len(VAL), rules=3)
    assert len(calls(lm)) <= bounds.most_teacher_calls()


def test_the_seed_decides_what_is_drawn():
    prompts = []
    for seed in (0, 0, 1):
        lm = teacher(REWRITE)
        resolved(lm=lm, sample=24, seed=seed)
        prompts.append([call.user for call in calls(lm)])
    assert prompts[0] == prompts[1] != prompts[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_rounds": 0}, "ResolveConfig.max_rounds is 0; Input should be greater than or equal to 1"),
        ({"guard": 0}, "ResolveConfig.guard is 0"),
        ({"neighbours": -1}, "ResolveConfig.neighbours is -1"),
        ({"blame_calls": -1}, "ResolveConfig.blame_calls is -1"),
        ({"alpha": 0.5}, r"ResolveConfig.alpha is 0.5"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(DataError, match=said):
        ResolveConfig(**settings)


def test_patches_are_kept_in_a_file(tmp_path: Path):
    patches = resolved(lm=teacher(HARMFUL, REWRITE)).patches
    path = tmp_path / "patches.jsonl"
    write_jsonl(path, patches)
    assert read_jsonl(path, PatchRecord) == patches
    assert len(path.read_text().splitlines()) == 2
