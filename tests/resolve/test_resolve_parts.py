"""The parts of the conflict loop: patches read and put into effect, errors traced to rules, guards drawn fairly."""

from collections import Counter
from dataclasses import replace
from typing import Any

import dspy
import numpy as np
import pytest
from engine import Call, calls, fn_lm, rules_in
from tasks import instruction, keyword, mail, mail_evaluator, mail_task, mails, rule, rule_set, student_lm

from pld_dspy.resolve.diagnosis import find_mistakes, group, shortlist, trace_to_rules
from pld_dspy.resolve.edit import Edit, Unusable, apply_patch, check_novel
from pld_dspy.resolve.judge import fewest_until_rejected, guard_rows, judge
from pld_dspy.resolve.pool import Pool, stratified
from pld_dspy.resolve.propose import SHOWN_CHARACTERS, cut_middle
from pld_dspy.resolve.records import Conflict, Mistake, PatchRecord
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.scoring.difference import chance_to_win
from pld_dspy.scoring.objective import Objective
from pld_dspy.teacher.signatures import Patch

TRAIN, VAL = mails(60), mails(30, start=100)
SPAM = rule("spam-1", "winner", "spam", "jackpot", support=["m0"])
HOME = rule("home-1", "dinner", "home")
RULES = rule_set(SPAM, HOME)
BENCH = [rule("home-2", "garden", "home", "laundry", support=["m2"])]


def pool(train: list[dspy.Example] = TRAIN, val: list[dspy.Example] = VAL, *, sample: int = 200, seed: int = 0) -> Pool:
    task = mail_task()
    texts = [task.text(one) for one in (*train, *val)]
    return Pool.of(train, val, task, texts=texts, sample=sample, seed=seed)


def test_neighbours_are_found_by_the_embedder_that_is_given():
    def by_length(texts: list[str]) -> np.ndarray:
        return np.array([[1.0, len(text)] for text in texts])

    task = mail_task()
    texts = ["a", "bb", "c" * 50, "d" * 60]
    found = Pool.of(TRAIN[:4], [], task, texts=texts, sample=9, seed=0, embedder=by_length)
    assert found.nearest([0], [1, 2, 3], 1) == [1]
    assert found.nearest([3], [0, 1, 2], 1) == [2]


def mistake(row: int, gold: str = "home", answer: str = "spam", blamed: str | None = None) -> Mistake:
    return Mistake(
        row=row,
        example_id=f"m{row}",
        text=TRAIN[row].text,
        gold=gold,
        answer=answer,
        missed=(gold,),
        wrong=(answer,),
        cost=0.1,
        rule=blamed,
    )


def conflict(blamed: str | None = "spam-1", *, gold: str = "home") -> Conflict:
    return Conflict((mistake(5, gold, blamed=blamed), mistake(8, gold, blamed=blamed)), blamed, (2, 11))


def edit(kind: str, *texts: str, to: str = "", blamed: str | None = "spam-1", bench: list[Rule] = BENCH) -> Edit:
    return apply_patch(Patch(kind=kind, rule=to, texts=texts), RULES, bench, conflict(blamed))


def ids(rules: RuleSet) -> list[str]:
    return [one.id for one in rules.rules]


def test_a_pool_takes_the_texts_that_it_is_given_along_with_their_examples():
    texts = [f"read {one.id}" for one in [*TRAIN, *VAL]]
    drawn = Pool.of(TRAIN, VAL, mail_task(), texts=texts, sample=20, seed=3)
    assert len(drawn.texts) == 20 + len(VAL)
    assert drawn.texts == [f"read {one.id}" for one in drawn.examples]


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Rewrite", "rewrite"),
        (" add exception ", "add_exception"),
        ("exception", "add_exception"),
        ("add-exception", "add_exception"),
        ("remove", "retire"),
        ("insert", "add"),
    ],
)
def test_a_kind_is_read_as_it_is_meant(written, kind):
    assert Patch.model_validate({"kind": written}).kind == kind


@pytest.mark.parametrize("texts", [["A rule."], "A rule.", [" A\n rule. ", ""], ("A rule.", None)])
def test_texts_are_read_from_whatever_holds_them(texts):
    expected = Patch(kind="add", rule="7", texts=("A rule.",))
    assert Patch.model_validate({"kind": "add", "rule": 7, "texts": texts, "why": "so"}) == expected
    assert Patch.model_validate({"kind": "add", "rule": "7", "text": texts}) == expected
    assert Patch.model_validate({"kind": "add", "rule": "7", "text": texts, "texts": None}) == expected


