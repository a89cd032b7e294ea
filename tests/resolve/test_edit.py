"""All kinds of changes, as models write them, applied one after the other; what is unusable says why."""

import json
from typing import Any

import pytest
from tasks import instruction, mail_task, rule

from pld_dspy.resolve.diagnosis import as_shown
from pld_dspy.resolve.edit import Revision, Unusable
from pld_dspy.resolve.records import CHOSEN, CHOSEN_IN_PART, HardExample, PatchRecord
from pld_dspy.rules import PATCH, UNKNOWN, RuleSet
from pld_dspy.teacher.signatures import Change

SPAM, WORK, HOME = (
    rule("spam-1", "winner", "spam", "lottery", support=["m0"]),
    rule("work-1", "meeting", "work", support=["m1"]),
    rule("home-1", "dinner", "home", support=["m2"]),
)
SPARE = rule("spam-2", "jackpot", "spam")
HARD = HardExample(
    example_id="m9",
    text="Mail 9 about the garden",
    gold="home",
    rival="work",
    wrong=True,
    missed=("home",),
    cost=0.1,
)


def revision() -> Revision:
    pool = {one.id: one for one in (SPAM, WORK, HOME, SPARE)}
    return Revision(pool, [SPAM, WORK, HOME], [HARD], mail_task())


PINNED = WORK.model_copy(update={"pin": True})
BANNED = rule("home-2", "garden", "home", "attic")


@pytest.mark.parametrize("kind", ["reword", "split", "merge", "retire", "move"])
def test_a_pinned_rule_stays_as_it_is(kind):
    made = Revision({one.id: one for one in (SPAM, PINNED)}, [SPAM, PINNED], [HARD], mail_task())
    texts = {"reword": 1, "split": 2, "merge": 1}.get(kind, 0)
    said = made.tried(
        change(kind, ["work-1", "spam-1"][: 1 + (kind == "merge")], *["Answer work.", "Say work."][:texts])
    )
    assert said["reason"] == "unusable: people pinned the rule work-1: it stays as it is, and where it is"
    assert made.order == [SPAM, PINNED]
    made.apply(change("add", ["work-1"], instruction("cellar", "home")))
    assert [one.id for one in made.order] == ["spam-1", "home-1", "work-1"]


def test_a_banned_rule_does_not_come_back_and_its_id_is_not_used_again():
    made = Revision({one.id: one for one in (SPAM, HOME)}, [SPAM, HOME], [HARD], mail_task(), [BANNED])
    said = made.tried(change("reword", ["home-1"], BANNED.wordings[1].upper()))
    assert said["reason"] == "unusable: people banned a rule that says this"
    made.apply(change("add", [], instruction("cellar", "home")))
    assert [one.id for one in made.order] == ["spam-1", "home-1", "home-3"]


def change(kind: str, ids: Any = (), *texts: str) -> Change:
    return Change.model_validate({"kind": kind, "ids": ids, "texts": texts})


def test_all_kinds_are_applied_together():
    made = revision()
    for one in (
        change("reword", ["home-1"], instruction("garden, dinner", "home")),
        change("split", ["spam-1"], instruction("winner", "spam") + " Surely.", instruction("lottery ticket", "spam")),
        change("merge", ["spam-1a", "spam-2"], instruction("winner, jackpot", "spam")),
        change("add", ["work-1"], instruction("garden", "home")),
        change("retire", ["work-1"]),
        change("move", ["home-1"]),
    ):
        made.apply(one)
    assert [one.id for one in made.order] == ["home-1", "spam-3", "spam-1b", "home-2"]
    assert [*made.pool] == ["spam-1", "work-1", "home-1", "spam-2", "spam-1a", "spam-1b", "spam-3", "home-2"]
    home, merged, part, added = made.order
    assert (home.wordings, home.origins) == ((HOME.text, home.text), (UNKNOWN, PATCH))
    assert made.pool["home-1"].chosen == 0
    assert (merged.labels, merged.support, part.support) == (("spam",), ("m0",), ("m0",))
    assert (added.labels, added.support, added.origins) == (("home",), ("m9",), (PATCH,))


