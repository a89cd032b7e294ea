"""The methods that are compared, as functions: student, rules, budget and seed in, a rule set out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.search.trials import FinishedTrial
from pld_dspy.student.evaluator import Evaluator

from . import baselines
from .setting import Curve, Outcome, Setting

REFERENCE = "tpe_150"
"""The method that all others are compared with: every trial asks about the whole validation set."""
REFERENCE_TRIALS = 150


@dataclass(frozen=True)
class Method:
    """One way to search.

    Attributes:
        run: the search.
        share: budget as a share of what 150 evaluations on the whole validation set cost.
        description: a few words for tables.
    """

    run: Callable[[Setting], Outcome]
    share: float
    description: str


def plain(setting: Setting) -> Outcome:
    """TPE with the whole validation set in every trial; both guards come on top of the budget."""
    trials = setting.budget // len(setting.valset)
    return rule_search(setting, SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=trials))


def ours(setting: Setting) -> Outcome:
    """RuleSearch with its defaults."""
    return rule_search(setting, SearchConfig())


def ours_within(setting: Setting) -> Outcome:
    """RuleSearch with settings for about the budget."""
    return rule_search(setting, SearchConfig.within(setting.budget, len(setting.valset)))


def no_screening(setting: Setting) -> Outcome:
    """RuleSearch without screening and so without its model; the calls saved go to further races."""
    shipped = SearchConfig()
    more = round(shipped.screen_calls / (0.6 * len(setting.valset)))
    return rule_search(setting, SearchConfig(screen_calls=0, trials=shipped.trials + more))


def no_race(setting: Setting) -> Outcome:
    """RuleSearch with every candidate on the whole validation set."""
    return rule_search(setting, SearchConfig(alpha=0))


def no_parsimony(setting: Setting) -> Outcome:
    """RuleSearch without a price per rule."""
    return rule_search(setting, SearchConfig(parsimony=0))


METHODS = {
    REFERENCE: Method(plain, 1.0, "TPE, 150 trials, all examples"),
    "tpe_50": Method(plain, 1 / 3, "TPE, 50 trials, all examples"),
    "tpe_wilcoxon": Method(baselines.wilcoxon, 1.0, "TPE, 150 trials, WilcoxonPruner"),
    "tpe_halving": Method(baselines.halving, 1.0, "TPE, 150 trials, successive halving over examples"),
    "tpe_minibatch": Method(baselines.minibatch, 1.0, "TPE, 150 trials, minibatches as MIPROv2"),
    "ours": Method(ours, 0.2, "RuleSearch as shipped"),
    "ours_fifth": Method(ours_within, 0.2, "RuleSearch within a fifth of the calls"),
    "ours_tenth": Method(ours_within, 0.1, "RuleSearch within a tenth of the calls"),
    "no_screening": Method(no_screening, 0.2, "RuleSearch, no screening"),
    "no_race": Method(no_race, 0.2, "RuleSearch, no race"),
    "no_parsimony": Method(no_parsimony, 0.2, "RuleSearch, no parsimony"),
}


def rule_search(setting: Setting, config: SearchConfig) -> Outcome:
    """Run RuleSearch, and record what it would have returned after each full evaluation."""
    curve = Curve(setting.evaluator)
    reached = -1.0

    def note(trial: FinishedTrial) -> None:
        nonlocal reached
        if trial.objective is None:
            return
        value = trial.objective - config.parsimony * len(trial.rules or ())
        if value > reached:
            reached = value
            curve.note(trial.rules)

    found = RuleSearch(
        setting.rules,
        cast(Evaluator, setting.evaluator),
        setting.valset,
        study=open_study(),
        config=config,
        seed=setting.seed,
        on_trial=note,
    ).run()
    return curve.outcome(found.best)