@pytest.mark.parametrize("data", [{"kind": "sing"}, {}, "retire", None, {"kind": ["add"]}, {"kind": "add", "texts": 7}])
def test_what_is_no_patch_is_refused(data: Any):
    with pytest.raises(Unusable):
        apply_patch(Patch.model_validate(data), RULES, BENCH, conflict())


def test_a_wording_that_lost_its_line_breaks_is_still_that_wording():
    broken = rule("home-2", "garden", "home", support=["m2"]).model_copy(
        update={"wordings": ("If green,\n  answer home.",)}
    )
    [added] = edit("add", "If green, answer home.", bench=[broken]).new
    assert (added.id, added.text) == ("home-2", broken.text)
    assert added.support[0] == "m2"


def test_a_rewrite_puts_the_new_wording_before_the_old_ones():
    done = edit("rewrite", "New.")
    assert done.new[0].wordings == ("New.", *SPAM.wordings)
    assert (done.new[0].id, done.new[0].text, done.old, done.bench) == ("spam-1", "New.", (SPAM,), BENCH)
    assert ids(done.rules) == ["spam-1", "home-1"]


def test_wordings_of_patches_say_so_and_the_others_keep_their_origins():
    told = RULES.rules[0].model_copy(
        update={"origins": tuple(f"way {i}" for i, _ in enumerate(RULES.rules[0].wordings))}
    )
    rules = RuleSet(rules=(told, *RULES.rules[1:]))

    def made(kind: str, *texts: str) -> list[tuple[str, ...]]:
        patch = Patch(kind=kind, rule="" if kind == "add" else told.id, texts=texts)
        return [one.origins for one in apply_patch(patch, rules, BENCH, conflict()).new]

    assert made("rewrite", "New.") == made("add_exception", "If x, answer home.") == [("patch", *told.origins)]
    assert made("split", "A.", "B.") == [("patch",), ("patch",)]
    assert made("add", "New.") == [("patch",)]
    assert made("rewrite", told.wordings[-1]) == [told.origins]
    unknown = ("unknown",) * len(told.wordings)
    assert [one.origins for one in edit("rewrite", "New.").new] == [("patch", *unknown)]


def test_a_rewrite_to_a_wording_that_is_there_brings_it_back():
    done = edit("rewrite", instruction("jackpot", "spam"))
    assert (done.new[0].chosen, done.new[0].wordings) == (1, SPAM.wordings)


def test_what_a_patch_makes_inherits_and_gains_support_and_labels():
    for done in (edit("rewrite", "New."), edit("add_exception", "If x, answer home."), edit("split", "A.", "B.")):
        for made in done.new:
            assert made.support == ("m0", "m5", "m8")
            assert made.labels == ("spam", "home")
    [added] = edit("add", "New.").new
    assert (added.support, added.labels) == (("m5", "m8"), ("home",))
    [recalled] = edit("add", instruction("laundry", "home")).new
    assert (recalled.support, recalled.labels, recalled.chosen) == (("m2", "m5", "m8"), ("home",), 1)


def test_a_split_names_its_parts_after_the_whole_and_past_names_that_are_taken():
    assert ids(edit("split", "A.", "B.").rules) == ["spam-1a", "spam-1b", "home-1"]
    taken = [rule("spam-1a", "x", "spam"), rule("spam-1c", "x", "spam")]
    done = edit("split", "A.", "B.", "C.", bench=taken)
    assert ids(done.rules) == ["spam-1b", "spam-1d", "spam-1e", "home-1"]
    assert done.bench == [*taken, SPAM]
    again = apply_patch(Patch(kind="split", rule="spam-1b", texts=("D.", "E.")), done.rules, done.bench, conflict())
    assert ids(again.rules)[:2] == ["spam-1ba", "spam-1bb"]


def test_a_split_with_one_text_is_a_rewrite():
    done = edit("split", "A.")
    assert (done.kind, ids(done.rules), done.bench) == ("rewrite", ["spam-1", "home-1"], BENCH)


