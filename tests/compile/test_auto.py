"""Budgets by one word, what an estimate says of them, and a search that a person stops."""

import logging
import re
from pathlib import Path

import pytest
from tasks import TRAIN, VAL, compiled, pld, student, student_lm

from pld_dspy.compile.auto import LEVELS, settle
from pld_dspy.errors import DataError
from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.run.tracking import Recorder
from pld_dspy.search.search_config import LEAST, SearchConfig


def test_each_word_buys_more_than_the_one_before_and_more_for_more_rules() -> None:
    calls = [
        settle(word, SearchConfig(), None, rules=rules, has_teacher=False)[0].most_calls(100)
        for word in LEVELS
        for rules in (20, 60)
    ]
    assert calls == sorted(set(calls))
    assert settle(None, SearchConfig(), None, rules=9, has_teacher=True) == (SearchConfig(), None)


def test_resolving_is_for_heavy_with_a_teacher() -> None:
    rounds = {
        (word, teacher): settle(word, SearchConfig(), None, rules=20, has_teacher=teacher)[1] is not None
        for word in LEVELS
        for teacher in (True, False)
    }
    assert [pair for pair, resolves in rounds.items() if resolves] == [("heavy", True)]


def test_what_is_set_wins_also_where_it_is_the_default() -> None:
    own, resolve = SearchConfig(screen_calls=960, parsimony=0.1), ResolveConfig(max_rounds=1)
    search, rounds = settle("light", own, resolve, rules=20, has_teacher=True)
    assert search == SearchConfig(screen_calls=960, parsimony=0.1, trials=LEVELS["light"].trials)
    assert rounds == resolve
    assert settle("heavy", own, ResolveConfig(max_rounds=0), rules=20, has_teacher=True)[1] is None
    assert settle(None, own, ResolveConfig(max_rounds=0), rules=20, has_teacher=True) == (own, None)


def test_auto_is_settled_by_the_data_and_leaves_the_settings_alone() -> None:
    optimizer = pld(auto="light", search=SearchConfig(trials=1))
    calls = [
        next(
            one.calls
            for one in optimizer.estimate(student(), trainset=rows, valset=VAL).stages
            if one.stage == "search"
        )
        for rows in (TRAIN[:6], TRAIN)
    ]
    assert calls[0] < calls[1]
    assert optimizer.search == SearchConfig(trials=1)
    assert optimizer.get_params()["auto"] == "light"
    with pytest.raises(DataError, match=r"auto='huge' is unknown. Give one of light, medium, heavy"):
        PLD(auto="huge")


@pytest.mark.parametrize("auto", [None, "light"])
def test_a_handful_of_validation_examples_compares_whole_lists_alone_unless_a_search_is_set(tmp_path, auto) -> None:
    optimizer = pld(tmp_path, search=None, auto=auto)
    compiled(optimizer, student(student_lm()), valset=VAL[: LEAST - 1])
    assert optimizer.result.counts["trials"] == 2  # the unchanged student and all rules: there are no other wordings
    said = "So few cannot choose rules: only whole lists were compared."
    assert any(note.startswith(said) for note in optimizer.result.notes)

    few, enough = SearchConfig().on(LEAST - 1), SearchConfig().on(LEAST)
    assert (few.screen_calls, few.trials, enough) == (0, 0, SearchConfig())
    assert SearchConfig(trials=1).on(2) == SearchConfig(trials=1)
    within = SearchConfig.within(300, LEAST - 1)
    assert (within.calls, within.screen_calls, within.trials) == (300, 0, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": Budget(student_calls=40)}, "Hopeless: 40 student calls do not compare a single rule set"),
        ({"search": SearchConfig(screen_calls=24)}, "Too few calls to tell rules apart: 24 that screen about 12 rules"),
        (
            {"budget": Budget(student_calls=99), "search": SearchConfig(trials=10)},
            "Too few calls to tell rules apart: 27 that",
        ),
        (
            {"auto": "light", "search": None},
            "Only 24 validation examples: rule sets that differ by less than about 0.18",
        ),
    ],
)
def test_a_hopeless_budget_is_called_so(settings: dict, said: str) -> None:
    found = pld(**settings).estimate(student(), trainset=TRAIN, valset=VAL)
    assert said in str(found)
    assert len(found.warnings) == (1 if said.startswith("Only") else 2)


class Stopping(Recorder):
    """Makes the stop file once a trial has finished."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def metric(self, name: str, value: float | None, step: int = 0) -> None:
        if name == "val_estimate" and step == 1:
            self.file.touch()


def test_a_stop_file_ends_the_search_and_the_next_start_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pld_dspy")
    optimizer = pld(tmp_path / "run", tracking=Stopping(tmp_path / "run" / "stop"), resolve=ResolveConfig())
    compiled(optimizer, student(student_lm()), testset=[])
    assert optimizer.result.stopped == "The file 'stop' in the run folder asked for it."
    assert optimizer.result.counts["trials"] == 2
    assert optimizer.result.improved
    assert "resolve" not in optimizer.result.seconds
    assert "At most 624 student and" in caplog.text
    assert re.search(r"At most \d\.\d minutes of student calls", caplog.text)

    optimizer.tracking = None
    compiled(optimizer, student(student_lm()), testset=[])
    assert optimizer.result.stopped is None
    assert optimizer.result.counts["trials"] > 2
    assert not (tmp_path / "run" / "stop").exists()
