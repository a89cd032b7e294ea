"""The search finds the best rules of a student whose answers follow from its rules, and can be stopped anywhere."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import numpy as np
import optuna
import pytest
from engine import calls
from tasks import WORDS, finished_trial, mail_evaluator, mails, rule, student_lm

from pld_dspy.errors import BudgetExceeded, DataError, RunError
from pld_dspy.ledger.budget import Budget
from pld_dspy.rules import Rule
from pld_dspy.scoring.objective import Objective
from pld_dspy.search.insight import Insights
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import SearchResult
from pld_dspy.search.space import Space
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.search.trials import FinishedTrial

VAL = mails(60)
NEEDED = [rule(f"{label}-{word}", word, label) for label in ("spam", "home") for word in WORDS[label]]
HARMFUL = [
    rule("harm-mail", "mail", "home"),  # fits every example
    rule("harm-winner", "winner", "home"),
    rule("harm-dinner", "dinner", "work"),
    rule("harm-meeting", "meeting", "spam"),
]
INERT = [rule("inert-1", "submarine", "spam"), rule("inert-2", "airship", "work")]
RULES = [*HARMFUL[1:3], *NEEDED[:3], *INERT, *HARMFUL[3:], *NEEDED[3:]]
PLAIN = SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=6)
QUICK = SearchConfig(screen_calls=96, trials=4, block=12)
SHORT = {"rules": [*HARMFUL[:2], *NEEDED[:4]], "val": VAL[:24]}


def changed(config: SearchConfig, **values: Any) -> SearchConfig:
    return SearchConfig(**{**dict(config), **values})


def assert_same(one: SearchResult, other: SearchResult) -> None:
    assert one.insight == other.insight
    found, again = (asdict(replace(result, own_seconds=0.0, around=None)) for result in (one, other))
    np.testing.assert_equal(found, again)


def search(
    lm: dspy.LM,
    config: SearchConfig,
    *,
    rules: list[Rule] = RULES,
    val: list[dspy.Example] = VAL,
    seed: int = 0,
    folder: Path | None = None,
    on_trial: Any = None,
    **ledger: Any,
) -> RuleSearch:
    return RuleSearch(
        rules,
        mail_evaluator(lm, folder and folder / "predictions.jsonl", **ledger),
        val,
        study=open_study(folder and folder / "study.log"),
        config=config,
        seed=seed,
        on_trial=on_trial,
    )


def test_the_known_best_rules_are_found():
    """The student says "work" of its own; it needs six rules, and three of the others mislead it."""
    found = search(student_lm("work"), SearchConfig(screen_calls=800, trials=12, block=40)).run()
    chosen = {one.id: one for one in found.best.rules}
    assert (found.baseline, found.objective) == (pytest.approx(1 / 6), 1.0)
    assert next(trial.objective for trial in found.trials if trial.kind == "all rules") < 0.85
    assert {one.id for one in NEEDED} <= set(chosen)
    assert len(chosen) <= len(NEEDED) + 2
    assert sorted([*chosen, *(one.id for one in found.bench)]) == sorted(one.id for one in RULES)


@pytest.mark.parametrize("seed", range(3))
def test_the_wording_that_works_is_found_and_a_rule_that_fits_everything_is_left_out(seed):
    spam = rule("spam", "zeppelin", "spam", "submarine", "lottery, winner, jackpot")
    home = rule("home", "dinner, garden, laundry", "home")
    config = SearchConfig(screen_calls=450, trials=10, block=15)
    found = search(student_lm("work"), config, rules=[HARMFUL[0], spam, home], val=VAL[:30], seed=seed).run()
    assert {(one.id, one.chosen) for one in found.best.rules} == {("spam", 2), ("home", 0)}
    assert [one.id for one in found.bench] == ["harm-mail"]


def test_the_unchanged_student_comes_back_when_nothing_helps():
    found = search(student_lm(answer_by_keyword), QUICK, rules=[*HARMFUL, *INERT], val=VAL[:24]).run()
    assert found.best is None
    assert (found.baseline, found.objective) == (1.0, 1.0)
    assert {one.id for one in found.bench} == {one.id for one in [*HARMFUL, *INERT]}


def answer_by_keyword(text: str) -> str:
    return next(label for label, words in WORDS.items() if any(word in text for word in words))


def test_a_plain_search_asks_every_trial_in_full_and_is_told_its_raw_objective():
    study_search = search(student_lm(), PLAIN)
    found = study_search.run()
    assert [trial.kind for trial in found.trials] == ["baseline", "all rules", *["race"] * 6]
    assert [trial.step for trial in found.trials] == list(range(8))
    for trial in found.trials:
        assert trial.asked == len(VAL)
        assert trial.value == trial.objective
        evaluation = study_search.evaluator.evaluate(trial.rules, VAL, stage="check")
        assert trial.objective == evaluation.score.macro_f1
        assert trial.correct.sum() == round(evaluation.score.accuracy * len(VAL))
    assert study_search.study.best_value == found.objective == max(trial.objective for trial in found.trials)


def test_the_first_trials_are_the_guards():
    trials = search(student_lm(), QUICK, **SHORT).run().trials
    assert trials[0].rules is None
    assert [one.id for one in trials[1].rules.rules] == [one.id for one in SHORT["rules"]]
    assert {one.chosen for one in trials[1].rules.rules} == {0}
    assert [trial.kind for trial in trials[2:]] == [*["screen"] * 8, *["race"] * 4, *["confirm"] * 2]
    assert {trial.asked for trial in trials[2:10]} == {12}
    assert [trial.asked for trial in (*trials[:2], *trials[-2:])] == [24, 24, 24, 24]


@pytest.mark.parametrize(("calls", "kinds"), [(None, 3), (72, 3), (71, 2)])
def test_all_rules_are_asked_in_their_second_wordings_where_the_calls_suffice(calls, kinds):
    reworded = [one.model_copy(update={"wordings": (one.text, f"{one.text} Always.")}) for one in SHORT["rules"]]
    config = SearchConfig(screen_calls=0, trials=0, calls=calls)
    found = search(student_lm(), config, rules=reworded, val=SHORT["val"]).run()
    assert [trial.kind for trial in found.trials] == ["baseline", "all rules", "reworded"][:kinds]
    assert sum(trial.asked for trial in found.trials) == config.most_calls(24) == 24 * kinds


@pytest.mark.parametrize(("calls", "asked"), [(None, 4), (120, 4), (119, 3), (72, 2), (47, 1)])
def test_a_teachers_rules_and_the_extracted_ones_are_a_list_each(calls, asked):
    """The teacher's are wrong here, so the extracted ones win; a person's rule is in both lists."""
    wrong = rule("t-1", "meeting", "home", "invoice").model_copy(update={"origins": ("teacher cues", "cues")})
    own = rule("user-rule-1", "zeppelin", "spam").model_copy(update={"origins": ("people",)})
    twice = {"wordings": (NEEDED[0].text, f"{NEEDED[0].text} Always."), "origins": ("micro-rule", "cues")}
    extracted = NEEDED[0].model_copy(update=twice)
    config = SearchConfig(screen_calls=0, trials=0, calls=calls)
    found = search(student_lm(), config, rules=[wrong, own, extracted], val=SHORT["val"]).run()
    lists = [["t-1", "user-rule-1"], ["user-rule-1", extracted.id]]
    kinds = ["all rules", "extracted reworded", "reworded", "extracted rules"][:asked]
    assert [trial.kind for trial in found.trials] == ["baseline", *kinds]
    sets = [trial.rules.rules for trial in found.trials[1:]]
    assert [[one.id for one in rules] for rules in sets] == [*lists, *lists][:asked]
    assert [{one.chosen for one in rules} for rules in sets] == [{0}, {0, 1}, {0, 1}, {0}][:asked]
    assert sum(trial.asked for trial in found.trials) == config.most_calls(24, whole=4) == 24 * (1 + asked)
    if asked > 1:
        assert [one.id for one in found.best.rules] == lists[1]
        assert found.bench == [wrong]


def test_a_list_without_second_wordings_is_asked_once():
    extracted = NEEDED[0].model_copy(update={"origins": ("micro-rule",)})
    wrong = rule("t-1", "meeting", "home", "invoice").model_copy(update={"origins": ("teacher cues", "cues")})
    assert list(Space((wrong, extracted)).whole_lists) == ["all rules", "extracted reworded", "reworded"]
    assert list(Space((extracted,)).whole_lists) == ["all rules"]
    unknown = rule("u-1", "meeting", "work").model_copy(update={"origins": ("",)})  # as people may leave it
    assert list(Space((unknown, extracted)).whole_lists) == ["all rules"]


class Remembering(optuna.samplers.RandomSampler):
    """A user's sampler that notes what it was asked for."""

    asked = 0

    def sample_independent(self, *args: Any) -> Any:
        type(self).asked += 1
        return super().sample_independent(*args)


