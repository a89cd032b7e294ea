"""Errors go back to the teacher, what it proposes joins the pool, and the search decides."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import calls, rules_in, sections
from tasks import (
    INSTRUCTIONS,
    as_teacher,
    instruction,
    leaning_lm,
    mail_evaluator,
    mail_teacher,
    mails,
    rule,
    student_lm,
)

from pld_dspy.ledger.budget import Budget
from pld_dspy.resolve.loop import Resolver
from pld_dspy.resolve.records import Choice, Resolution
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import PATCH, Rule, RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import SearchResult
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.student.adapter import LabelAdapter, asking_for_logprobs

TRAIN, VAL = mails(60), mails(24, start=100)
SPAM = rule("spam-1", "lottery, winner, jackpot", "spam", support=["m0"])
HOME = rule("home-1", "garden, laundry", "home", support=["m2"])
POOL = [SPAM, HOME]
DINNER = {"kind": "add", "texts": [instruction("dinner", "home")]}
HARMFUL = {"kind": "add", "ids": ["spam-1"], "texts": [instruction("mail", "home")]}
PLAIN = SearchConfig(screen_calls=0, trials=0)


def teacher(*rounds: Sequence[dict[str, Any]], **settings: Any) -> dspy.LM:
    """A teacher that proposes these changes, round by round."""
    script = iter(rounds)
    return answering(lambda given: json.dumps(list(next(script))), **settings)


def answering(answer: Callable[[dict[str, str]], str], **settings: Any) -> dspy.LM:
    return mail_teacher({"changes": answer}, **settings)


def resolved(
    lm: dspy.LM,
    *,
    pool: Sequence[Rule] = POOL,
    student: dspy.LM | None = None,
    search: SearchConfig = PLAIN,
    calibrated: bool = False,
    folder: Path | None = None,
    budget: Budget | None = None,
    banned: Sequence[Rule] = (),
    **config: Any,
) -> tuple[Resolution, SearchResult, SearchResult]:
    """Search, and resolve what is left; return both searches' results with what resolving did."""
    evaluator = mail_evaluator(student or student_lm(), folder and folder / "predictions.jsonl", budget=budget)
    evaluator = replace(evaluator, adapter=asking_for_logprobs(LabelAdapter()))
    settings = ResolveConfig(**{"sets": 4, **config})

    def run(rules: Sequence[Rule], own: SearchConfig, **more: Any) -> SearchResult:
        return RuleSearch(rules, evaluator, VAL, study=open_study(), config=own, calibrated=calibrated, **more).run()

    def go_on(rules: Sequence[Rule], revised: RuleSet) -> Choice:
        own = search.model_copy(update=search.continued(settings.sets * len(VAL), len(VAL)))
        found.append(run(rules, own, before=found[-1], revised=revised, stage="resolve"))
        return chosen(found[-1])

    def chosen(result: SearchResult) -> Choice:
        return Choice(result.best, result.objective, result.stopped)

    found = [run(pool, search)]
    resolver = Resolver(
        evaluator=evaluator,
        teacher=as_teacher(lm, evaluator.ledger),
        config=settings,
        unshown=lambda rules: TRAIN,
        text=lambda example: example.text,
        go_on=go_on,
        banned=banned,
        calibrated=calibrated,
    )
    resolution = resolver.run(chosen(found[0]), pool)
    return resolution, found[0], found[-1]


def test_an_error_that_needs_a_new_rule_is_mended():
    resolution, before, after = resolved(teacher([DINNER]), max_rounds=1)
    assert before.objective < 0.95
    assert after.objective == 1.0
    new = next(one for one in after.best.rules if one.id == "home-2")
    assert (new.labels, new.origins) == (("home",), (PATCH,))
    assert set(new.support) <= {one.id for one in TRAIN if "dinner" in one.text}
    [patch] = resolution.patches
    assert (patch.kind, patch.made, patch.usable, patch.kept) == ("add", ("home-2",), True, True)
    assert patch.reason == "chosen by the search"
    assert resolution.rounds == [(before.objective, 1.0)]


@pytest.mark.parametrize("search", [PLAIN, SearchConfig(screen_calls=24, trials=0, block=12)])
def test_a_harmful_change_is_not_chosen_and_a_good_one_beside_it_is(search):
    resolution, before, after = resolved(teacher([HARMFUL]), search=search, max_rounds=1)
    assert [patch.kept for patch in resolution.patches] == [False]
    assert (after.best.render(), after.objective) == (before.best.render(), before.objective)
    resolution, before, after = resolved(teacher([HARMFUL, DINNER]), search=search, max_rounds=1)
    assert {patch.after[0]: patch.kept for patch in resolution.patches} == {
        HARMFUL["texts"][0]: False,
        DINNER["texts"][0]: True,
    }
    assert after.objective == 1.0


