"""Judge a patch: the guard set, on which the patched student meets the unpatched one, and what it takes to win."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import dspy
import numpy as np
from numpy.typing import NDArray

from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.difference import chance_to_win
from ..scoring.f1 import Floats
from ..student.evaluator import Evaluator
from ..task.task import Task
from .edit import Edit
from .pool import Pool, stratified
from .records import STAGE, Conflict

Examples: TypeAlias = Sequence[dspy.Example]
Redecide: TypeAlias = Callable[[Sequence[Answer], Examples], list[Answer]]
"""Answers, and their examples -> the answers with other labels."""

FEWEST_AT_ONCE = 8
"""Guard examples asked at once: calls in smaller blocks would wait for each other."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a patch won, and why; the counts are those of ``PatchRecord``.

    ``on_guard``: whether it came as far as the guard set. Then the verdict holds for its rules, whatever the conflict.
    """

    passed: bool
    reason: str
    on_guard: bool = False
    wins: int = 0
    losses: int = 0
    asked: int = 0
    gain: float | None = None


def guard_rows(conflict: Conflict, edit: Edit, pool: Pool, *, size: int, rng: np.random.Generator) -> list[int]:
    """Return the pool rows of the guard set: all neighbours that the teacher saw, and others up to ``size``.

    Half of the others are most similar to the errors and to the support of the changed rule; half are a stratified
    sample. Whether the student answers them correctly plays no part: with more errors among them than in the data, a
    patch could win more than it can lose. Left out are the errors that the patch was made for, and the support of a
    rule that comes back from the bench.
    """
    about = [*conflict.rows, *(row for rule in edit.old for row in pool.rows_of(rule.support))]
    made_from = {row for rule in edit.new if not edit.old for row in pool.rows_of(rule.support)}
    neighbours = [row for row in conflict.neighbours if row not in made_from]
    left_out = {*conflict.rows, *neighbours, *made_from}
    others = [row for row in range(len(pool.examples)) if row not in left_out]
    left = max(size - len(neighbours), 0)
    near = pool.nearest(about, others, -(-left // 2))
    sample = stratified(pool.golds, sorted(set(others) - set(near)), left - len(near), rng)
    return [*neighbours, *near, *sample]


def judge(
    before: RuleSet,
    after: RuleSet,
    errors: Examples,
    guard: Examples,
    evaluator: Evaluator,
    *,
    alpha: float,
    student: Evaluator | None = None,
    redecide: Redecide | None = None,
) -> Verdict:
    """Compare the student under ``after`` with the student under ``before``, example by example.

    A patch passes if

    1. it corrects at least one of the errors that it was made for. They count no further, as it was written for them;
    2. on the guard set, the posterior probability that it is right more often is above ``1 - alpha`` (see
       :func:`~pld_dspy.scoring.difference.chance_to_win`);
    3. the objective on the guard set rises: under macro-F1, wins on a frequent label do not make up for losses on a
       rare one.

    Asking ends as soon as the patch cannot pass any more. A student whose answers are decided with offsets is asked in
    full, and on the guard set the offsets are fitted anew under each rule set. Else a patch would be judged by which
    label it makes the student prefer, and offsets undo that. The errors are too few to fit offsets to.
    ``evaluator`` is the student as it answers by itself, ``student`` the same with the offsets in use, if any;
    ``redecide`` fits offsets to answers and decides with them.
    """
    student = student or evaluator
    was = _scores(evaluator, errors, student.answers(before, errors, stage=STAGE))
    if (was >= 1).all():
        return Verdict(passed=False, reason="its errors are mended already")
    now = _scores(evaluator, errors, student.answers(after, errors, stage=STAGE))
    if not (now > was).any():
        return Verdict(passed=False, reason=f"it mends none of its {len(was)} errors", asked=len(was))
    found = _compare(before, after, guard, evaluator, alpha, redecide)
    return replace(found, asked=len(errors) + found.asked)


def _compare(
    before: RuleSet, after: RuleSet, guard: Examples, evaluator: Evaluator, alpha: float, redecide: Redecide | None
) -> Verdict:
    """Compare on the guard set."""
    old = evaluator.answers(before, guard, stage=STAGE)
    new: list[Answer] = []
    if redecide is not None or evaluator.task.several or evaluator.objective.metric is not None:
        new = evaluator.answers(after, guard, stage=STAGE)  # a wrong answer may still be better than another one
    else:  # errors first, since only they can be won
        order = np.argsort(_scores(evaluator, guard, old), kind="stable")
        guard, old = [guard[place] for place in order], [old[place] for place in order]
        was = _scores(evaluator, guard, old) >= 1
        while rest := fewest_until_rejected(_scores(evaluator, guard, new) >= 1, was, alpha=alpha):
            new += evaluator.answers(after, guard[len(new) : len(new) + max(rest, FEWEST_AT_ONCE)], stage=STAGE)
    if redecide is not None:
        old, new = redecide(old, guard), redecide(new, guard)
    scores, now = _scores(evaluator, guard, old), _scores(evaluator, guard, new)
    won, lost = now > scores[: len(now)], now < scores[: len(now)]
    in_full = guard and len(new) == len(old)
    gain = evaluator.value(guard, new) - evaluator.value(guard, old) if in_full else None
    reason = (
        f"{won.sum()} wins and {lost.sum()} losses on {len(now)} of {len(scores)} other examples, "
        f"{(scores < 1).sum()} of them errors"
    )
    passed = chance_to_win(won, lost) > 1 - alpha
    if not passed:
        reason = f"{'it breaks too much' if lost.any() else 'it mends too little'}: {reason}"
    elif gain is not None and gain <= 0:
        passed, reason = False, f"the objective falls by {-gain:.3f}, with {reason}"
    counts = {"wins": int(won.sum()), "losses": int(lost.sum()), "asked": len(now)}
    return Verdict(passed=passed, reason=reason, on_guard=True, gain=gain, **counts)


def fewest_until_rejected(now: NDArray[np.bool_], was: NDArray[np.bool_], *, alpha: float) -> int:
    """Return the fewest further examples after which rejection would be certain; 0 if it already is.

    That many are enough if every further answer speaks against the patch; if even that would not decide, all that are
    left. An answer in its favour never makes it sooner, so asking this many at once wastes no call.
    ``was`` says of n examples whether the unpatched student was right, the wrong ones first; ``now`` says the same of
    the first k examples and the patched student.
    """

    def rejected(more: int) -> bool:
        against = np.concatenate([now, np.zeros(more, dtype=bool), np.ones(len(was) - len(now) - more, dtype=bool)])
        return chance_to_win(against, was) <= 1 - alpha

    return bisect_left(range(len(was) - len(now)), x=True, key=rejected)


def _scores(evaluator: Evaluator, examples: Examples, answers: Sequence[Answer]) -> Floats:
    """Return one score per answer, to the first of ``examples``: the user's metric, else the share of correct labels.

    That share is the Jaccard index of gold and answered labels, 0 to 1; with a single label it is 0 or 1.
    """
    examples, task = examples[: len(answers)], evaluator.task
    if evaluator.objective.metric is not None:
        pairs = zip(examples, answers, strict=True)
        return np.array([evaluator.value([example], [answer]) for example, answer in pairs])
    given = (task.read(answer.outputs) for answer in answers)
    return np.array([_share(task, gold, label) for gold, label in zip(task.golds(examples), given, strict=True)])


def _share(task: Task, gold: str, given: str | None) -> float:
    if given is None or given == gold:
        return float(given == gold)
    golds, answered = set(task.labels_of(gold)), set(task.labels_of(given))
    return len(golds & answered) / len(golds | answered)