def test_a_users_sampler_proposes():
    trials = search(student_lm(), SearchConfig(screen_calls=0, trials=4, sampler=Remembering(seed=1))).run().trials
    assert Remembering.asked == 4 * len(RULES) * 2  # whether and where, for each rule
    assert len({trial.rules.render() for trial in trials[2:]}) == 4


def test_a_hopeless_candidate_is_dropped_early_and_a_better_one_is_not():
    """With six of seven rules harmful, most candidates are hopeless beside the unchanged student."""
    rules = [rule(f"harm-{word}", word, "spam") for label in ("work", "home") for word in WORDS[label]]
    settings = {"screen_calls": 0, "trials": 8, "block": 10, "sampler": optuna.samplers.RandomSampler(seed=0)}
    trials = search(student_lm(answer_by_keyword), SearchConfig(**settings), rules=rules).run().trials[2:]
    assert min(trial.asked for trial in trials) <= 20
    assert all(trial.asked % 10 == 0 for trial in trials)
    assert [trial.objective is None for trial in trials] == [trial.asked < len(VAL) for trial in trials]
    better = search(student_lm(), SearchConfig(**settings), rules=[HARMFUL[0], *NEEDED[1:]]).run().trials[2:]
    assert max(trial.asked for trial in better) == len(VAL)


