"""Offsets under which each label comes up as often as it is right, alone and in the search."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from engine import timeout_error
from scipy.special import softmax
from tasks import LABELS, VAL, WORDS, finished_trial, leaning_lm, mail_evaluator, rule

from pld_dspy.ledger.answer import Answer
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.scoring.offsets import LEAST, match
from pld_dspy.search.ask import redecided
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import SearchResult
from pld_dspy.search.space import Space
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.search.trials import FinishedTrial
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.redecide import matching_offsets, redecide_to_match_gold

RULES = [rule(f"{label}-{word}", word, label) for label, words in WORDS.items() for word in words]

NONE = Space(()).none()


@pytest.fixture
def logprobs() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(120, 3)) * 3 + np.array([0.0, -4.0, 2.0])


@pytest.mark.parametrize("shares", [[1 / 3, 1 / 3, 1 / 3], [0.6, 0.3, 0.1]])
def test_mean_probabilities_become_the_shares(logprobs, shares):
    offsets = match(logprobs, np.array(shares))
    assert softmax(logprobs + offsets, axis=1).mean(axis=0) == pytest.approx(shares, abs=1e-3)
    assert offsets[int(np.argmax(shares))] == 0


def test_what_all_examples_lean_to_makes_no_difference(logprobs):
    shares, leaning = np.ones(3) / 3, np.array([1.5, 0.0, -3.0])
    moved, plain = match(logprobs + leaning, shares) + leaning, match(logprobs, shares)
    assert moved - moved[0] == pytest.approx(plain - plain[0], abs=1e-2)


def test_missing_rows_and_labels_without_a_share_are_left_out(logprobs):
    shares = np.array([0.5, 0.5, 0.0])
    offsets = match(np.vstack([logprobs, np.full((5, 3), np.nan)]), shares)
    assert np.array_equal(offsets, match(logprobs, shares))
    assert offsets[2] == 0
    assert match(np.full((2, 3), np.nan), shares).tolist() == [0, 0, 0]


def test_many_students_are_matched_at_once_as_each_alone(logprobs):
    shares = np.array([0.5, 0.3, 0.2])
    several = np.stack([logprobs, logprobs[:, ::-1], np.where(logprobs < -8, np.nan, logprobs)])
    assert np.isnan(several).any()
    assert match(several, shares) == pytest.approx(np.array([match(one, shares) for one in several]), abs=1e-9)


@pytest.mark.parametrize("least", [-800.0, -np.inf])
def test_a_label_that_is_all_but_impossible_gets_a_number_that_lifts_it(least):
    logprobs = np.array([[-0.1, -2.4, least], [-0.2, -1.7, least]])
    shares = np.array([0.4, 0.3, 0.3])
    offsets = match(logprobs, shares)
    assert np.isfinite(offsets).all()
    bounded = np.maximum(logprobs, logprobs.max(axis=1, keepdims=True) + LEAST)
    assert softmax(bounded + offsets, axis=1).mean(axis=0) == pytest.approx(shares, abs=1e-3)


def test_answers_seen_so_far_are_decided_anew():
    logits = np.log([[0.7, 0.3], [0.9, 0.1]])  # leaning to the first, and the second example more so
    asked = finished_trial(NONE, np.array([4, 7]), np.array([False, True]), logits)
    truth = np.zeros(8, dtype=np.int64)
    truth[4] = 1
    assert redecided(asked, truth).correct.tolist() == [True, True]
    bare = finished_trial(NONE, np.array([4, 7]), np.array([False, True]))
    assert redecided(bare, truth) is bare


def test_an_answer_without_log_probabilities_stays_as_it_is_and_the_others_are_decided_anew():
    logits = np.log([[0.7, 0.3], [0.9, 0.1], [np.nan, np.nan], [np.nan, np.nan]])
    asked = finished_trial(NONE, np.array([4, 7, 1, 5]), np.array([False, True, True, False]), logits)
    truth = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    assert redecided(asked, truth).correct.tolist() == [True, True, True, False]


def test_one_answer_without_log_probabilities_does_not_keep_the_others_from_being_matched():
    evaluator = mail_evaluator(leaning_lm())
    object.__setattr__(evaluator, "adapter", LabelAdapter(logprobs=True))
    answers = evaluator.answers(None, VAL, stage="test")
    lost = Answer(outputs=None, error="lost: timed out")
    moved = redecide_to_match_gold([lost, *answers[1:]], VAL, evaluator)
    assert moved[0] == lost
    assert moved[1:] != answers[1:]


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_call_that_is_lost_in_a_race_ends_no_search_nor_its_resuming(tmp_path, calibrated):
    """The model was chosen while all answers had log-probabilities, and the race's first one has none."""
    lm, rows = leaning_lm(), []
    evaluator = mail_evaluator(lm)
    object.__setattr__(evaluator, "adapter", LabelAdapter(logprobs=True))

    def lose(trial: FinishedTrial) -> None:
        rows.append(trial)
        if len(rows) == 10:  # two guards and eight screened sets
            lm.engine.failures = (timeout_error(times=1),)

    def search() -> RuleSearch:
        study = open_study(tmp_path / "study.log")
        config = SearchConfig(screen_calls=96, trials=4, block=12)
        return RuleSearch(RULES, evaluator, VAL, study=study, config=config, calibrated=calibrated, on_trial=lose)

    first = search()
    found = first.run()
    assert [len(rows), evaluator.ledger.total("student").failures] == [2 + 8 + 4 + 2, 1]
    lacking = {trial.step: int((~trial.has_logprobs).sum()) for trial in first.trials}
    assert [lacking[step] for step in (9, 10)] == [0, 1]
    again = search().run()
    assert replace(again, trials=[]) == replace(found, trials=[])
    for one, other in zip(again.trials, found.trials, strict=True):
        np.testing.assert_equal(asdict(one), asdict(other))