def test_an_exception_stands_behind_its_rule():
    text = f"{SPAM.text} Exception: if it is old, answer home."
    assert edit("add_exception", "if it is old, answer home.").new[0].text == text
    assert edit("add_exception", "Exception: if it is old, answer home.").new[0].text == text
    assert edit("add_exception", "Exceptions: if it is old, answer home.").new[0].text == text
    rare = "exceptionally old mails: answer home."
    assert edit("add_exception", rare).new[0].text == f"{SPAM.text} Exception: {rare}"


def test_an_exception_that_repeats_its_rule_is_the_whole_rule():
    whole = f'{SPAM.text.upper()} Unless it is "old": then answer home.'
    assert edit("add_exception", whole).new[0].text == whole


def test_a_retired_rule_goes_to_the_bench():
    done = edit("retire", "texts are of no use here")
    assert (ids(done.rules), done.bench, done.new) == (["home-1"], [*BENCH, SPAM], ())


@pytest.mark.parametrize(
    ("to", "blamed", "place"),
    [("home-1", "spam-1", 1), ("", "spam-1", 0), ("", None, 2), ("Rule HOME-1:", None, 1), ("home-1", "gone", 1)],
)
def test_an_added_rule_stands_before_the_one_named_or_blamed_or_last(to, blamed, place):
    done = edit("add", "New.", to=to, blamed=blamed)
    assert done.rules.rules[place].text == "New."
    assert done.rules.rules[place].id == "home-3"
    assert len(done.rules) == 3


def test_a_rule_added_from_the_bench_leaves_it():
    done = edit("add", BENCH[0].text, blamed=None)
    assert (ids(done.rules), done.bench) == (["spam-1", "home-1", "home-2"], [])


