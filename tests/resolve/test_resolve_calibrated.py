"""The conflict loop of a student that is calibrated: its errors and its patches are those that offsets leave."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace

import dspy
import pytest
from dspy import lm15
from engine import calls, fn_lm, rules_in
from tasks import (
    LABELS,
    WORDS,
    keyword,
    leaning_lm,
    mail_evaluator,
    mails,
    micro_rule,
    rule,
    rule_set,
    student,
)

from pld_dspy.pld import PLD
from pld_dspy.resolve.loop import resolve
from pld_dspy.resolve.records import Resolution
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter, asking_for_logprobs
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.student.redecide import OffsetEvaluator

TRAIN, VAL = mails(60), mails(60, start=100)
GOOD = rule_set(*(rule(f"{label}-1", ", ".join(WORDS[label]), label) for label in ("spam", "home")))
HARMFUL = rule("spam-9", "meeting", "spam")
ANYTHING = rule("spam-8", "e, a, o", "spam")


def pushed_lm(liking: Mapping[str, float], *, skill: float = 0.0) -> dspy.LM:
    """A student that is pushed by 4 by each rule that fires, and by ``skill`` by a keyword, and likes some labels."""

    def logprobs(system: str, user: str) -> dict[str, float]:
        chance = random.Random(user)
        logits = {
            label: chance.gauss(0, 0.2)
            + liking.get(label, 0.0)
            + skill * any(word in user for word in words)
            + 4 * sum(told == label and any(word in user for word in said) for said, told in rules_in(system))
            for label, words in WORDS.items()
        }
        total = math.log(sum(map(math.exp, logits.values())))
        return {label: logit - total for label, logit in logits.items()}

    def answer(system: str, user: str) -> str:
        given = logprobs(system, user)
        return max(given, key=given.__getitem__)

    def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
        given, own = logprobs(system, user), answer(system, user)
        return [lm15.TokenLogprob(own, given[own], top=tuple(lm15.TopLogprob(*one) for one in given.items()))]

    return fn_lm(answer, model="custom/pushed", cache=False, logprobs=tokens)


def evaluator(lm: dspy.LM) -> Evaluator:
    return replace(mail_evaluator(lm), adapter=asking_for_logprobs(LabelAdapter()))


def resolved(rules: RuleSet, lm: dspy.LM, *bench: Rule, calibrated: bool) -> Resolution:
    return resolve(
        rules,
        bench,
        TRAIN,
        VAL,
        evaluator(lm),
        texts=[one.text for one in (*TRAIN, *VAL)],
        teacher=None,
        config=ResolveConfig(max_rounds=1),
        calibrated=calibrated,
    )


def test_a_student_that_always_says_the_same_is_mended_where_offsets_tell_its_answers_apart():
    rules, lm = rule_set(HARMFUL, *GOOD.rules), pushed_lm({"work": 30})
    as_they_are = resolved(rules, lm, calibrated=False)
    assert as_they_are.before == pytest.approx(1 / 6)
    assert not any(patch.kept for patch in as_they_are.patches)
    found = resolved(rules, lm, calibrated=True)
    assert found.before < 0.95
    assert found.objective == 1.0
    assert found.rules == GOOD
    kept = [patch for patch in found.patches if patch.kept]
    assert [(patch.kind, patch.changed, patch.losses) for patch in kept] == [("retire", ("spam-9",), 0)]
    assert kept[0].wins > 2
    assert kept[0].gain > 0


def test_a_rule_that_only_shifts_a_leaning_is_kept_without_offsets_and_not_with_them():
    lm = pushed_lm({"work": 3, "home": 1.5}, skill=2)
    as_it_is = resolved(RuleSet(), lm, ANYTHING, calibrated=False)
    assert [one.id for one in as_it_is.rules.rules] == ["spam-8"]
    found = resolved(RuleSet(), lm, ANYTHING, calibrated=True)
    assert not found.patches
    assert found.before == found.objective == 1.0


def test_a_patch_that_shifts_a_leaning_is_judged_by_what_it_does_besides():
    lm = pushed_lm({"work": 30})
    rules, shift = rule_set(*GOOD.rules, HARMFUL), rule("spam-7", "e, a, o", "spam", support=["m0"])
    found = resolved(rules, lm, shift, calibrated=True)
    assert shift not in found.rules.rules
    assert found.objective == 1.0


def test_errors_are_those_that_offsets_leave():
    lm = pushed_lm({"work": 30})
    found = resolved(rule_set(HARMFUL, *GOOD.rules), lm, calibrated=True)
    meetings = {one.id for one in TRAIN if "meeting" in one.text}
    assert found.rounds[0].errors == len(meetings)
    assert {row for patch in found.patches for row in patch.errors} <= meetings


def test_without_log_probabilities_nothing_changes():
    rules = rule_set(HARMFUL, *GOOD.rules)
    lm, other = leaning_lm(listing=False, skill=4), leaning_lm(listing=False, skill=4)
    assert resolved(rules, lm, calibrated=True) == resolved(rules, other, calibrated=False)
    assert len(calls(lm)) == len(calls(other)) > 0


def test_an_evaluator_with_offsets_answers_as_they_decide():
    lm = pushed_lm({"work": 30})
    plain = evaluator(lm)
    offsets = Offsets(labels=tuple(LABELS), values=tuple(-28.0 if label == "work" else 0.0 for label in LABELS))
    moved = OffsetEvaluator.of(plain, offsets)
    assert set(plain.labels(GOOD, VAL, stage="test")) == {"work"}
    assert moved.labels(GOOD, VAL, stage="test") == plain.task.golds(VAL)
    assert moved.value(VAL, moved.answers(GOOD, VAL, stage="test")) == 1.0


@pytest.mark.parametrize("calibrate", [True, False])
def test_a_compile_that_calibrates_resolves_what_offsets_leave(tmp_path, calibrate):
    misread = {"jackpot": "invoice", "invoice": "meeting"}
    train, val = mails(150, start=2000), mails(60, start=4000)
    wrong = [micro_rule(one.id, one.text, one.label, misread.get(keyword(one), keyword(one))) for one in train]
    search = SearchConfig(screen_calls=0, trials=0)
    settings = {"adapter": LabelAdapter(), "tracking": None, "calibrate": calibrate}
    optimizer = PLD(resolve=ResolveConfig(max_rounds=1), search=search, run_dir=tmp_path, **settings)
    optimizer.compile(student(pushed_lm({"work": 30})), trainset=train, valset=val, rationales=wrong)
    assert (optimizer.result.counts["patches_kept"] > 0) == calibrate
