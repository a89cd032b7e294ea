"""What each rule of a list does for the student, from lists with a few rules left out at once.

Leaving rules out one by one asks every example once per rule, and each list has a chance effect of its own, which is
then taken for the rule's. Here every list leaves out a quarter of the rules and is asked a few examples, so that each
answer tells of several rules, and the model by which the search learns takes the answers apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import dspy
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, Stored
from ..rules import RuleSet
from ..scoring.f1 import LEVELS, Floats
from ..student.evaluator import Evaluator
from ..task.task import example_id
from .ask import Asker
from .correctness_model import FEWEST_TRIALS
from .logprob_model import LogprobPosterior
from .search_config import SearchConfig
from .space import Candidate, Space
from .student_model import StudentModel
from .surrogate import Posterior, Surrogate
from .trials import FinishedTrial

STAGE = "effects"
GROUPS = 4  # the rules are dealt into so many groups; each list leaves out one
PART = 12  # most examples asked per list: a server reads a new list once, and few per list make many lists
LEAST_CALLS = 96  # eight parts
DRAWS = 200

Unit = Literal["nats of gold log-probability per example", "share of right answers"]


class RuleEffect(Stored):
    """What one rule does: the student's figure under the list, less that under the list without the rule."""

    rule: str  # its id
    text: str
    effect: float
    interval: tuple[float, float]  # 95% of the posterior
    asked: int  # answers under lists without the rule; 0: not measured, and the figures are the model's guess

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval[0] > 0 or self.interval[1] < 0


class Effects(Stored):
    """The effects of a list's rules, in the list's order."""

    unit: Unit
    calls: int  # answers under lists with rules left out
    lists: int
    examples: int
    effects: list[RuleEffect]


def usual_calls(rules: int, examples: int) -> int:
    """Return a quarter of the calls that leaving out one rule after the other takes; more of few, to be enough."""
    one_by_one = rules * examples
    return max(one_by_one // 4, min(one_by_one, LEAST_CALLS), 1)


def measure_effects(
    evaluator: Evaluator,
    rules: RuleSet,
    val: Sequence[dspy.Example],
    *,
    calls: int,
    train: Sequence[dspy.Example] = (),
    calibrated: bool = False,
    seed: int = 0,
    on_answers: Callable[[int], object] | None = None,
) -> Effects:
    """Ask the student under lists near ``rules``, and return what each rule does.

    Where all answers have label log-probabilities, effects are in the gold label's, else in right answers.

    Args:
        evaluator: the student; its ledger keeps the answers, so that more calls go on from fewer.
        rules: the list.
        val: validation examples. They are asked under the whole list too; a compile has these answers already.
        calls: most answers under lists with rules left out.
        train: training examples to ask as well, each only under lists that leave out no rule made from it; no
            demonstrations.
        calibrated: whether answers are decided with offsets that undo the student's leaning between labels.
        seed: of the lists and parts.
        on_answers: called with the number of answers after each list.

    Raises:
        DataError: there is no rule, or the answers tell nothing.
    """
    if not rules.rules:
        raise DataError("The list has no rules, so none can be left out.")
    plain = (one.model_copy(update={"wordings": (one.text,), "chosen": 0, "origins": ()}) for one in rules.rules)
    space, asker = Space(tuple(plain), (rules.demos,)), Asker(evaluator, [*val, *train], calibrated, STAGE)
    ids = [None] * len(val) + [example_id(example, row) for row, example in enumerate(train)]
    made_from = np.array([[name in rules.shown or name in rule.support for rule in rules.rules] for name in ids])

    def asked(step: int, left_out: Sequence[int], rows: NDArray[np.int64]) -> FinishedTrial:
        candidate = replace(space.all(), use=~np.isin(np.arange(len(space)), left_out))
        trial = FinishedTrial(step=step, kind="screen", candidate=candidate, rules=space.rule_set(candidate))
        return asker.ask(trial, rows)

    whole, trials = asked(0, (), np.arange(len(val))), list[FinishedTrial]()
    part = max(min(PART, len(val) * min(GROUPS, len(space)) // FEWEST_TRIALS), 1)
    for left_out, rows in _lists(made_from, calls, part, seed):
        trials.append(asked(len(trials) + 1, left_out, rows))
        if on_answers is not None:
            on_answers(len(rows))
    weights, labels = np.full(len(ids), 1 / len(ids)), evaluator.task.labels
    model = StudentModel(space, asker.golds, labels, weights, SearchConfig(), screened=1, calibrated=calibrated)
    posterior = model.posterior([whole, *trials])
    if posterior is None:
        raise DataError(
            f"{sum(trial.asked for trial in trials)} calls do not tell the rules apart: too few lists, or all answers "
            "are right, or all wrong. Give more calls."
        )
    return _summary(space, posterior, trials, examples=len(ids), seed=seed)


def _lists(
    made_from: NDArray[np.bool_], calls: int, part: int, seed: int
) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Yield the rules that a list leaves out, and the examples to ask; every rule is left out once in each round.

    ``made_from``: n x K. ``part`` examples are asked per list, those asked least first, and none twice under one
    list. The lists for fewer calls are the first of those for more.
    """
    (n, k), rng, left = made_from.shape, np.random.default_rng(seed), calls
    times, known = np.zeros(n, dtype=np.int64), dict[tuple[int, ...], NDArray[np.bool_]]()
    while True:
        before = left
        for group in np.array_split(rng.permutation(k), min(GROUPS, k)):
            left_out = sorted(map(int, group))
            free = known.setdefault(tuple(left_out), np.asarray(~made_from[:, left_out].any(axis=1)))
            order = np.lexsort(np.array([rng.random(n), times]))
            rows = order[free[order]][: min(part, left)]
            if len(rows):
                times[rows] += 1
                free[rows] = False
                left -= len(rows)
                yield left_out, rows
        if left == before:  # 0, or all that can be asked has been
            return


def _draws(posterior: Posterior, whole: Candidate, seed: int) -> Floats:
    """Return draws x K from the posterior of what each rule does to the whole list."""
    rng, without = np.random.default_rng(seed), [whole.with_rule(j, use=False) for j in range(len(whole.use))]

    def effects(student: Surrogate) -> Floats:
        if isinstance(posterior, LogprobPosterior):
            student = replace(student, chance=posterior.gold_logprobs)
        own, *others = student.neighbours(whole, [whole, *without])
        return own - np.array(others)

    return np.array([effects(posterior.draw(rng)) for _ in range(DRAWS)])


def _summary(
    space: Space, posterior: Posterior, trials: Sequence[FinishedTrial], *, examples: int, seed: int
) -> Effects:
    drawn = _draws(posterior, space.all(), seed)
    mean, (low, high) = drawn.mean(axis=0).tolist(), np.quantile(drawn, LEVELS, axis=0).tolist()
    by_logprobs: Unit = "nats of gold log-probability per example"
    effects = []
    for j, rule in enumerate(space.rules):
        asked = sum(trial.asked for trial in trials if not trial.candidate.use[j])
        found = RuleEffect(rule=rule.id, text=rule.text, effect=mean[j], interval=(low[j], high[j]), asked=asked)
        effects.append(found)
    return Effects(
        unit=by_logprobs if isinstance(posterior, LogprobPosterior) else "share of right answers",
        calls=sum(trial.asked for trial in trials),
        lists=len(trials),
        examples=examples,
        effects=effects,
    )