@pytest.mark.parametrize("kind", ["screen", "race"])
def test_every_block_has_all_labels_in_proportion(kind):
    made = search(student_lm(), SearchConfig(screen_calls=96, trials=4, block=12), val=VAL)
    for step in range(5):
        blocks = made._blocks(made.plan.guards + step, kind)
        for block in blocks:
            assert {label: [VAL[row].label for row in block].count(label) for label in WORDS} == dict.fromkeys(WORDS, 4)
        assert len(set(np.concatenate(blocks).tolist())) == (12 if kind == "screen" else len(VAL))


def test_a_trial_is_told_its_answers_blended_with_what_the_model_expects(monkeypatch):
    made = search(student_lm(), changed(QUICK, parsimony=0.01), **SHORT)
    monkeypatch.setattr(
        made.model, "posterior", lambda _: SimpleNamespace(surrogate=SimpleNamespace(value=lambda _: 0.4))
    )
    trial = finished_trial(made.space.all(), np.arange(20), np.ones(20, dtype=bool))
    assert made.model.value([], trial) == pytest.approx((20 * 1.0 + 60 * 0.4) / 80 - 0.01 * 6)
    trial = replace(trial, objective=0.7)
    assert made.model.value([], trial) == pytest.approx((20 * 0.7 + 60 * 0.4) / 80 - 0.01 * 6)


