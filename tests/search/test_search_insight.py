"""What the log of a search says besides the winner is true of the student, and costs no call."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from engine import calls
from tasks import WORDS, mail_evaluator, mails, rule, student_lm

from pld_dspy.rules import RuleSet
from pld_dspy.search import insight
from pld_dspy.search.insight import DRAWS, estimate_tokens
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.search_result import Insight, SearchResult
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch

VAL = mails(60)
NEEDED = [rule(f"{label}-{word}", word, label) for label in ("spam", "home") for word in WORDS[label]]
HARMFUL = [rule("harm-winner", "winner", "home"), rule("harm-meeting", "meeting", "spam")]
INERT = [rule("inert", "airship", "work")]


@pytest.fixture(autouse=True, scope="module")
def all_draws() -> Iterator[None]:
    """As many as users get, not those of the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(insight, "DRAWS", DRAWS)
        yield


@pytest.fixture(scope="module")
def searched() -> tuple[SearchResult, Any, Insight]:
    lm = student_lm("work")
    search = RuleSearch(
        [*HARMFUL, *NEEDED, *INERT],
        mail_evaluator(lm),
        VAL,
        study=open_study(),
        config=SearchConfig(screen_calls=400, trials=8, block=20),
        count_tokens=lambda text: len(text.split()),
    )
    search.work()
    before = len(calls(lm))
    found = search.run()
    assert len(calls(lm)) == before
    assert found.insight is not None
    return found, lm, found.insight


def test_the_ladder_climbs_and_its_sets_are_within_budget(searched):
    found, _, insight = searched
    tokens = [rung.tokens for rung in insight.ladder]
    expected = [rung.expected for rung in insight.ladder]
    assert tokens == sorted(set(tokens))
    assert expected == sorted(expected)
    assert len(insight.ladder) >= 4
    for rung in insight.ladder:
        assert rung.tokens == len(rung.rules.render().split())
    evaluator = mail_evaluator(student_lm("work"))
    truth = [evaluator.evaluate(rung.rules, VAL, stage="check").score.objective for rung in insight.ladder]
    assert truth[-1] == found.objective
    assert truth == sorted(truth)  # this student's rules do not touch one another
    assert sum(abs(a - b) for a, b in zip(truth, expected, strict=True)) / len(truth) < 0.15


@pytest.mark.parametrize("harm", [0.0031, 0.01, 0.013, 0.017, 0.029])
def test_no_shorter_set_is_worth_more_than_the_chosen_one_for_the_model_alone(harm):
    """A set that nobody asked may look better by the model, and owe it to noise."""
    plain = SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=0)
    search = RuleSearch(NEEDED, mail_evaluator(student_lm("work")), VAL, study=open_study(), config=plain)
    search.run()
    chosen = replace(search.trials[1], objective=0.8921867)
    hopeful = SimpleNamespace(
        value=lambda one: 0.7 - harm * one.size,
        neighbours=lambda _, options: [0.7 - harm * one.size for one in options],
    )
    insights = replace(search._insights(None), trials=[chosen], count_tokens=lambda text: len(text.split()))
    ladder = insights._ladder(hopeful, chosen)
    assert {rung.expected for rung in ladder} == {chosen.objective}
    sizes = [len(rung.rules) for rung in ladder]
    assert sizes == sorted(set(sizes)), "of equal ones the longer is nearer to what was asked"
    assert (sizes[-1], [rung.asked for rung in ladder].index(True)) == (chosen.candidate.size, len(ladder) - 1)


def test_the_order_of_rules_that_do_not_touch_one_another_does_not_matter(searched):
    _, _, insight = searched
    assert insight.order.sd < 0.03
    assert insight.order.own == pytest.approx(insight.order.mean, abs=0.05)


def test_more_calls_are_worth_less_the_more_were_made(searched):
    _, _, insight = searched
    assert 0 <= insight.gain_of_1000_calls < 0.2
    short = RuleSearch(
        [*HARMFUL, *NEEDED, *INERT],
        mail_evaluator(student_lm("work")),
        VAL,
        study=open_study(),
        config=SearchConfig(screen_calls=120, trials=0, block=10),
    ).run()
    assert short.insight.gain_of_1000_calls > insight.gain_of_1000_calls


class TestOrigins:
    @pytest.fixture(scope="class")
    def drawn(self) -> RuleSearch:
        """A teacher whose second draw names a word that no mail has, and cues for one rule only."""
        rules = [
            rule(one.id, word, label, "submarine").model_copy(update={"origins": ("teacher", "teacher draw 2")})
            for one, (word, label) in zip(NEEDED, [(w, k) for k in ("spam", "home") for w in WORDS[k]], strict=True)
        ]
        cued = rule(rules[0].id, "lottery", "spam", "submarine", "a lottery").model_copy(
            update={"origins": ("teacher", "teacher draw 2", "cues")}
        )
        search = RuleSearch(
            [cued, *rules[1:]],
            mail_evaluator(student_lm("work")),
            VAL,
            study=open_study(),
            config=SearchConfig(screen_calls=800, trials=4, block=40),
        )
        search.work()
        return search

    def test_the_chosen_set_is_valued_in_the_wordings_of_each_origin(self, drawn):
        insight = drawn.run().insight
        rows = {row.origin: row for row in insight.origins}
        assert set(rows) == {"teacher", "teacher draw 2", "cues"}
        first, second, cues = rows["teacher"], rows["teacher draw 2"], rows["cues"]
        assert first.rules == second.rules == second.asked >= 4
        assert (cues.rules, cues.asked) == (1, 1)
        assert first.interval[0] > second.interval[1]
        assert all(row.interval[0] <= row.expected <= row.interval[1] for row in rows.values())
        assert abs(cues.expected - insight.order.own) < (first.expected - second.expected) / 4

    def test_what_no_trial_used_is_left_out(self, drawn):
        trials = [trial for trial in drawn.trials if not trial.candidate.wording[trial.candidate.use].any()]
        posterior = drawn.model.posterior(drawn.trials)
        insights = replace(drawn._insights(posterior), trials=trials)
        draws = [posterior.draw(np.random.default_rng(i)) for i in range(3)]
        rows = insights._origins(posterior.surrogate, draws, drawn.space.all())
        assert [row.origin for row in rows] == ["teacher"]

    def test_rules_of_one_origin_or_of_none_have_nothing_to_compare(self, searched):
        assert searched[2].origins == []


def test_without_a_model_there_is_no_insight():
    config = SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=2)
    search = RuleSearch(NEEDED, mail_evaluator(student_lm()), VAL, study=open_study(), config=config)
    assert search.run().insight is None


def test_tokens_are_estimated_from_estimate_tokens():
    assert estimate_tokens(RuleSet(rules=(NEEDED[0],)).render()) == pytest.approx(
        len(RuleSet(rules=(NEEDED[0],)).render()) / 4
    )
