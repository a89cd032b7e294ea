"""Effects of rules from lists with some left out: a student whose rules push labels by known amounts."""

import math
import random
import re
from pathlib import Path

import dspy
import numpy as np
import pytest
from dspy import lm15
from engine import calls, fn_lm
from scipy.stats import spearmanr
from tasks import LABELS, TRAIN, VAL, good_rules, mail_evaluator, rule, rule_set, student_lm

from pld_dspy.errors import DataError
from pld_dspy.rules import Demonstration, Rule, RuleSet
from pld_dspy.search import effects as module
from pld_dspy.search.effects import measure_effects
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator

RULES = 12
GOLD = {example.text: example.label for example in (*TRAIN, *VAL)}
PUSH = {number: random.Random(number).gauss(0, 0.8) for number in range(RULES)}


def pushes() -> RuleSet:
    """Rule N pushes its label by ``PUSH[N]`` on all examples, and by 0.5 more where that is right."""
    labels = [LABELS[number % 3] for number in range(RULES)]
    return RuleSet(rules=[Rule(id=f"r{n}", wordings=(f"Push {n}.",), labels=(one,)) for n, one in enumerate(labels)])


def logprobs(system: str, user: str) -> dict[str, float]:
    own, chance = random.Random(user), random.Random(system + user)
    logits = {label: own.gauss(0, 1) + chance.gauss(0, 0.1) for label in LABELS}
    for number in map(int, re.findall(r"Push (\d+)\.", system)):
        label = LABELS[number % 3]
        logits[label] += PUSH[number] + 0.5 * (label == GOLD[user])
    total = math.log(sum(map(math.exp, logits.values())))
    return {label: logit - total for label, logit in logits.items()}


def without(rules: RuleSet, name: str) -> RuleSet:
    return rules.with_rules(one for one in rules.rules if one.id != name)


def mean_logprob(rules: RuleSet) -> float:
    return float(np.mean([logprobs(rules.render(), example.text)[example.label] for example in VAL]))


def pushed_lm() -> dspy.LM:
    def answer(system: str, user: str) -> str:
        given = logprobs(system, user)
        return max(given, key=given.__getitem__)

    def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
        given, own = logprobs(system, user), answer(system, user)
        top = tuple(lm15.TopLogprob(label, value) for label, value in given.items())
        return [lm15.TokenLogprob(own, given[own], top=top)]

    return fn_lm(answer, model="custom/pushed", cache=False, logprobs=tokens)


def evaluator(lm: dspy.LM, path: Path | None = None) -> Evaluator:
    own = mail_evaluator(lm, path)
    return Evaluator(student=own.student, task=own.task, ledger=own.ledger, lm=lm, adapter=LabelAdapter(logprobs=True))


def test_a_quarter_of_the_calls_ranks_rules_as_leaving_them_out_one_by_one():
    rules, lm = pushes(), pushed_lm()
    found = measure_effects(evaluator(lm), rules, VAL, calls=RULES * len(VAL) // 4)
    figure = [mean_logprob(rules)] + [mean_logprob(without(rules, one.rule)) for one in found.effects]
    single = [figure[0] - value for value in figure[1:]]
    assert len(calls(lm)) == found.calls + len(VAL) == RULES * len(VAL) // 4 + len(VAL)
    assert found.unit.startswith("nats")
    assert spearmanr([one.effect for one in found.effects], single).statistic >= 0.6
    within = [one.interval[0] <= value <= one.interval[1] for one, value in zip(found.effects, single, strict=True)]
    assert sum(within) >= RULES - 1
    assert {one.clear for one in found.effects} == {True, False}


def test_more_calls_go_on_from_the_answers_that_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 9)
    lm, val, seen = pushed_lm(), VAL[:6], list[int]()
    measure_effects(evaluator(lm, tmp_path / "answers.jsonl"), pushes(), val, calls=15)
    more = measure_effects(evaluator(lm, tmp_path / "answers.jsonl"), pushes(), val, calls=20, on_answers=seen.append)
    assert len(calls(lm)) == len(val) + 20
    assert sum(seen) == more.calls == 20
    assert len(seen) == more.lists


def test_without_logprobs_effects_are_in_right_answers(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 30)
    harm = rule("harm", "dinner", "work")
    found = measure_effects(mail_evaluator(student_lm("spam")), rule_set(harm, *good_rules()), VAL, calls=108)
    assert found.unit == "share of right answers"
    worst = min(found.effects, key=lambda one: one.effect)
    assert worst.rule == "harm"
    assert worst.effect < 0


def test_every_rule_is_left_out_equally_often_and_no_example_is_asked_twice_under_one_list():
    lists = list(module._lists(np.zeros((30, 8), dtype=bool), 192, 12, seed=0))
    often = np.bincount(np.concatenate([left_out for left_out, _ in lists]))
    assert often.max() - often.min() <= 1
    times = np.bincount(np.concatenate([rows for _, rows in lists]))
    assert times.max() - times.min() <= 1
    two = list(module._lists(np.zeros((3, 2), dtype=bool), 100, 12, seed=0))
    assert sorted((left_out, sorted(rows)) for left_out, rows in two) == [([0], [0, 1, 2]), ([1], [0, 1, 2])]


def test_a_training_example_is_not_asked_without_a_rule_made_from_it(monkeypatch):
    monkeypatch.setattr(module, "DRAWS", 9)
    rules = RuleSet(rules=[one.model_copy(update={"support": (TRAIN[n].id,)}) for n, one in enumerate(pushes().rules)])
    shown, lm = TRAIN[RULES], pushed_lm()
    demos = [Demonstration(example_id=shown.id, inputs={"text": shown.text}, label=shown.label)]
    rules = RuleSet(rules=rules.rules, demos=demos)
    found = measure_effects(evaluator(lm), rules, VAL[:3], train=[*TRAIN[:RULES], shown], calls=60)
    assert found.examples == 3 + RULES + 1
    assert shown.text not in {call.user for call in calls(lm)}
    asked = {
        (call.user, number) for call in calls(lm) for number in range(RULES) if f"Push {number}." not in call.system
    }
    assert not asked & {(TRAIN[number].text, number) for number in range(RULES)}
    assert {text for text, _ in asked} >= {example.text for example in TRAIN[:RULES]}


def test_a_list_without_rules_and_answers_that_say_nothing_are_refused():
    with pytest.raises(DataError, match="no rules"):
        measure_effects(evaluator(pushed_lm()), RuleSet(), VAL, calls=9)
    with pytest.raises(DataError, match="do not tell the rules apart"):
        measure_effects(mail_evaluator(student_lm()), rule_set(*good_rules()), VAL[:3], calls=6)