def test_the_first_race_is_for_a_screened_set_and_every_sixth_is_the_samplers():
    made = search(student_lm(), changed(QUICK, trials=8), **SHORT)
    while made.plan.next().user_attrs["kind"] == "screen" or len(made.trials) < 2:
        made._step(made.plan.next())
    screened = {made.space.lines(trial.candidate) for trial in made.trials if trial.kind == "screen"}
    proposed = [made._proposal(made.plan.first_race + number, "race") for number in range(6)]
    assert made.space.lines(proposed[0]) in screened
    assert [one is None for one in proposed] == [False] * 5 + [True]
    assert all(made.space.lines(one) not in screened for one in proposed[1:5]), "changed after draws from the model"


@pytest.mark.parametrize(("hoped", "expected"), [(0.9, 0.99), (0.5, 1.0)])
def test_of_two_that_did_about_as_well_the_one_that_the_model_expects_more_of_is_chosen(monkeypatch, hoped, expected):
    done = search(student_lm("work"), changed(PLAIN, trials=0))
    done.run()
    first = replace(done.trials[1], objective=1.0)
    other = replace(first, step=2, candidate=first.candidate.with_rule(0, use=False), objective=0.99)
    done.trials = [done.trials[0], first, other]
    view = SimpleNamespace(value=lambda one: hoped if one is other.candidate else 0.5)
    monkeypatch.setattr(done.model, "posterior", lambda seen: SimpleNamespace(surrogate=view))
    monkeypatch.setattr(Insights, "around", lambda *_: None)
    assert done._result(None).objective == expected


def test_the_objective_decides_what_is_best():
    """Spam is rare here: accuracy shuns the rule that finds it at the price of some work, macro-F1 does not."""
    val = [one for one in mails(180) if one.label == "work" or (one.label == "spam" and int(one.id[1:]) % 18 == 0)]
    rules = [rule("spam-any", "winner, lottery, jackpot, meeting", "spam")]
    best = {}
    for objective in ("macro_f1", "accuracy"):
        evaluator = mail_evaluator(student_lm("work"))
        object.__setattr__(evaluator, "objective", Objective(objective))
        best[objective] = RuleSearch(rules, evaluator, val, study=open_study(), config=PLAIN).run().best
    assert best["macro_f1"] is not None
    assert best["accuracy"] is None


@pytest.mark.parametrize("cap", [25, 60, 150])
def test_a_cap_stops_with_the_best_so_far(cap):
    lm = student_lm()
    found = search(lm, QUICK, **SHORT, budget=Budget(student_calls=cap)).run()
    assert len(calls(lm)) == cap
    assert f"cap of {cap} student calls" in found.stopped
    assert found.objective == max(trial.objective for trial in found.trials if trial.objective is not None)


def test_a_cap_below_the_baseline_is_an_error():
    with pytest.raises(BudgetExceeded):
        search(student_lm(), QUICK, **SHORT, budget=Budget(student_calls=23)).run()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchResult, int]:
    lm = student_lm()
    return search(lm, QUICK, **SHORT, folder=tmp_path_factory.mktemp("whole")).run(), len(calls(lm))


@pytest.mark.parametrize("stops", [[24, 61, 150], [40, 100, 185, 200]])
def test_a_search_stopped_by_caps_and_taken_up_again_is_the_same_search(tmp_path, uninterrupted, stops):
    lm = student_lm()
    for cap in stops:
        search(lm, QUICK, **SHORT, folder=tmp_path, budget=Budget(student_calls=cap)).run()
        assert len(calls(lm)) == min(cap, uninterrupted[1])
    assert_same(search(lm, QUICK, **SHORT, folder=tmp_path).run(), uninterrupted[0])
    assert len(calls(lm)) == uninterrupted[1]


class Pulled(Exception):
    """Somebody pulled the plug."""


def pull_after(step: int) -> Callable[[FinishedTrial], None]:
    def pull(trial: FinishedTrial) -> None:
        if trial.step == step:
            raise Pulled

    return pull