@pytest.mark.parametrize(
    ("kind", "texts", "to", "blamed", "said"),
    [
        ("rewrite", ["A."], "spam-7", "spam-1", "there is no rule 'spam-7'"),
        ("rewrite", ["A."], "spam-1 and home-1", "spam-1", "there is no rule 'spam-1 and home-1'"),
        ("rewrite", ["A."], "spam-11", "spam-1", "there is no rule 'spam-11'"),
        ("rewrite", ["A."], "", None, "it names no rule to change"),
        ("retire", [], "", "gone", "there is no rule 'gone'"),
        ("rewrite", [], "", "spam-1", "rewrite takes one text, not 0"),
        ("rewrite", ["A.", "B."], "", "spam-1", "rewrite takes one text, not 2"),
        ("add", [], "", "spam-1", "add takes one text, not 0"),
        ("add", [HOME.text], "", "spam-1", "the rules say that already"),
        ("split", [], "", "spam-1", "a split takes 2 to 4 texts, not 0"),
        ("split", list("ABCDE"), "", "spam-1", "a split takes 2 to 4 texts, not 5"),
        ("rewrite", ["word " * 91], "", "spam-1", "a rule of 91 words is too long; 90 are the most"),
        ("add_exception", ["word " * 90], "", "spam-1", "is too long"),
        ("rewrite", ["If <sign>, answer spam."], "", "spam-1", "repeats the form of a rule and fills nothing in"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_with_a_reason(kind, texts, to, blamed, said):
    with pytest.raises(Unusable, match=said):
        edit(kind, *texts, to=to, blamed=blamed)


def test_mistakes_are_training_examples_the_costliest_confusion_first():
    """Two of four spam mails wrong weigh more than three of twenty home mails."""
    train = [mail(n, "home", "garden") for n in range(20)] + [mail(20 + n, "spam", "winner") for n in range(4)]
    answers = ["work"] * 3 + ["home"] * 17 + ["home", "spam", "home", None] + ["work"] * 30
    found = find_mistakes(pool(train), answers)
    assert [(one.example_id, one.gold, one.answer) for one in found] == [
        ("m20", "spam", "home"),
        ("m22", "spam", "home"),
        ("m0", "home", "work"),
        ("m1", "home", "work"),
        ("m2", "home", "work"),
    ]


TRACED = rule_set(
    rule("work-1", "meeting", "work"),
    rule("spam-1", "lottery", "spam"),
    rule("spam-2", "dinner, garden", "spam"),
    rule("spam-3", "garden", "spam"),
    rule("home-1", "dinner", "home"),
)


def trace(
    lm: dspy.LM, rules: RuleSet = TRACED, *, bound: int | None = None
) -> tuple[dict[str, str | None], list[Call]]:
    """Return the keyword of each mistake with the rule it is traced to, and the calls that this took."""
    examples = pool([mail(n, "home", word) for n, word in enumerate(["dinner", "garden", "laundry"])])
    evaluator = mail_evaluator(lm)
    found = find_mistakes(examples, evaluator.labels(rules, examples.examples, stage="before"))
    before = len(calls(lm))
    done = trace_to_rules(found, rules, examples, evaluator, ResolveConfig(blame_calls=bound))
    return {keyword(examples.examples[one.row]): one.rule for one in done}, calls(lm)[before:]


def test_leaving_rules_out_finds_the_one_that_an_error_leans_on():
    """Without spam-2, dinner is right; garden is wrong without either of its two rules; laundry leans on none."""
    blamed, asked = trace(student_lm("spam"))
    assert blamed == {"dinner": "spam-2", "garden": None, "laundry": None}
    assert len(asked) == 2 * 3 + 2  # without each of three rules that answer spam, but dinner not after spam-2
    assert {len(rules_in(call.system)) for call in asked} == {4}
    assert all("meeting" in call.system for call in asked)


def test_a_rule_without_which_the_answer_changes_is_blamed_where_none_makes_it_right():
    blamed, _ = trace(student_lm("work"), rule_set(rule("spam-2", "garden", "spam")))
    assert blamed["garden"] == "spam-2"


def test_the_rule_without_which_the_answer_is_right_comes_before_one_without_which_it_changes():
    def answer(system: str, user: str) -> str:
        return "work" if "lottery" not in system else "home" if "garden" not in system else "spam"

    rules = rule_set(rule("spam-1", "lottery", "spam"), rule("spam-2", "garden", "spam"))
    assert set(trace(fn_lm(answer, cache=False), rules)[0].values()) == {"spam-2"}


def blamed_on(rules: list[Rule], *, bound: int | None = None) -> tuple[list[str | None], int]:
    """Return the rules that six errors about dinner, taken for spam, are traced to, and the calls that it took."""
    lm = student_lm()
    train = [mail(0, "spam", "dinner"), *(mail(n + 1, "home", "dinner") for n in range(6))]
    examples, evaluator, tried = pool(train), mail_evaluator(lm), rule_set(*rules, HOME)
    found = find_mistakes(
        examples, evaluator.labels(tried, examples.examples[: len(train)], stage="before") + [None] * 30
    )
    before = len(calls(lm))
    done = trace_to_rules(found, tried, examples, evaluator, ResolveConfig(blame_calls=bound))
    return [one.rule for one in done], len(calls(lm)) - before


DECOYS = [rule(f"spam-{n}", f"zeppelin{n}", "spam") for n in range(1, 7)]


def test_an_error_that_a_rules_absence_mends_is_asked_no_further():
    culprit = rule("spam-9", "dinner", "spam")
    assert blamed_on([culprit, *DECOYS]) == (["spam-9"] * 6, 6)  # not 7 x 6
    assert blamed_on([*DECOYS, culprit]) == (["spam-9"] * 6, 7 * 6)


def test_rules_drawn_from_examples_like_the_errors_are_left_out_first():
    culprit = rule("spam-9", "dinner", "spam", support=["m0"])
    assert blamed_on([*DECOYS, culprit]) == (["spam-9"] * 6, 6)


def test_among_rules_without_support_the_one_suspected_of_most_errors_is_left_out_first():
    """Home's own rules are suspected of none of them, a rule without labels of all."""
    culprit = rule("spam-9", "dinner", "spam")
    others = [rule(f"work-{n}", f"zeppelin{n}", "work") for n in range(4)]
    assert blamed_on([*others, culprit], bound=6) == (["spam-9"] * 6, 6)


def test_diagnosis_ends_at_its_bound():
    culprit = rule("spam-9", "dinner", "spam", support=["m0"])
    assert blamed_on([*DECOYS, culprit], bound=4) == (["spam-9"] * 4 + [None] * 2, 4)
    unsupported = rule("spam-9", "dinner", "spam")
    assert blamed_on([*DECOYS, unsupported], bound=15) == ([None] * 6, 15)


def test_a_rule_without_labels_is_always_left_out():
    bare = Rule(id="x", wordings=(instruction("garden", "spam"),))
    assert trace(student_lm("work"), rule_set(bare))[0]["garden"] == "x"


def test_nothing_need_be_traced():
    assert trace(student_lm("spam"), bound=0) == (dict.fromkeys(("dinner", "garden", "laundry")), [])


def test_conflicts_are_errors_of_one_rule_or_of_one_confusion():
    found = [mistake(2, "home", "spam", "spam-1"), mistake(5, "work", "spam", "spam-1"), mistake(8), mistake(11)]
    answers = [None] * 2 + ["home"] + [None] * 87
    made = group([*found, mistake(4, "work", "home")], pool(), answers, ResolveConfig(neighbours=2))
    assert [(one.rule, one.rows) for one in made] == [("spam-1", [2, 5]), (None, [8, 11]), (None, [4])]
    assert (made[0].labels, made[0].example_ids) == (("home", "work"), ("m2", "m5"))
    limited = group(found, pool(), answers, ResolveConfig(errors_per_call=1, max_patches=1))
    assert [(one.rule, one.rows) for one in limited] == [("spam-1", [2])]


def test_no_more_errors_of_a_kind_are_listed_than_a_conflict_shows():
    found = [*(mistake(n) for n in range(5)), mistake(5, "work"), mistake(6, "work"), mistake(7, "spam", "work")]
    listed = shortlist(found, ResolveConfig(errors_per_call=2))
    assert [one.row for one in listed] == [0, 1, 5, 6, 7]
    assert sum(one.cost for one in listed) == pytest.approx(sum(one.cost for one in found))
    assert [round(one.cost, 3) for one in listed] == [0.25, 0.25, 0.1, 0.1, 0.1]
    assert shortlist(found, ResolveConfig(errors_per_call=2, max_patches=2)) == listed[:4]


def test_neighbours_are_correct_training_examples_nearby():
    train = [
        mail(n, "home", word) for n, word in enumerate(["dinner party", "garden", "dinner tonight", "dinner party"])
    ]
    answers = ["spam", "home", "home", "work", *["home"] * 30]
    [made] = group([mistake(0)], pool(train), answers, ResolveConfig(neighbours=1))
    assert made.neighbours == (2,)


def guard(size: int, *, neighbours: tuple[int, ...] = (2, 11)) -> list[int]:
    shown = Conflict((mistake(5), mistake(8)), "spam-1", neighbours)
    done = apply_patch(Patch(kind="retire"), RULES, [], shown)
    return guard_rows(shown, done, pool(), size=size, rng=np.random.default_rng(0))


def test_a_guard_holds_the_neighbours_the_nearest_and_a_draw_of_the_rest_but_no_error_it_was_made_for():
    rows = guard(40)
    assert rows[:2] == [2, 11]
    assert len(rows) == len(set(rows)) == 40
    assert not {5, 8} & set(rows)
    words = {keyword(TRAIN[row]) for row in (0, 5, 8)}
    examples = [*TRAIN, *VAL]
    near, drawn = rows[2:21], rows[21:]
    assert sum(keyword(examples[row]) in words for row in near) > 15
    assert max(Counter(examples[row].label for row in drawn).values()) <= 9
    assert any(row >= len(TRAIN) for row in rows)


def test_examples_that_a_rule_of_the_bench_was_made_from_do_not_speak_for_its_return():
    support = [f"m{row}" for row in (2, 14, 17, 20)]
    bench = [rule("home-2", "garden", "home", support=support)]
    shown = Conflict((mistake(5), mistake(8)), None, (2, 11))
    done = apply_patch(Patch(kind="add", texts=(bench[0].text,)), RULES, bench, shown)
    rows = guard_rows(shown, done, pool(), size=500, rng=np.random.default_rng(0))
    assert rows[0] == 11
    assert sorted([*rows, 2, 5, 8, 14, 17, 20]) == list(range(90))


def test_a_better_answer_that_is_not_yet_right_wins_under_a_users_metric():
    def half_for_work(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        return 1.0 if prediction.label == example.label else 0.5 if prediction.label == "work" else 0.0

    before, after = rule_set(rule("spam-1", "about", "spam")), RuleSet()
    evaluator = mail_evaluator(student_lm("work"))
    graded = replace(evaluator, objective=Objective(metric=half_for_work))
    homes = [row for row, one in enumerate(TRAIN) if one.label == "home"]
    shown = Conflict(tuple(mistake(row) for row in homes[:2]), None, ())
    rows = [*homes[2:12], *(row for row, one in enumerate(TRAIN) if one.label == "spam")][:12]
    errors, examples = pool().take(shown.rows), pool().take(rows)
    refused, passed = (judge(before, after, errors, examples, one, alpha=0.15) for one in (evaluator, graded))
    assert "mends none" in refused.reason
    assert not refused.on_guard
    assert (passed.passed, passed.wins, passed.losses, passed.on_guard) == (True, 10, 2, True)
    assert passed.gain == pytest.approx((10 * 0.5 - 2 * 0.5) / 12)


def test_long_texts_are_shown_to_the_teacher_without_their_middle():
    assert cut_middle("short") == "short"
    shown = cut_middle("begin " + "x" * 9_000 + " end")
    assert len(shown) <= SHOWN_CHARACTERS
    assert shown.startswith("begin x")
    assert shown.endswith("x end")
    assert "[...]" in shown


def test_a_guard_is_all_there_is_where_that_is_less():
    assert sorted([*guard(500), 5, 8]) == list(range(90))
    assert guard(1, neighbours=(2, 11)) == [2, 11]


@pytest.mark.parametrize("alpha", [0.05, 0.15, 0.4])
def test_giving_up_early_refuses_what_asking_all_would_refuse_and_nothing_else(alpha):
    rng = np.random.default_rng(0)
    given_up = 0
    for _ in range(100):
        n, before, after = rng.integers(0, 40), *rng.uniform(0.1, 1, size=2)
        was, now = np.sort(rng.random(n) < before), rng.random(n) < after
        asked = 0
        while rest := fewest_until_rejected(now[:asked], was, alpha=alpha):
            asked += rest
        assert (chance_to_win(now[:asked], was[:asked]) > 1 - alpha) == (chance_to_win(now, was) > 1 - alpha)
        if 0 < asked < n:
            given_up += 1
            assert fewest_until_rejected(now[: asked - 1], was, alpha=alpha) == 1, "no answer was asked too many"
    assert given_up > 10


def test_a_patch_that_has_too_few_errors_to_win_by_is_given_up_unasked():
    right, one_wrong = np.ones(50, dtype=bool), np.array([False, *[True] * 49])
    nothing = np.zeros(0, dtype=bool)
    assert (
        fewest_until_rejected(nothing, right, alpha=0.15) == fewest_until_rejected(nothing, one_wrong, alpha=0.15) == 0
    )
    two_wrong = np.array([False, False, *[True] * 48])
    assert fewest_until_rejected(nothing, two_wrong, alpha=0.15) == 1
    assert fewest_until_rejected(np.array([True, True]), two_wrong, alpha=0.15) == 1
    assert fewest_until_rejected(np.array([True, True, False]), two_wrong, alpha=0.15) == 0


def test_a_patch_without_a_guard_is_not_trusted():
    rules = rule_set(rule("spam-1", "about", "spam"))
    errors = pool().take(conflict().rows)
    verdict = judge(rules, RuleSet(), errors, [], mail_evaluator(student_lm("home")), alpha=0.15)
    assert (verdict.passed, verdict.asked, verdict.gain) == (False, 2, None)
    assert "on 0 of 0 other examples" in verdict.reason


def screen(kind: str, *texts: str, to: str = "", rules: RuleSet = RULES) -> None:
    patch = Patch(kind=kind, rule=to, texts=texts)
    check_novel(patch, apply_patch(patch, rules, BENCH, conflict()), rules, conflict(), mail_task())


@pytest.mark.parametrize(
    ("kind", "texts", "said"),
    [
        (
            "add",
            [
                "...",
            ],
            "a text has no words",
        ),
        ("add", [TRAIN[5].text], "repeats the input of the error m5"),
        ("add", ["A prize is spam. (unusable: a text names none of the labels)"], "repeats the form in which errors"),
        ("add", ["About the garden\nright answer: home; its answer: spam"], "repeats the form in which errors"),
        ("add", [f"About the {keyword(TRAIN[8])}: Mail 8."], "names none of the labels"),
        (
            "rewrite",
            [f"{TRAIN[5].text} right answer: home; its answer: spam; it leaned on the rule spam-1"],
            "error m5",
        ),
        ("add", [f'If the text says "{TRAIN[8].text}", answer home.'], "error m8"),
        ("add", ["Think twice."], "names none of the labels"),
        ("split", ["If it is new, answer spam.", "Otherwise think."], "names none of the labels"),
        ("split", ["If it is new, answer spam.", "If it is the new: answer SPAM"], "two of its texts say the same"),
        ("split", ["If it is new, answer spam.", HOME.text.upper()], "the rule home-1 says that already"),
        ("add", ["IF a text mentions dinner: answer home!"], "the rule home-1 says that already"),
        ("add", [f"home-1: {HOME.text}"], "the rule home-1 says that already"),
        ("add", [instruction("jackpot", "spam")], "the rule spam-1 says that already"),
        ("rewrite", [HOME.text], "the rule home-1 says that already"),
        ("rewrite", ["If text mentions the winner - answer spam"], "it leaves the rule spam-1 as it is"),
        ("add_exception", ["answer spam"], "the rule spam-1 says that already"),
        ("add_exception", [SPAM.text], "it leaves the rule spam-1 as it is"),
    ],
)
def test_a_text_that_holds_nothing_new_is_refused_before_the_student_is_asked(kind, texts, said):
    with pytest.raises(Unusable, match=said):
        screen(kind, *texts)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("rewrite", [instruction("jackpot", "spam")]),
        ("rewrite", [instruction("winner", "home")]),
        ("add", [BENCH[0].text]),
        ("add", [f"If the text mentions {keyword(TRAIN[5])} or tells of a family supper, answer home."]),
        ("add", [f"If the sender plans a party, as in {TRAIN[5].text}, answer home."]),
        ("add", ["Answer home."]),
        ("add_exception", ["if it is old, answer home."]),
        ("split", [instruction("winner", "spam"), instruction("prize", "spam")]),
        ("retire", []),
    ],
)
def test_a_text_with_anything_new_in_it_is_tried(kind, texts):
    screen(kind, *texts)


def test_a_rule_that_names_no_label_may_be_reworded_without_one():
    bare = rule_set(Rule(id="note", wordings=("Read the whole text.",)), HOME)
    screen("rewrite", "Read every word.", to="note", rules=bare)
    with pytest.raises(Unusable, match="none of the labels"):
        screen("rewrite", "Read every word.", to="home-1", rules=bare)


def test_a_stratified_draw_keeps_the_share_of_each_label():
    labels = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    rows = stratified(labels, range(100), 20, np.random.default_rng(0))
    assert Counter(labels[row] for row in rows) == {"a": 12, "b": 6, "c": 2}
    assert rows == sorted(set(rows))
    assert rows != stratified(labels, range(100), 20, np.random.default_rng(1))
    assert stratified(labels, range(100), 100, np.random.default_rng(0)) == list(range(100))
    assert stratified(labels, range(100), 0, np.random.default_rng(0)) == []


def test_the_pool_names_its_training_examples_as_rules_do():
    bare = [dspy.Example(text=f"text {n}", label="home").with_inputs("text") for n in range(40)]
    drawn = pool(bare, sample=7)
    assert len(drawn.train) == 7
    assert len(drawn.examples) == 37
    for example_id, row in drawn.train.items():
        assert drawn.examples[row].text == example_id.replace("row-", "text ")
    assert drawn.rows_of(["row-999", *drawn.train]) == list(range(7))


def test_the_teacher_is_told_of_a_rule_whole_and_of_ramblings_by_their_beginning():
    rule_text, rambling = instruction("x", "spam"), "and so on " * 400
    shown = {"round": 1, "kind": "add", "source": "teacher", "errors": ()}
    said = PatchRecord(**shown, after=(rule_text, rambling), reason="too long").correction
    assert said.startswith(f"add | {rule_text} | and so on")
    assert said.endswith(" ... (unusable: too long)")
    assert len(said) < 900
    assert (
        PatchRecord(**shown, after=(rule_text,), reason="tried before").correction
        == f"add | {rule_text} (unusable: tried before)"
    )
