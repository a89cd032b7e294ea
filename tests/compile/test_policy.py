"""Rules that people pin, ban, edit or add: what becomes of them in the pool, the search and the result."""

from pathlib import Path

import pytest
from engine import calls
from tasks import (
    TEST,
    TRAIN,
    VAL,
    compiled,
    instruction,
    mail_task,
    micro_rules,
    pld,
    rule,
    student,
    student_lm,
)

from pld_dspy.compile.build_result import sentences_note
from pld_dspy.compile.policy import Policy, in_style
from pld_dspy.errors import DataError, RunError
from pld_dspy.rules import CUES, MICRO_RULE, PEOPLE, Rule, RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import Insight, OrderSpread, OriginValue


def induced(name: str, word: str, label: str, *more: str) -> Rule:
    """A rule in the wording of an example, then in cue words, then in those of further examples."""
    made = rule(name, word, label, *more, support=["m0"])
    return made.model_copy(update={"origins": (MICRO_RULE, CUES, MICRO_RULE)[: 1 + len(more)], "reason": "So it is."})


INDUCED = [
    induced("spam-1", "lottery", "spam", "winner"),
    induced("work-1", "meeting", "work"),
    induced("home-1", "garden", "home"),
]
SPAM, WORK, HOME = INDUCED


def policy(text: str, folder: Path) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return Policy.of(path, mail_task())


def test_a_runs_own_rules_change_nothing(tmp_path):
    text = RuleSet(rules=(WORK, SPAM.with_wording(1))).to_yaml([HOME])
    assert policy(text, tmp_path).pool(INDUCED) == INDUCED
    assert Policy.of(None, mail_task()).pool(INDUCED) == INDUCED


def test_pinned_rules_come_first_in_their_order_and_in_their_text_alone(tmp_path):
    text = f"""
        rules: [{{text: Mail about Work is work., pin: true}}]
        bench: [{{id: spam-1, text: '{SPAM.wordings[1]}', pin: true, comment: Kim}}]
    """
    own, spam, *free = policy(text, tmp_path).pool(INDUCED)
    assert (own.id, own.wordings, own.origins, own.labels) == (
        "user-rule-1",
        ("Mail about Work is work.",),
        (PEOPLE,),
        ("work",),
    )
    assert (spam.id, spam.wordings, spam.origins) == ("spam-1", SPAM.wordings[1:], (CUES,))
    assert (spam.labels, spam.support, spam.reason, spam.comment) == (("spam",), ("m0",), "So it is.", "Kim")
    assert {own.pin, spam.pin} == {True}
    assert free == [WORK, HOME]


def test_a_banned_rule_is_gone_by_id_and_by_wording(tmp_path):
    text = """
        rules: [{id: home-1, text: Whatever., ban: true}, {text: 'if the text MENTIONS winner; answer spam', ban: true}]
    """
    pool = policy(text, tmp_path).pool(INDUCED)
    assert [one.id for one in pool] == ["spam-1", "work-1"]
    assert (pool[0].wordings, pool[0].origins) == (SPAM.wordings[:1], (MICRO_RULE,))