@pytest.mark.parametrize("steps", [[0, 1, 5], [9, 10, 11, 14]])
def test_a_search_that_breaks_between_trials_goes_on(tmp_path, uninterrupted, steps):
    lm = student_lm()
    for step in steps:
        with pytest.raises(Pulled):
            search(lm, QUICK, **SHORT, folder=tmp_path, on_trial=pull_after(step)).run()
    assert_same(search(lm, QUICK, **SHORT, folder=tmp_path).run(), uninterrupted[0])
    assert len(calls(lm)) == uninterrupted[1]


def cut_short(folder: Path) -> None:
    """Leave what a process leaves that is killed while it writes to the study's journal."""
    with (folder / "study.log").open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"killed","tri')


def test_a_line_that_a_kill_cut_short_ends_no_search(tmp_path, uninterrupted, caplog):
    with pytest.raises(Pulled):
        search(student_lm(), QUICK, **SHORT, folder=tmp_path, on_trial=pull_after(5)).run()
    cut_short(tmp_path)
    lm = student_lm()
    assert_same(search(lm, QUICK, **SHORT, folder=tmp_path).run(), uninterrupted[0])
    assert "study.log: the last line was cut short" in caplog.text


def test_a_worker_goes_on_where_another_was_killed_while_it_wrote(tmp_path, uninterrupted):
    running = search(student_lm(), QUICK, **SHORT, folder=tmp_path)
    cut_short(tmp_path)
    assert_same(running.run(), uninterrupted[0])
    assert_same(search(student_lm(), QUICK, **SHORT, folder=tmp_path).run(), uninterrupted[0])


def test_a_finished_search_is_read_without_a_call(tmp_path, uninterrupted):
    search(student_lm(), QUICK, **SHORT, folder=tmp_path).run()
    lm, rows = student_lm(), []
    assert_same(search(lm, QUICK, **SHORT, folder=tmp_path, on_trial=rows.append).run(), uninterrupted[0])
    assert (calls(lm), rows) == ([], [])


def test_the_seed_decides():
    trials = [
        [trial.value for trial in search(student_lm(), QUICK, **SHORT, seed=seed).run().trials] for seed in (0, 0, 1)
    ]
    assert trials[0] == trials[1] != trials[2]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trials": -1}, "SearchConfig.trials is -1"),
        ({"block": 0}, "SearchConfig.block is 0"),
        ({"alpha": 0.5}, "alpha"),
        ({"parsimony": -1}, "parsimony"),
    ],
)
def test_bad_settings_are_named(settings, said):
    with pytest.raises(DataError, match=said):
        SearchConfig(**settings)


@pytest.mark.parametrize(("calls_", "n"), [(2000, 120), (1000, 100), (5000, 140)])
def test_within_a_number_of_calls(calls_, n):
    config = SearchConfig.within(calls_, n)
    expected = 5 * n + config.screen_calls + 0.6 * n * config.trials
    assert expected == pytest.approx(calls_, rel=0.1)


@pytest.mark.parametrize("calls_", [30, 130, 180, 260, 400])
@pytest.mark.parametrize("races", [{}, {"alpha": 0}], ids=["some are dropped", "none is dropped"])
def test_a_search_within_a_number_of_calls_makes_no_more_and_still_confirms(calls_, races):
    n, lm = len(SHORT["val"]), student_lm()
    config = changed(SearchConfig.within(calls_, n), **races)
    found = search(lm, config, **SHORT).run()
    assert len(calls(lm)) <= config.most_calls(n) <= max(calls_, 2 * n)
    assert [trial.asked for trial in found.trials if trial.kind in ("all rules", "confirm")] == [n] * (
        3 if config.screen_calls else 1
    )