def test_texts_and_rules_that_are_there_already_are_taken_up():
    made = revision()
    assert made.apply(change("reword", ["spam-1"], SPAM.wordings[1])) == ("reword", [SPAM], [SPAM.with_wording(1)])
    assert made.apply(change("add", [], SPARE.text.upper())) == ("add", [], [SPARE])
    assert made.apply(change("split", ["home-1"], instruction("garden", "home")))[0] == "reword"
    made = revision()
    assert made.apply(change("move", ["spam-2", "work-1"])) == ("move", [SPARE, WORK], [])
    assert [one.id for one in made.order] == ["spam-1", "spam-2", "work-1", "home-1"]
    made = revision()
    made.apply(change("add", "spam-2"))
    assert made.order[0] == SPARE
    assert [*made.pool] == [*revision().pool]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (change("praise"), "its kind is none of reword"),
        (change("reword", ["gender-1"], instruction("a", "home")), "there is no rule 'gender-1'"),
        (change("reword", [], instruction("a", "home")), "reword does not go with 0 ids and 1 texts"),
        (change("reword", ["home-1"]), "reword does not go with 1 ids and 0 texts"),
        (
            change("split", ["home-1"], *(instruction(f"word{n}", "home") for n in range(5))),
            "split does not go with 1 ids and 5 texts",
        ),
        (change("merge", ["home-1"]), "merge does not go with 1 ids and 0 texts"),
        (change("add", [], "If the text mentions garden, decide."), "names none of the labels"),
        (change("add", [], instruction("garden " * 90, "home")), "97 words is too long"),
        (change("add", [], "If <sign>, answer <label> such as home."), "fills nothing in"),
        (change("add", [], "Mail 9 about the garden home"), "repeats the input of the example m9"),
        (change("add", [], f"{HARD.text}, so it is home"), "repeats the input of the example m9"),
        (change("add", [], "the garden\nright answer: home"), "repeats the form"),
        (change("add", [], HOME.text), "the rule home-1 says that already"),
        (change("reword", ["spam-1"], "home-1: " + HOME.text), "the rule home-1 says that already"),
        (change("reword", ["home-1"], HOME.text.upper()), "it leaves the list as it is"),
        (change("retire", ["spam-2"]), "it leaves the list as it is"),
        (change("move", ["spam-1"]), "it leaves the list as it is"),
        (change("split", ["home-1"], *[instruction("garden", "home")] * 2), "two of its texts say the same"),
    ],
)
def test_an_unusable_change_says_why_and_changes_nothing(wrong, why):
    made = revision()
    with pytest.raises(Unusable, match=why):
        made.apply(wrong)
    assert (made.order, made.pool) == (revision().order, revision().pool)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"kind": "Rewrite the rule", "rule": "Rule home-1:", "text": "x  y"}, ("reword", ("Rule home-1:",), ("x y",))),
        ({"kind": "REMOVE", "ids": "home-1, spam-1", "texts": None}, ("retire", ("home-1", "spam-1"), ())),
        ({"kind": "combine", "rules": ["a", "b"], "texts": ["x", "", 3]}, ("merge", ("a", "b"), ("x",))),
        ({"texts": ["x"]}, ("unreadable", (), ("x",))),
        ("reword home-1", ("unreadable", (), ("reword home-1",))),
    ],
)
def test_loose_forms_are_read_as_meant(written, read):
    found = Change.model_validate(written)
    assert (found.kind, found.ids, found.texts) == read


def test_a_rule_that_is_reworded_for_another_label_is_a_new_one_in_its_place():
    made = revision()
    [new] = made.apply(change("reword", ["work-1"], instruction("garden", "home") + " Not spam."))[2]
    assert (new.id, new.labels, new.wordings) == ("work-1a", ("home", "work"), (new.text,))
    assert [one.id for one in made.order] == ["spam-1", "work-1a", "home-1"]


def test_a_rule_named_within_more_text_is_found():
    assert revision().apply(change("retire", ["the rule 'HOME-1':"])) == ("retire", [HOME], [])


def test_a_choice_has_a_change_or_has_it_not():
    made = revision()
    changes = [
        change("reword", ["home-1"], instruction("garden", "home")),
        change("move", ["home-1", "work-1"]),
        change("retire", ["spam-1"]),
    ]
    records = [PatchRecord(round=1, **made.tried(one)) for one in changes]
    before, after = RuleSet(rules=(SPAM, WORK, HOME)), RuleSet(rules=tuple(made.order))
    ids = [one.id for one in made.order]
    assert [(one.judged(before, ids).kept, one.judged(after, ids).kept) for one in records] == [(False, True)] * 3
    assert not PatchRecord(round=1, **made.tried(change("retire", ["nobody"]))).judged(after, ids).kept


def test_a_choice_may_have_a_part_of_a_change():
    made = revision()
    merged, retired = (
        PatchRecord(round=1, **made.tried(one))
        for one in (
            change("merge", ["work-1", "home-1"], instruction("garden", "home")),
            change("retire", ["spam-1"]),
        )
    )
    assert merged.made == ("home-2",)
    mixed = RuleSet(rules=(SPAM, HOME, *made.order))  # one of the merged rules is still there, and the retired one
    assert (merged.judged(mixed, ["home-2"]).reason, retired.judged(mixed, ["home-2"]).kept) == (CHOSEN_IN_PART, False)
    assert merged.judged(RuleSet(rules=tuple(made.order)), ["home-2"]).reason == CHOSEN


@pytest.mark.parametrize(
    ("move", "stand", "kept"),
    [
        (["home-1"], (SPAM, WORK, HOME), False),  # "to the beginning", and it stands where it stood
        (["home-1"], (HOME, WORK, SPAM), True),
        (["home-1"], (SPAM, WORK), False),
        (["home-1", "work-1"], (HOME, SPAM, WORK), False),  # before the rule that was named, but also before another
        (["home-1", "work-1"], (SPAM, HOME), True),
        (["spam-2", "home-1"], (SPAM, WORK, SPARE, HOME), True),
        (["spam-2", "home-1"], (SPARE, SPAM, WORK, HOME), False),
    ],
)
def test_a_move_is_chosen_where_the_rule_stands_as_it_was_moved(move, stand, kept):
    made = revision()
    record = PatchRecord(round=1, **made.tried(change("move", move)))
    assert record.judged(RuleSet(rules=stand), [one.id for one in made.order]).kept is kept


def test_long_texts_lose_their_middle_and_many_share_the_room():
    long = HARD.__class__(**{**vars(HARD), "text": "a" * 4000 + "the end"})
    [alone] = as_shown([long])
    assert alone.startswith("aaa")
    assert "the end\nright answer: home; its answer: work" in alone
    assert len(alone) < 1_700
    assert sum(map(len, as_shown([long] * 24))) < 14_000


def test_the_prompt_hides_what_only_the_reader_needs():
    schema = json.dumps(Change.model_json_schema())
    assert "unreadable" not in schema