def test_an_edited_text_replaces_the_induced_wordings_and_other_rules_join(tmp_path):
    edited, more = instruction("lottery or jackpot", "spam"), [instruction("cellar", "home"), "Cellars are home."]
    text = f"""
        rules: [{{id: spam-1, text: '{edited}', other_wordings: {[*SPAM.wordings]}}}]
        bench: [{{id: mine, text: '{more[0]}', other_wordings: ['{more[1]}']}}]
    """
    pool = policy(text, tmp_path).pool(INDUCED)
    assert [one.id for one in pool] == ["spam-1", "work-1", "home-1", "mine"]
    assert (pool[0].wordings, pool[0].origins, pool[0].labels, pool[0].support) == (
        (edited,),
        (PEOPLE,),
        ("spam",),
        ("m0",),
    )
    assert (pool[3].wordings, pool[3].origins, pool[3].labels) == (tuple(more), (PEOPLE, PEOPLE), ("home",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no rule"),
        ("rules: []", "holds no rule"),
        (
            "rules: [{text: X, labels: [spam, ham]}]",
            "'ham', which the task does not have. Give some of spam, work, home",
        ),
        ("rules: [{id: a, text: X, pin: true, ban: true}]", "rule 'a' has both pin and ban"),
        ("rules: [{id: a, text: X, pin: true}, {id: b, text: x., ban: true}]", "'a' is pinned, and its text is banned"),
        ("rules: [{id: a, text: X}, {id: a, text: Y}]", "several rules have the same id: a"),
        ("rules: [X]", "Not a rule set"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file(tmp_path, text, said):
    with pytest.raises(DataError, match=said) as refused:
        policy(text, tmp_path)
    assert str(refused.value).startswith(str(tmp_path / "policy.yaml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.yaml cannot be read"):
        Policy.of(tmp_path / "nowhere.yaml", mail_task())
    with pytest.raises(DataError, match="rules is a list"):
        Policy.of([SPAM], mail_task())


def test_a_style_keeps_its_wordings_and_what_people_wrote():
    mine = rule("mine", "x", "spam").model_copy(update={"origins": (PEOPLE,)})
    draft = WORK.model_copy(update={"origins": ("teacher cues draw 2",)})
    pool = [SPAM, draft, HOME, mine]
    assert in_style(pool, "any") == pool
    assert [one.wordings for one in in_style(pool, "rules")] == [SPAM.wordings[:1], HOME.wordings, mine.wordings]
    assert [one.wordings for one in in_style(pool, "cues")] == [SPAM.wordings[1:], draft.wordings, mine.wordings]
    pinned = draft.model_copy(update={"pin": True})
    assert in_style([pinned, HOME], "rules") == [pinned, HOME]


def test_a_note_says_what_sentences_would_cost():
    def row(origin: str, expected: float) -> OriginValue:
        return OriginValue(origin=origin, rules=1, asked=1, expected=expected, interval=(0.0, 1.0))

    rows = [row(CUES, 0.8), row(MICRO_RULE, 0.7), row("teacher contrast", 0.9)]
    found = Insight(order=OrderSpread(own=0.8, mean=0.8, sd=0.0), ladder=[], gain_of_1000_calls=0.0, origins=rows)
    [note] = sentences_note(found, RuleSet(rules=(SPAM.with_wording(1), WORK)))  # neither has a contrast
    assert note.startswith("1 of the 2 chosen rules are lists of cue words. With sentences in their place (micro-rule)")
    assert "expects 0.700 on validation instead of 0.800" in note
    assert not [*sentences_note(found, RuleSet(rules=(SPAM, WORK)))]


PIN = rule("mine", "mail", "home").model_copy(update={"pin": True})
BAN = rule("b", "lottery", "spam").model_copy(update={"ban": True})
DATA = {"rationales": micro_rules(TRAIN), "rules": RuleSet(rules=(PIN, BAN))}


def test_a_compile_keeps_to_the_policy_and_says_what_pins_cost(tmp_path):
    """Every text is a mail and the earlier rule decides, so that nothing beside the pinned rule has an effect."""
    optimizer, lm = pld(tmp_path, teacher=None), student_lm()
    told = compiled(optimizer, student(lm), **DATA).signature.instructions
    result, joined = optimizer.result, {"trainset": TRAIN, "valset": VAL, "testset": TEST, **DATA}
    spent = sum(cost.calls for cost in result.costs["student"].values())
    assert spent <= optimizer.estimate(student(lm), **joined).student_calls
    assert f"1. {PIN.text}" in told
    assert all(BAN.text not in call.system for call in calls(lm))
    assert [one.id for one in result.rules.rules] == ["mine"]
    assert not result.improved
    assert result.bench[-1] == BAN
    assert result.at_budget(tokens=1) == result.rules
    known = Insight(order=OrderSpread(own=0.8, mean=0.8, sd=0.0), ladder=[], gain_of_1000_calls=0.0)
    assert result.model_copy(update={"insight": known}).at_budget(tokens=1) == result.rules
    assert (
        "No rule set beat the unchanged student on validation: the pinned rules came back all the same." in result.notes
    )
    change = result.validation.difference.macro_f1
    assert any(
        f"the pinned rules alone (1) change on validation, against the unchanged student: macro-F1 {change:+.3f}" in one
        for one in result.notes
    )

    assert pld(tmp_path, teacher=None).join(student(lm), **joined) == 0
    with pytest.raises(RunError, match="data differ"):
        pld(tmp_path, teacher=None).join(student(lm), **{**joined, "rules": None})


def test_a_style_that_no_wording_has_leaves_the_pinned_rules_or_nothing(tmp_path):
    lm, search = student_lm(), SearchConfig(screen_calls=24, style="cues")  # the rules have one wording, of an example
    with pytest.raises(DataError, match="No rule is left to choose from"):
        compiled(pld(tmp_path, teacher=None, search=search), student(lm), rationales=DATA["rationales"])
    optimizer, pin = pld(tmp_path, teacher=None, search=search), rule("mine", "winner, jackpot", "spam")
    pin = pin.model_copy(update={"pin": True})
    given = {"rationales": DATA["rationales"], "rules": RuleSet(rules=(pin, BAN))}
    compiled(optimizer, student(lm), resume=False, testset=None, **given)
    assert [one.text for one in optimizer.result.rules.rules] == [pin.text]
    assert [one.id for one in optimizer.result.bench] == ["b"]
    assert optimizer.result.improved
    assert "Rules without a wording in style 'cues' were left out: 8 of 9." in optimizer.result.notes