def test_what_a_cap_leaves_goes_to_the_races_in_turn():
    """Of 60 calls after the guards, each race needs a block of 6: the first may ask all 24, the second 24, then 6."""
    config = SearchConfig(calls=48 + 60, screen_calls=0, trials=4, block=6, alpha=0)
    found = search(student_lm(), config, **SHORT).run()
    assert [trial.asked for trial in found.trials] == [24, 24, 24, 24, 6, 6]
    assert [trial.objective is None for trial in found.trials] == [False] * 4 + [True] * 2
    assert config.most_calls(24) == 108


@pytest.mark.parametrize("settings", [{}, {"screen_calls": 0}], ids=["screened", "plain"])
def test_a_search_without_races_asks_as_many_as_it_may(settings):
    config = SearchConfig(**{"screen_calls": 90, "trials": 4, "block": 12, "alpha": 0, **settings})
    reworded = [one.model_copy(update={"wordings": (one.text, f"{one.text} Always.")}) for one in SHORT["rules"]]
    found = search(student_lm(), config, rules=reworded, val=SHORT["val"]).run()
    assert sum(trial.asked for trial in found.trials) == config.most_calls(len(SHORT["val"]))


def test_a_shorter_search_of_a_study_that_went_further_makes_nothing(tmp_path):
    longer = SearchConfig(screen_calls=0, alpha=0, trials=4)
    search(student_lm(), longer, **SHORT, folder=tmp_path).run()
    again = search(lm := student_lm(), changed(longer, trials=2), **SHORT, folder=tmp_path)
    assert len(again.run().trials) == 6
    assert calls(lm) == []


def test_a_storage_that_cannot_be_opened_is_told_without_its_password(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for url in ("nonsense", "postgresql+psycopg://me:secret@127.0.0.1:1/none"):
        with pytest.raises(RunError, match="storage cannot be opened") as told:
            open_study(url)
        assert "secret" not in str(told.value)


def test_what_beats_the_unchanged_student_is_found_though_the_model_believes_in_that(monkeypatch):
    done = search(student_lm("work"), changed(PLAIN, trials=2))
    known = done.run()
    unchanged = done.trials[0].candidate

    class Believing:
        surrogate = SimpleNamespace(value=lambda one: 9.0 * (one is unchanged))

    monkeypatch.setattr(done.model, "posterior", lambda seen: Believing)
    monkeypatch.setattr(Insights, "around", lambda *_: None)
    assert done._result(None).objective == known.objective > known.baseline


@pytest.mark.parametrize(("doubt", "wins"), [(0.0, True), (2.0, False), (None, True)])
def test_a_set_that_wins_while_the_gold_labels_are_less_likely_owes_it_to_luck(doubt, wins):
    """One more right answer, and ``doubt`` less in the log-probabilities of all gold labels; None without any."""
    found = search(student_lm(), changed(PLAIN, trials=1), **SHORT)
    labels = found.evaluator.task.labels
    golds = np.array([labels.index(one.label) for one in SHORT["val"]])

    def trial(step: int, kind: str, candidate: Any, right: int, likelihood: float) -> FinishedTrial:
        logits = np.full((24, 3), np.nan) if doubt is None else likelihood * np.eye(3)[golds]
        correct = np.arange(24) < right
        rules = None if kind == "baseline" else found.space.rule_set(candidate)
        made = FinishedTrial(step=step, kind=kind, candidate=candidate, rules=rules, rows=np.arange(24))
        return replace(made, correct=correct, logprobs=logits, objective=right / 24)

    everything, few = found.space.all(), found.space.all().with_rule(0, use=False)
    found.trials = [
        trial(0, "baseline", found.space.none(), 8, 0.5),
        trial(1, "all rules", everything, 15, 3.0),
        trial(2, "race", few, 16, 3.0 - (doubt or 0.0)),
    ]
    assert len(found._result(None).best) == len(SHORT["rules"]) - wins


def test_a_study_whose_folder_cannot_be_used_is_not_called_damaged(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"^Cannot write .*study\.log: .*Not a directory"):
        open_study(tmp_path / "file" / "study.log")
