"""A search that goes on from another over more rules: it keeps what was learned, and repeats no call."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from engine import calls
from tasks import leaning_lm, mail_evaluator, mails, rule, rule_set, student_lm

from pld_dspy.rules import Rule, RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import SearchResult
from pld_dspy.search.storage import find_study, open_study, publish_space
from pld_dspy.search.study import RuleSearch
from pld_dspy.student.adapter import LabelAdapter, asking_for_logprobs
from pld_dspy.student.evaluator import Evaluator

VAL = mails(24)
SPAM = rule("spam-1", "zeppelin", "spam", "lottery, winner")
HARMFUL = rule("home-1", "meeting", "home")
POOL = [SPAM, HARMFUL]
WIDER = [
    SPAM.model_copy(update={"wordings": (*SPAM.wordings, rule("x", "lottery, winner, jackpot", "spam").text)}),
    HARMFUL,
    rule("home-2", "dinner, garden, laundry", "home"),
    rule("spam-2", "mail", "spam"),  # fits every example
]
REVISED = rule_set(WIDER[3], WIDER[2], WIDER[0].with_wording(2))
FIRST = SearchConfig(screen_calls=48, trials=1, block=12)


def asked(lm: dspy.LM, folder: Path) -> Evaluator:
    evaluator = mail_evaluator(lm, folder / "predictions.jsonl")
    return replace(evaluator, adapter=asking_for_logprobs(LabelAdapter()))


def first_search(
    lm: dspy.LM, folder: Path, config: SearchConfig = FIRST, *, rules: list[Rule] = POOL, **more: Any
) -> RuleSearch:
    return RuleSearch(
        rules, asked(lm, folder), VAL, study=open_study(folder / "study.log", name="first"), config=config, **more
    )


def continued(
    lm: dspy.LM,
    folder: Path,
    before: SearchResult | None,
    config: SearchConfig = FIRST,
    *,
    rules: list[Rule] = WIDER,
    revised: RuleSet = REVISED,
    **more: Any,
) -> RuleSearch:
    return RuleSearch(
        rules,
        asked(lm, folder),
        VAL,
        study=open_study(folder / "study.log", name="second"),
        config=config.model_copy(update=config.continued(8 * len(VAL), len(VAL))),
        before=before,
        revised=revised,
        stage="resolve",
        **more,
    )


def test_the_changes_that_help_are_told_from_the_one_that_harms(tmp_path):
    lm = student_lm()
    before = first_search(lm, tmp_path).run()
    asked = len(calls(lm))
    found = continued(lm, tmp_path, before).run()
    assert before.objective < 0.75
    assert found.objective == 1.0
    assert {(one.id, one.chosen) for one in found.best.rules} == {("spam-1", 2), ("home-2", 0)}
    kinds = [trial.kind for trial in found.trials[len(before.trials) :]]
    assert kinds[0] == "revised"
    assert kinds.count("screen") > 1
    assert kinds[-2:] == ["confirm", "confirm"]
    assert 0 < len(calls(lm)) - asked <= 8 * len(VAL)


def test_carried_trials_say_what_they_said(tmp_path):
    lm = leaning_lm()
    before = first_search(lm, tmp_path, calibrated=True).run()
    asked = len(calls(lm))
    search = continued(lm, tmp_path, before, calibrated=True)
    assert len(calls(lm)) == asked
    for old, new in zip(before.trials, search.trials, strict=True):
        assert (old.kind, old.objective, old.value, new.carried) == (new.kind, new.objective, new.value, True)
        assert old.rules is None if new.rules is None else old.rules.render() == new.rules.render()
        np.testing.assert_array_equal(old.rows, new.rows)
        np.testing.assert_array_equal(old.correct, new.correct)
        np.testing.assert_array_equal(old.logprobs, new.logprobs)


@pytest.mark.parametrize("config", [FIRST, SearchConfig(screen_calls=0, trials=2)])
def test_what_only_harms_is_not_chosen(tmp_path, config):
    lm = student_lm()
    before = first_search(lm, tmp_path, config).run()
    found = continued(lm, tmp_path, before, config, rules=[*POOL, WIDER[3]], revised=rule_set(WIDER[3])).run()
    assert found.objective == before.objective
    assert (found.best and found.best.render()) == (before.best and before.best.render())


def test_without_screening_the_changes_are_raced_apart(tmp_path):
    lm, config = student_lm(), SearchConfig(screen_calls=0, trials=2)
    before = first_search(lm, tmp_path, config).run()
    found = continued(lm, tmp_path, before, config).run()
    assert [trial.kind for trial in found.trials[len(before.trials) :]] == ["revised", *["race"] * 7]
    revised = next(trial for trial in found.trials if trial.kind == "revised")
    assert found.objective > max(before.objective, revised.objective)


def test_pinned_rules_stand_first_in_every_set_and_in_the_study(tmp_path):
    pins = [rule(f"pin-{n}", word, "work").model_copy(update={"pin": True}) for n, word in enumerate(["invoice", "x"])]
    lm = student_lm("home")
    search = first_search(lm, tmp_path, rules=[WIDER[3], *pins, SPAM])
    publish_space(search.study, search.space)
    before = search.run()
    assert find_study(tmp_path / "study.log", prefix="first")[1] == search.space
    assert (before.trials[0].kind, before.trials[0].rules.rules) == ("pinned rules", tuple(pins))
    assert before.baseline == before.trials[0].objective
    assert [one.id for one in before.best.rules] == ["pin-0", "pin-1", "spam-1"]
    assert [one.id for one in before.bench] == ["spam-2"]
    assert {rung.rules.rules[:2] for rung in before.insight.ladder} == {tuple(pins)}

    revised = rule_set(WIDER[2], *pins, SPAM.with_wording(1))  # as a teacher may put it
    more = [*search.space.pool, WIDER[2]]
    found = continued(lm, tmp_path, before, SearchConfig(screen_calls=0, trials=0), rules=more, revised=revised).run()
    assert all(trial.rules.rules[:2] == tuple(pins) for trial in found.trials)
    asked = next(trial.rules for trial in found.trials if trial.kind == "revised")
    assert [one.id for one in asked.rules] == ["pin-0", "pin-1", "home-2", "spam-1"]


def test_pinned_rules_alone_come_back_when_nothing_helps(tmp_path):
    pin = rule("pin-1", "mail", "work").model_copy(update={"pin": True})
    found = first_search(student_lm(), tmp_path, SearchConfig(screen_calls=0, trials=1), rules=[SPAM, pin]).run()
    assert found.best == rule_set(pin)
    assert found.bench == [SPAM]


def test_a_continued_search_resumes_and_repeats_no_call(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    results = []
    for folder, stop in ((whole, 99), (cut, 4)):
        lm = leaning_lm()
        folder.mkdir()
        before = first_search(lm, folder).run()
        search = continued(lm, folder, before)
        while len(search.trials) < len(before.trials) + stop and (waiting := search.plan.next()):
            search._step(waiting)
        results.append((continued(lm, folder, first_search(lm, folder).run()).run(), len(calls(lm))))
    (one, one_calls), (other, other_calls) = results
    assert (one.best, one.objective, one_calls) == (other.best, other.objective, other_calls)
    assert [trial.candidate.size for trial in one.trials] == [trial.candidate.size for trial in other.trials]


def test_a_study_that_was_given_only_some_trials_gets_the_rest(tmp_path):
    lm = student_lm()
    before = first_search(lm, tmp_path).run()
    part = SearchResult(**{**vars(before), "trials": before.trials[:3]})
    search = continued(lm, tmp_path, part)
    assert len(search.trials) == 3
    assert len(continued(lm, tmp_path, before).trials) == len(before.trials)


def test_a_worker_joins_a_continued_search(tmp_path):
    lm = student_lm()
    before = first_search(lm, tmp_path).run()
    search = continued(lm, tmp_path, before)
    worker = continued(lm, tmp_path, None, joins=True)
    assert worker.plan.first_race == search.plan.first_race
    assert worker.work() is None
    assert worker.made == search.plan.steps - len(before.trials)
    assert search.run().objective == 1.0
    assert search.made == 0


@pytest.mark.parametrize(("calls_left", "n"), [(36, 36), (150, 36), (288, 36), (80, 10), (40, 10), (96, 24)])
def test_the_settings_of_a_continued_search_keep_to_its_calls(calls_left, n):
    config = FIRST.model_copy(update=FIRST.continued(calls_left, n))
    slices = -(-config.screen_calls // config.block) * min(config.block, n)
    least = 3 * n + slices + config.trials * min(config.block, n)
    assert config.screen_calls >= config.block
    assert least <= max(calls_left, 3 * n + min(config.block, n))
