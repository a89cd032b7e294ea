"""What rules do by the random lists of ``pld-dspy effects``, against leaving them out one by one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from pld_dspy.rules import RuleSet
from pld_dspy.search.effects import Effects, measure_effects, usual_calls
from pld_dspy.student.evaluator import logprobs_of
from pld_dspy.student.redecide import matching_offsets

from .run_student import RunStudent

logger = logging.getLogger(__name__)

RESAMPLES = 500
HEADER = "| rule | by random lists | one by one |\n|---|---|---|"


def effects(run: Path, calls: int | None = None) -> str:
    """Measure the effects of a run's rules on validation in both ways, and return a table with their rank correlation.

    The interval is a 95% bootstrap interval over rules. Answers are kept in the run folder, so that the same command
    goes on where it was stopped.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        calls: those of the random lists; a quarter of those of leaving out one by one where None.
    """
    with RunStudent.of(run) as student:
        rules = student.opened.result.rules
        one_by_one = len(rules) * len(student.val)
        own: dict[str, Any] = {"calibrated": student.opened.calibrated, "seed": student.opened.spec.seed}
        found = measure_effects(
            student.evaluator, rules, student.val, calls=calls or usual_calls(len(rules), len(student.val)), **own
        )
        logger.info("random lists: %d answers", found.calls)
        single = _one_by_one(student, rules, found)
    estimated = [one.effect for one in found.effects]
    rows = [
        f"| {one.rule} | {one.effect:+.3f} [{one.interval[0]:+.3f}, {one.interval[1]:+.3f}] | {value:+.3f} |"
        for one, value in zip(found.effects, single, strict=True)
    ]
    low, high = _interval(estimated, single)
    rank = spearmanr(estimated, single).statistic
    note = (
        f"In {found.unit}, {found.examples} validation examples. Spearman's rank correlation {rank:.2f} [{low:.2f}, "
        f"{high:.2f}]; {found.calls} calls against {one_by_one}."
    )
    return "\n".join([HEADER, *rows, "", note])


def _one_by_one(student: RunStudent, rules: RuleSet, like: Effects) -> list[float]:
    """Return what each rule does to the figure of the whole list, in the unit of ``like``."""
    whole, values = _figure(student, rules, like), []
    for number, rule in enumerate(rules.rules):
        without = rules.with_rules(rules.rules[:number] + rules.rules[number + 1 :])
        values.append(whole - _figure(student, without, like))
        logger.info("without %s: %+.3f (%d of %d)", rule.id, values[-1], number + 1, len(rules))
    return values


def _figure(student: RunStudent, rules: RuleSet, like: Effects) -> float:
    evaluation, task = student.evaluate(rules, student.val), student.opened.task
    golds = task.golds(student.val)
    if like.unit == "share of right answers":
        return float(np.mean([label == gold for label, gold in zip(evaluation.labels, golds, strict=True)]))
    logprobs = logprobs_of(evaluation.answers, task)
    if student.opened.calibrated:
        logprobs = logprobs + matching_offsets(evaluation.answers, student.val, task).values
    sums = logprobs - np.logaddexp.reduce(logprobs, axis=1, keepdims=True)
    return float(np.nanmean(sums[np.arange(len(golds)), [task.labels.index(gold) for gold in golds]]))


def _interval(one: list[float], other: list[float]) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    draws = rng.integers(len(one), size=(RESAMPLES, len(one)))
    found = [spearmanr(np.array(one)[rows], np.array(other)[rows]).statistic for rows in draws]
    low, high = np.nanquantile(found, (0.025, 0.975))  # NaN where a draw has one rule alone
    return float(low), float(high)
