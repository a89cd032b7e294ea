"""Fixed demonstrations: how they are drawn, and that the search takes them where the student learns from them."""

import json

import dspy
import pytest
from engine import calls, fn_lm
from tasks import (
    LABELS,
    TRAIN,
    VAL,
    WORDS,
    Mail,
    compiled,
    keyword,
    leaning_lm,
    mail,
    mail_evaluator,
    mails,
    pld,
    rule,
    student,
    student_lm,
)

from pld_dspy.errors import DataError
from pld_dspy.rules import RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import read_trials
from pld_dspy.search.demonstrations import MOST_TOKENS, draw_demonstrations
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.storage import find_study, open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.compose import with_rules

READS = {example.id: {"text": example.text} for example in TRAIN}
GOLDS = [example.label for example in TRAIN]
NEEDED = [rule(f"{label}-{word}", word, label) for label in ("spam", "home") for word in WORDS[label]]
USELESS = [rule("none-1", "submarine", "spam"), rule("none-2", "airship", "home")]
KINDS = ["baseline", "all rules", "rules and demonstrations", "demonstrations"]
CONFIG = SearchConfig(screen_calls=144, trials=2, block=12, demos=9)


def imitator() -> dspy.LM:
    """A student that answers as it was shown for the same keyword, else "work"; it reads no rule."""

    def answer(seen: str, user: str) -> str:
        shown = dict(line.split(" => ") for line in seen.splitlines() if " => " in line)
        return next((label for text, label in shown.items() if text.split()[-1] == user.split()[-1]), "work")

    return fn_lm(answer, model="custom/imitator", sees_demos=True, cache=False)


def test_labels_take_turns_halves_are_nested_and_draws_differ():
    choices = draw_demonstrations(READS, GOLDS, most=6, seed=0)
    assert choices[0] == ()
    assert [len(choice) for choice in choices[1:]] == [3, 6] * 3
    for half, whole in zip(choices[1::2], choices[2::2], strict=True):
        assert whole[:3] == half
        assert sorted(demo.label for demo in half) == sorted(LABELS)
        assert sorted(demo.label for demo in whole) == sorted([*LABELS, *LABELS])
    assert len({tuple(demo.example_id for demo in choice) for choice in choices[2::2]}) == 3
    assert all(demo.inputs == READS[demo.example_id] for choice in choices for demo in choice)
    assert draw_demonstrations(READS, GOLDS, most=6, seed=0) == choices
    assert draw_demonstrations(READS, GOLDS, most=6, seed=1) != choices


