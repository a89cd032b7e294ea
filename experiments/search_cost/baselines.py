"""Known ways to spend fewer calls: TPE with a pruner, and minibatches as in MIPROv2.

All search the same space as RuleSearch and begin with the same guards: the unchanged student, and all rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.trial import Trial, create_trial

from pld_dspy.rules import RuleSet
from pld_dspy.scoring.f1 import Ints
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.search.space import Space
from pld_dspy.search.storage import open_study
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.student.redecide import objective_of

from .setting import Curve, Outcome, Setting

TEST_EVERY = 20
"""Examples between two Wilcoxon tests; more tests would give more false alarms."""
P_VALUE = 0.1
FIRST_RUNG = 8
"""Successive halving begins with the examples divided by this number, and doubles."""
MINIBATCH = 35
FULL_EVERY = 5
"""MIPROv2's defaults in DSPy 3.4: examples per minibatch, and trials between two evaluations on all examples."""

Values = Iterable[tuple[int, float]]
Report = Callable[[Ints, list[str | None], int], Values]
"""(rows asked, their answers, how many of these were reported before) -> (step, value) pairs for the pruner."""


def wilcoxon(setting: Setting) -> Outcome:
    """TPE whose trials stop once a signed-rank test finds them worse than the best."""
    n, golds = len(setting.valset), setting.evaluator.task.golds(setting.valset)

    def correctness(rows: Ints, answers: list[str | None], before: int) -> Values:
        pairs = list(zip(rows.tolist(), answers, strict=True))
        return [(row, float(answer == golds[row])) for row, answer in pairs[before:]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = WilcoxonPruner(p_threshold=P_VALUE, n_startup_steps=TEST_EVERY)
    rng = np.random.default_rng(setting.seed)
    return _pruned(setting, pruner, correctness, lambda: rng.permutation(n), range(TEST_EVERY, n, TEST_EVERY))


def halving(setting: Setting) -> Outcome:
    """TPE; a trial continues with twice the examples if it is in the better half of the trials at that point."""
    n, golds = len(setting.valset), setting.evaluator.task.golds(setting.valset)

    def figure(rows: Ints, answers: list[str | None], before: int) -> Values:
        return [(len(rows), macro_f1([golds[row] for row in rows], answers, setting.evaluator.task.labels))]

    first = max(n // FIRST_RUNG, 1)
    pruner = SuccessiveHalvingPruner(min_resource=first, reduction_factor=2)
    order = np.random.default_rng(setting.seed).permutation(n)  # one for all trials: a rung compares the same examples
    return _pruned(setting, pruner, figure, lambda: order, [first, 2 * first, 4 * first])


def minibatch(setting: Setting) -> Outcome:
    """TPE on scores of random minibatches; every few trials, the set with the best mean is scored on all examples."""
    study, space, curve = _study(setting), Space(setting.rules), Curve(setting.evaluator)
    distributions, evaluator = space.distributions(), cast(Evaluator, setting.evaluator)
    rng = np.random.default_rng(setting.seed)
    on_all: dict[RuleSet, float] = {}
    on_batches: dict[RuleSet, list[float]] = {}

    def evaluate(rules: RuleSet, parameters: dict[str, object]) -> None:
        value = objective_of(rules, setting.valset, evaluator, stage="search", calibrated=False)
        study.add_trial(create_trial(params=parameters, distributions=distributions, value=value))
        if value > max(on_all.values(), default=-1.0):
            curve.note(rules)
        on_all[rules] = value

    for guard in (space.none(), space.all()):
        evaluate(space.rule_set(guard), space.parameters(guard))
    parameters_of = {}
    for number in range(1, setting.budget // len(setting.valset) + 1):
        trial = study.ask(distributions)
        rules = space.rule_set(space.candidate(trial.params))
        rows = rng.choice(len(setting.valset), size=min(MINIBATCH, len(setting.valset)), replace=False)
        batch = [setting.valset[row] for row in rows]
        value = objective_of(rules, batch, evaluator, stage="search", calibrated=False)
        study.tell(trial, value)
        on_batches.setdefault(rules, []).append(value)
        parameters_of[rules] = trial.params
        waiting = [rules for rules in on_batches if rules not in on_all]
        if number % FULL_EVERY == 0 and waiting:
            best = max(waiting, key=lambda rules: np.mean(on_batches[rules]))
            evaluate(best, parameters_of[best])
    return curve.outcome(max(on_all, key=lambda rules: on_all[rules]))


def _pruned(
    setting: Setting, pruner: BasePruner, report: Report, order: Callable[[], Ints], looks: Sequence[int]
) -> Outcome:
    """Search with TPE and a pruner that may stop a trial at each of ``looks``, numbers of examples answered.

    The value of a stopped trial is its score on the examples answered so far: TPE would otherwise rank it by its last
    report, which may be a single answer. The value is kept below the best so far, since the pruner compares with the
    best trial of the study, which must be one with all examples.
    """
    study, space, curve = _study(setting), Space(setting.rules), Curve(setting.evaluator)
    study.pruner = pruner
    task, n = setting.evaluator.task, len(setting.valset)
    golds = np.array(task.golds(setting.valset))
    guards = (space.none(), space.all())
    for guard in guards:
        study.enqueue_trial(space.parameters(guard))
    best, chosen = -1.0, RuleSet()
    for number in range(len(guards) + setting.budget // n):
        trial = study.ask(space.distributions())
        rules = space.rule_set(space.candidate(trial.params))
        rows = order()
        answers = _answers(setting, trial, rules, rows, report, [n] if number < len(guards) else [*looks, n])
        value = macro_f1(golds[rows[: len(answers)]].tolist(), answers, task.labels)
        if len(answers) < n:
            value = min(value, best - 1e-6)
        elif value > best:
            best, chosen = value, rules
            curve.note(rules)
        study.tell(trial, value)
    return curve.outcome(chosen)


def _answers(
    setting: Setting, trial: Trial, rules: RuleSet, rows: Ints, report: Report, looks: Sequence[int]
) -> list[str | None]:
    """Ask about the examples ``rows`` in order, until the pruner stops the trial."""
    answers: list[str | None] = []
    for look in looks:
        before = len(answers)
        asked = [setting.valset[row] for row in rows[before:look]]
        answers += setting.evaluator.labels(rules, asked, stage="search")
        for step, value in report(rows[:look], answers, before):
            trial.report(value, step)
        if look < len(rows) and trial.should_prune():
            break
    return answers


def _study(setting: Setting) -> optuna.Study:
    study = open_study()
    study.sampler = TPESampler(seed=setting.seed, multivariate=True, constant_liar=False)
    return study
