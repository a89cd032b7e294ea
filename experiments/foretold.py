"""What the log of a search foretells, against what the student does: shorter rule sets, and effects of rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dspy
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from pld_dspy.errors import DataError
from pld_dspy.rules import RuleSet
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.student.redecide import logprobs_of, matching_offsets, redecide

from .asker import Asker, shown

LADDER = (
    "| at most tokens | rules | tokens | expected on validation | test macro-F1 | test macro-F1, calibrated |\n"
    "|---|---|---|---|---|---|"
)
EFFECTS = (
    "| rule | effect by the log [95% interval] | left out: objective | left out: chance of the gold label |\n"
    "|---|---|---|---|"
)


def ladder(run: Path, tokens: Sequence[int]) -> str:
    """Score the best rules that fit into so many prompt tokens, and return a table.

    The sets are read off the search's log. Where answers carry log-probabilities, offsets are fitted for each set on
    the validation examples alone.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        tokens: budgets of the rendered rules.
    """
    with Asker.of(run) as asker:
        test = asker.opened.examples(None)
        rows = [_rung(asker, None, test)]
        rows += [_rung(asker, budget, test) for budget in sorted(tokens)]
    return "\n".join([LADDER, *rows, "", f"{len(test)} test examples, offsets from {len(asker.val)} validation ones."])


def effects(run: Path) -> str:
    """Leave out each chosen rule in turn, and compare what that does on validation with what the log says.

    Args:
        run: as for :func:`ladder`.

    Returns:
        A table, the rank correlations, how far leaving out agrees with itself, and the calls that it took.

    Raises:
        DataError: the run's search learned no effects.
    """
    with Asker.of(run) as asker:
        result = asker.opened.result
        searched = result.rules if result.searched is None else result.searched  # the log knows of no later patches
        if result.insight is None or len(searched) < 3:
            raise DataError(
                f"{run} has too few chosen rules with effects. Compile with SearchConfig(screen_calls=...)."
            )
        chosen = searched.rules
        told = {effect.rule: effect for effect in result.insight.effects if effect.kind == "rule"}
        whole, chances = _worth(asker, searched)
        without = [_worth(asker, RuleSet(rules=tuple(one for one in chosen if one != rule))) for rule in chosen]
    lost = [whole - objective for objective, _ in without]
    lost_chances = chances - np.stack([chance for _, chance in without])
    lost_on_average = np.nanmean(lost_chances, axis=1)
    means = [told[rule.id].mean for rule in chosen]
    rows = [
        f"| {rule.id} | {told[rule.id].mean:+.4f} [{told[rule.id].interval[0]:+.4f}, {told[rule.id].interval[1]:+.4f}] "
        f"| {objective:+.4f} | {chance:+.4f} |"
        for rule, objective, chance in zip(chosen, lost, lost_on_average, strict=True)
    ]
    ranks = [spearmanr(means, column) for column in (lost, lost_on_average)]
    spent = sum(cost.calls for cost in result.costs["student"].values())
    return "\n".join(
        [
            EFFECTS,
            *rows,
            "",
            f"Rank correlation of the log's effects with the objective's loss {ranks[0].statistic:.2f} "
            f"(p = {ranks[0].pvalue:.3f}), with the loss in chance of the gold label {ranks[1].statistic:.2f} "
            f"(p = {ranks[1].pvalue:.3f}); {len(chosen)} rules, {len(asker.val)} validation examples.",
            f"Cronbach's alpha of the losses in chance is {alpha(lost_chances):.2f}, about what they would correlate "
            "by with those of as many other examples.",
            f"Leaving out took {len(chosen) * len(asker.val)} calls; the effects none beyond the compile's {spent}.",
        ]
    )


def alpha(losses: NDArray[np.float64]) -> float:
    """Return Cronbach's alpha (1951): what the rules' mean losses would correlate by with those on as many others.

    It is the share of the variance between the rules' means that is not the draw of the examples; at or below 0 these
    examples say nothing of which rule matters more on others.

    Args:
        losses: rules x examples; an example with a missing value is left out.
    """
    known = losses[:, ~np.isnan(losses).any(axis=0)]
    n = known.shape[1]
    between = known.sum(axis=1).var(ddof=1)
    return float(n / (n - 1) * (1 - known.var(axis=0, ddof=1).sum() / between))


def _rung(asker: Asker, budget: int | None, test: Sequence[dspy.Example]) -> str:
    result = asker.opened.result
    rules = RuleSet() if budget is None else result.at_budget(tokens=budget)
    rung = next((one for one in result.insight.ladder if one.rules == rules), None) if result.insight else None
    asked = rules if len(rules) else None
    own = asker.ask(asked, test)
    moved = asker.calibrated(own, test, asker.ask(asked, asker.val))
    expected, size = ("", 0) if rung is None else (f"{rung.expected:.3f}", rung.tokens)
    name = "no rules" if budget is None else str(budget)
    return f"| {name} | {len(rules)} | {size} | {expected} | {shown(own.score)} | {shown(moved)} |"


def _worth(asker: Asker, rules: RuleSet) -> tuple[float, NDArray[np.float64]]:
    """Return the objective on validation, and the n chances of the gold label; matched where the run calibrates."""
    own = asker.ask(rules, asker.val)
    task = asker.opened.task
    logprobs = logprobs_of(own.answers, task)
    offsets = Offsets.none(task.labels)
    if asker.opened.result.calibration is not None:
        offsets = matching_offsets(own.answers, asker.val, task)
        own = asker.evaluator.scored(asker.val, redecide(own.answers, offsets, asker.evaluator))
    chances = offsets.probabilities(logprobs)
    gold = [task.labels.index(label) for label in task.golds(asker.val)]
    return own.score.objective, np.asarray(chances[np.arange(len(gold)), gold])