def test_doubted_examples_are_not_drawn_and_long_draws_are_cut():
    doubted = {example.id for example in TRAIN if keyword(example) != "lottery"}
    known = {
        demo.example_id for choice in draw_demonstrations(READS, GOLDS, most=6, doubted=doubted) for demo in choice
    }
    assert known
    assert not known & doubted
    long = {name: {"text": "word " * (MOST_TOKENS // 3)} for name in READS}
    assert {len(choice) for choice in draw_demonstrations(long, GOLDS, most=8)} == {0, 1, 2}
    assert draw_demonstrations(READS, GOLDS, most=0) == ((),)


def test_own_demonstrations_stay_first_and_the_users_program_as_it_was():
    program = student()
    program.demos = [dspy.Example(text="own", label="spam")]
    chosen = RuleSet(demos=draw_demonstrations(READS, GOLDS, most=4)[2])
    shown = with_rules(program, mail_evaluator(imitator()).task, chosen)
    assert [demo.text for demo in shown.demos] == ["own", *(demo.inputs["text"] for demo in chosen.demos)]
    assert [demo.label for demo in shown.demos][1:] == [demo.label for demo in chosen.demos]
    assert len(program.demos) == 1


def test_the_search_takes_demonstrations_where_the_student_learns_from_them_alone():
    choices = draw_demonstrations(READS, GOLDS, most=9)
    evaluator = mail_evaluator(imitator())
    found = RuleSearch(USELESS, evaluator, mails(36, start=100), study=open_study(), config=CONFIG, demos=choices).run()
    assert found.best is not None
    assert found.best.demos in choices[1:]
    assert found.objective > found.baseline + 0.2
    assert [trial.kind for trial in found.trials[:4]] == KINDS
    alone = found.trials[3]
    assert alone.rules == RuleSet(demos=choices[-1])
    assert alone.objective > found.baseline


@pytest.mark.parametrize(("wordings", "alone"), [(1, 1), (2, 1), (2, 0)])
def test_few_validation_examples_ask_the_best_whole_list_with_demonstrations_too(wordings, alone):
    """The student follows what it is shown, and where that says nothing, its rules.

    Demonstrations alone are asked last, where calls are left: they are the least likely to be best.
    """
    choices, by_rules, by_demos = draw_demonstrations(READS, GOLDS, most=3), student_lm("work"), imitator()

    def answer(seen: str, user: str) -> str:
        shown = by_demos.engine.fn(seen, user)
        return by_rules.engine.fn(seen, user) if shown == "work" else shown

    lm = fn_lm(answer, sees_demos=True, cache=False)
    words = {demo.inputs["text"].split()[-1] for demo in choices[-1]}
    needed = [one for one in NEEDED if not any(word in one.text for word in words)]
    rules = [one.model_copy(update={"wordings": ("Look.", one.text)[-wordings:]}) for one in needed]
    val = mails(36, start=100)
    config = SearchConfig(demos=3, calls=len(val) * (2 + wordings + alone)).on(len(val))
    found = RuleSearch(rules, mail_evaluator(lm), val, study=open_study(), config=config, demos=choices).run()
    assert [trial.kind for trial in found.trials] == [*KINDS[:2], *["reworded"] * (wordings - 1), *KINDS[2 : 3 + alone]]
    assert [one.text for one in found.best.rules] == [one.text for one in needed]
    assert found.best.demos == choices[-1]
    assert len(calls(lm)) == config.most_calls(len(val), whole=wordings)


@pytest.mark.parametrize("helped", [0, 1])
def test_demonstrations_stay_where_the_list_with_them_is_best(tmp_path, helped):
    """They help a student that else follows its rules with one answer, or with none."""
    by_rules, texts = student_lm("work"), {one.text: one.label for one in VAL[:helped]}

    def answer(seen: str, user: str) -> str:
        said = by_rules.engine.fn(seen, user)
        return said if " => " in seen or user not in texts else next(one for one in LABELS if one != texts[user])

    optimizer = pld(tmp_path, search=SearchConfig(screen_calls=0, trials=0, demos=9))
    compiled(optimizer, student(fn_lm(answer, sees_demos=True, cache=False)))
    found = {one.kind: one.objective for one in read_trials(tmp_path / "trials.csv")}
    assert (found["rules and demonstrations"] > found["all rules"]) is bool(helped)
    assert bool(optimizer.result.rules.demos) is bool(helped)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """A calibrated compile that may choose demonstrations: LM, optimizer, program and folder."""
    folder, lm = tmp_path_factory.mktemp("demos"), leaning_lm(skill=0.3, sees_demos=True)
    optimizer = pld(folder, search=CONFIG, calibrate=True)
    return lm, optimizer, compiled(optimizer, student(lm)), folder


def test_what_a_compile_leaves_holds_the_demonstrations(done):
    lm, optimizer, program, folder = done
    result, files = optimizer.result, RunFolder(folder)
    chosen = result.rules
    assert chosen.demos, "the student of this test gains by demonstrations"
    assert RuleSet.from_yaml(files.rules.read_text()).demos == chosen.demos
    assert "demonstrations/" in files.trials.read_text()
    plain = dspy.Predict(Mail)
    plain.load_state(json.loads(files.program.read_text()))
    assert [demo["text"] for demo in plain.demos] == [demo.inputs["text"] for demo in chosen.demos]
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        program(text="Mail 1 about the lottery")
    asked = calls(lm)[-1]
    assert [text for role, text in asked.messages if role == "user"][:-1] == [
        demo.inputs["text"] for demo in chosen.demos
    ]


def test_no_demonstration_is_asked_about_itself(done):
    _, optimizer, _, _ = done
    result = optimizer.result
    assert result.costs["student"]["calibrate"].calls == 2 * (len(TRAIN) - len(result.rules.demos))
    assert result.calibration.n == len(TRAIN) - len(result.rules.demos) + result.counts["validation"]


def test_run_again_it_asks_nothing_and_others_find_the_same_choices(done):
    lm, optimizer, _, folder = done
    before = len(calls(lm))
    again = pld(folder, search=CONFIG, calibrate=True)
    compiled(again, student(lm))
    assert len(calls(lm)) == before
    assert again.result.rules == optimizer.result.rules
    _, space = find_study(RunFolder(folder).study, prefix=RunFolder(folder).fingerprint)
    assert optimizer.result.rules.demos in space.demos


def test_a_run_with_demonstrations_is_not_updated(done, tmp_path):
    lm, _, _, folder = done
    more = mail(900, "spam", "jackpot")
    with pytest.raises(DataError, match=r"chose demonstrations \(demos=N\).*Compile anew"):
        compiled(pld(tmp_path, rules_of=folder, search=CONFIG, calibrate=True), student(lm), trainset=[*TRAIN, more])