def test_the_teacher_sees_everything_at_once_and_later_what_came_of_it():
    lm = teacher([HARMFUL, {"kind": "retire", "ids": ["nobody"]}], [DINNER])
    spare = rule("work-1", "submarine", "spam")
    rules = [SPAM, HOME, rule("spam-9", "garden", "spam"), spare]
    resolved(lm, pool=rules, search=SearchConfig(screen_calls=24, trials=0, block=12))
    first, second = (sections(call.user) for call in calls(lm))
    assert first["task"] == INSTRUCTIONS
    listed = json.loads(first["rules"]) + json.loads(first["bench"])
    assert sorted(listed) == sorted(f"{one.id}: {one.text}" for one in rules)
    errors = json.loads(first["errors"])
    assert len(errors) == 4
    assert all(error.endswith("dinner\nright answer: home; its answer: work") for error in errors)
    assert json.loads(first["earlier"]) == []
    told = json.loads(second["earlier"])
    assert told[0].startswith("round 1: objective 0.")
    assert told[1] == f"add home-2: {HARMFUL['texts'][0]} (not chosen by the search)"
    assert told[2] == "retire nobody:  (unusable: there is no rule 'nobody')"


def test_the_teacher_is_told_what_is_pinned_and_brings_nothing_banned_back():
    lm, pin = teacher([DINNER, {"kind": "retire", "ids": ["spam-1"]}]), SPAM.model_copy(update={"pin": True})
    banned = rule("home-2", "dinner", "home")
    resolution, before, after = resolved(lm, pool=[pin, HOME], banned=[banned], max_rounds=1)
    told = json.loads(sections(calls(lm)[0].user)["rules"])
    assert told[0] == f"spam-1 (pinned: it stays): {SPAM.text}"
    assert [patch.usable for patch in resolution.patches] == [False, False]
    assert after is before


def test_nothing_usable_ends_the_rounds_after_one_more_try():
    lm = answering(lambda given: "[]")
    student = student_lm()
    resolution, before, after = resolved(lm, student=student, max_rounds=5)
    assert len(calls(lm)) == 2
    assert after is before
    assert [(patch.kind, patch.usable, patch.reason) for patch in resolution.patches] == [
        ("malformed", False, "it proposes no change")
    ]
    resolution, _, _ = resolved(answering(lambda given: "I would reword it."), max_rounds=5)
    assert [(patch.kind, patch.usable) for patch in resolution.patches] == [("malformed", False)]
    resolution, _, _ = resolved(teacher([{"kind": "praise", "texts": ["x"]}]), max_rounds=5)
    assert "its kind is none of reword, split" in resolution.patches[0].reason


def test_without_errors_nobody_is_asked():
    lm = teacher()
    resolution, _, _ = resolved(lm, pool=[SPAM, HOME, rule("home-2", "dinner", "home")])
    assert (resolution.patches, resolution.rounds, calls(lm)) == ([], [], [])


def test_narrow_escapes_are_shown_where_log_probabilities_are_known():
    lm = teacher([DINNER])
    resolved(lm, student=leaning_lm(skill=4.0), max_rounds=1, errors=24)
    errors = json.loads(sections(calls(lm)[0].user)["errors"])
    assert any("its answer is right, but nearly work" in error for error in errors)
    assert any("right answer: spam; its answer: work" in error for error in errors)


def test_errors_of_a_calibrated_student_are_those_that_offsets_leave():
    """It likes to say work: with offsets, few errors say so."""
    shown = []
    for calibrated in (False, True):
        lm = teacher([DINNER])
        student = leaning_lm(skill=3.0, liking={"spam": 0.0, "work": 5.0, "home": 0.0})
        resolved(lm, student=student, calibrated=calibrated, max_rounds=1, errors=24)
        errors = json.loads(sections(calls(lm)[0].user)["errors"])
        shown.append(sum("; its answer: work" in error for error in errors))
    assert shown[0] > 15
    assert shown[1] < shown[0] / 3


def test_a_cap_ends_the_rounds_with_the_best_so_far():
    lm = teacher([HARMFUL], [DINNER])
    resolution, before, after = resolved(lm, budget=Budget(student_calls=2 * len(VAL) + len(TRAIN) + 10))
    assert "student calls is reached" in resolution.stopped
    assert after.objective == before.objective
    assert len(calls(lm)) == 1
    resolution, before, after = resolved(teacher(), budget=Budget(student_calls=2 * len(VAL) + 5))
    assert "student calls is reached" in resolution.stopped
    assert after is before
    resolution, _, _ = resolved(teacher(), budget=Budget(teacher_calls=0))
    assert (resolution.patches, resolution.rounds) == ([], [])


def test_what_was_answered_is_not_asked_again(tmp_path):
    student, lm = student_lm(), teacher([DINNER, HARMFUL], [{"kind": "move", "ids": ["spam-1"]}])
    first = resolved(lm, student=student, folder=tmp_path)
    asked = len(calls(student)), len(calls(lm))
    again = resolved(teacher(), student=student, folder=tmp_path)
    assert (len(calls(student)), len(calls(lm))) == asked
    assert again[0] == first[0]
    assert again[2].best == first[2].best
    assert rules_in(calls(student)[-1].system)


def test_the_calls_of_a_round_keep_to_a_cap():
    config = ResolveConfig()
    assert config.round_calls(train=500, val=60, left=None) == (200, 480)
    assert config.round_calls(train=50, val=60, left=None) == (50, 480)
    assert config.round_calls(train=500, val=60, left=600) == (100, 200)
    assert config.round_calls(train=500, val=60, left=0) == (0, 0)