def searched(liking: float, *, calibrated: bool) -> SearchResult:
    evaluator = mail_evaluator(leaning_lm(liking={"spam": 0.0, "work": liking, "home": 0.0}))
    object.__setattr__(evaluator, "adapter", LabelAdapter(logprobs=True))
    config = SearchConfig(screen_calls=96, trials=4, block=12)
    return RuleSearch(RULES, evaluator, VAL, study=open_study(), config=config, calibrated=calibrated).run()


def test_a_calibrated_search_compares_sets_by_what_they_do_beside_leaning():
    """However much the student likes a label, the same sets are worth the same: the liking is made up for."""
    fond, even = searched(4.0, calibrated=True), searched(0.0, calibrated=True)
    guards = slice(0, 2)
    assert [one.objective for one in fond.trials[guards]] == [one.objective for one in even.trials[guards]]
    plain = searched(4.0, calibrated=False)
    assert plain.baseline < fond.baseline - 0.2
    assert fond.objective >= even.baseline


def test_the_objective_is_that_of_redecided_answers():
    evaluator = mail_evaluator(leaning_lm())
    object.__setattr__(evaluator, "adapter", LabelAdapter(logprobs=True))
    own = evaluator.evaluate(None, VAL, stage="test")
    redecided = redecide_to_match_gold(own.answers, VAL, evaluator)
    after, golds = evaluator.scored(VAL, redecided), evaluator.task.golds(VAL)
    assert after.score.objective == macro_f1(golds, after.labels, LABELS) > own.score.objective
    offsets = matching_offsets(own.answers, VAL, evaluator.task)
    assert offsets.values[1] < offsets.values[0] - 1, "it made up for the liking for work"
    assert evaluator.value(VAL, redecided) == after.score.objective


def test_without_log_probabilities_nothing_moves():
    evaluator = mail_evaluator(leaning_lm(listing=False))
    own = evaluator.evaluate(None, VAL, stage="test")
    assert redecide_to_match_gold(own.answers, VAL, evaluator) == own.answers
    assert not any(matching_offsets(own.answers, VAL, evaluator.task).values)
