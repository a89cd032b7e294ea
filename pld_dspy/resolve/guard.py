"""The guard: examples on which a patched student is compared with the unpatched one, and what it takes to win."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import dspy
import numpy as np
from numpy.typing import NDArray

from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.difference import chance_to_win
from ..scoring.f1 import Floats
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator
from ..student.redecide import DecidedEvaluator, matched_answers
from ..task.task import Task
from .conflicts import Conflict
from .mistakes import STAGE
from .patch import Edit
from .pool import Pool, stratified

Examples: TypeAlias = Sequence[dspy.Example]
Compared: TypeAlias = tuple[Floats, Floats, float | None]
"""Merits of the patched student's first k answers and of the unpatched one's n; gain of the objective, if k is n."""

BLOCK = 8
"""Guard examples asked at once, at least: in smaller blocks, calls that could be under way together would wait."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How a patch did; the figures are those of ``PatchRecord``.

    Attributes:
        on_guard: whether it was judged on the guard, which says something of its rules, whatever the conflict.
    """

    passed: bool
    reason: str
    on_guard: bool = False
    wins: int = 0
    losses: int = 0
    asked: int = 0
    gain: float | None = None


def guard_rows(conflict: Conflict, edit: Edit, pool: Pool, *, size: int, rng: np.random.Generator) -> list[int]:
    """Return the rows to judge a patch on, without the errors that it was made for.

    Nor do the examples that a rule of the bench was once made from speak for its coming back.

    First the neighbours that the teacher saw; then, up to ``size``, half are the examples whose texts are nearest to
    the errors and to the changed rule's support, and half a stratified draw of the others. Whether the student is
    right about them plays no part: on a guard richer in errors than the data, a patch has more to win than to lose.
    """
    about = [*conflict.rows, *(row for rule in edit.old for row in pool.rows_of(rule.support))]
    made_from = {row for rule in edit.new if not edit.old for row in pool.rows_of(rule.support)}
    neighbours = [row for row in conflict.neighbours if row not in made_from]
    seen = {*conflict.rows, *neighbours, *made_from}
    others = [row for row in range(len(pool.examples)) if row not in seen]
    left = max(size - len(neighbours), 0)
    near = pool.nearest(about, others, -(-left // 2))
    drawn = stratified(pool.golds, sorted(set(others) - set(near)), left - len(near), rng)
    return [*neighbours, *near, *drawn]


def judge(
    before: RuleSet,
    after: RuleSet,
    conflict: Conflict,
    guard: Sequence[int],
    pool: Pool,
    evaluator: Evaluator,
    *,
    alpha: float,
    offsets: Offsets | None = None,
) -> Verdict:
    """Compare the student under ``after`` with the student under ``before``, example by example.

    A patch passes if

    1. it mends at least one of the errors that it was made for. They count no further, since it was written for them;
    2. on the guard, the posterior probability that it is right more often is above ``1 - alpha``
       (:func:`~pld_dspy.scoring.chance_to_win`: only examples that just one of the two gets right say anything);
    3. the objective on the guard rises: under macro-F1, wins on a frequent label do not make up for losses on a
       rare one.

    The guard's examples that the unpatched student gets wrong are asked first, since wins come from them alone. A patch
    is given up as soon as no outcome of the rest could let it win: which patches pass is as if all had been asked.

    Where answers are decided with offsets, a patch would look good or bad for what it makes the student lean to, which
    offsets of its own would undo. So on the guard each of the two students gives each label as often as it is right,
    for which all of the guard is asked. The errors are too few for that, and are decided as the unpatched student's.

    Args:
        before: the rules without the patch.
        after: the rules with it.
        conflict: what the patch was made for.
        guard: rows of the pool.
        pool: holds the examples.
        evaluator: the student as it answers by itself.
        alpha: as above.
        offsets: with which the student decides under ``before``; None where answers stand as they are.

    Raises:
        BudgetExceeded: a cap allows no further student call.
    """
    examples = pool.take(conflict.rows)
    student = evaluator if offsets is None else DecidedEvaluator.of(evaluator, offsets)
    was = _merits(evaluator, examples, student.answers(before, examples, stage=STAGE))
    if (was >= 1).all():
        return Verdict(passed=False, reason="its errors are mended already")
    now = _merits(evaluator, examples, student.answers(after, examples, stage=STAGE))
    if not (now > was).any():
        return Verdict(passed=False, reason=f"it mends none of its {len(was)} errors", asked=len(was))
    matches = offsets is not None
    if matches or _in_part(evaluator):
        compared = _in_full(before, after, pool.take(guard), evaluator, matched=matches)
    else:
        compared = _until_refused(before, after, pool.take(guard), evaluator, alpha)
    return _verdict(*compared, alpha=alpha, asked=len(was))


def _until_refused(before: RuleSet, after: RuleSet, guard: Examples, evaluator: Evaluator, alpha: float) -> Compared:
    was = _right(evaluator, guard, evaluator.answers(before, guard, stage=STAGE))
    order = np.argsort(was, kind="stable")
    examples, was = [guard[place] for place in order], was[order]
    new: list[Answer] = []
    now = np.zeros(0, dtype=bool)
    while rest := until_refused(now, was, alpha=alpha):
        new += evaluator.answers(after, examples[len(new) : len(new) + max(rest, BLOCK)], stage=STAGE)
        now = _right(evaluator, examples, new)
    gain = None
    if examples and len(new) == len(examples):
        old = evaluator.answers(before, examples, stage=STAGE)  # the ledger has them
        gain = evaluator.value(examples, new) - evaluator.value(examples, old)
    return now.astype(float), was.astype(float), gain


def _in_full(before: RuleSet, after: RuleSet, guard: Examples, evaluator: Evaluator, *, matched: bool) -> Compared:
    old, new = (evaluator.answers(rules, guard, stage=STAGE) for rules in (before, after))
    if matched:
        old, new = (matched_answers(answers, guard, evaluator) for answers in (old, new))
    was, now = (_merits(evaluator, guard, answers) for answers in (old, new))
    return now, was, evaluator.value(guard, new) - evaluator.value(guard, old) if guard else None


def _verdict(now: Floats, was: Floats, gain: float | None, *, alpha: float, asked: int) -> Verdict:
    """Say what comes of the merits of the patched student's first k answers, beside n of the unpatched one's."""
    met = was[: len(now)]
    won, lost = now > met, now < met
    wins, losses = int(won.sum()), int(lost.sum())
    tally = (
        f"{wins} wins and {losses} losses on {len(now)} of {len(was)} other examples, {(was < 1).sum()} of them errors"
    )
    refusal = None
    if chance_to_win(won, lost) <= 1 - alpha:
        refusal = f"{'it breaks too much' if losses else 'it mends too little'}: {tally}"
    elif gain is not None and gain <= 0:
        refusal = f"the objective falls by {-gain:.3f}, with {tally}"
    return Verdict(
        passed=refusal is None,
        reason=refusal or tally,
        on_guard=True,
        wins=wins,
        losses=losses,
        asked=asked + len(now),
        gain=gain,
    )


def until_refused(now: NDArray[np.bool_], was: NDArray[np.bool_], *, alpha: float) -> int:
    """Return how many more examples it takes, at least, to be sure that a patch does not win; 0 where that is sure.

    Until then, every further answer must go against the patch; where even that would not settle it, all that are left
    are needed. An answer in its favour never makes it sooner, so asking so many at once wastes none.

    Args:
        now: k flags, whether the patched student was right, of the first k examples.
        was: n flags, k <= n, whether the unpatched one was; all that it got wrong come first.
        alpha: it wins with a posterior probability above ``1 - alpha``.
    """

    def lost(more: int) -> bool:
        against = np.concatenate([now, np.zeros(more, dtype=bool), np.ones(len(was) - len(now) - more, dtype=bool)])
        return chance_to_win(against, was) <= 1 - alpha

    return bisect_left(range(len(was) - len(now)), x=True, key=lost)


def _right(evaluator: Evaluator, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> NDArray[np.bool_]:
    """Return which of ``answers``, to the first of ``examples``, are right."""
    return _merits(evaluator, examples[: len(answers)], answers) >= 1


def _in_part(evaluator: Evaluator) -> bool:
    """Whether an answer may be better than another one without being right."""
    return evaluator.task.several or evaluator.objective.metric is not None


def _merits(evaluator: Evaluator, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> Floats:
    """Return what each answer is worth: by the user's metric, else the share of its labels that are right, 0 to 1.

    That share is of the labels that are gold or answered (the Jaccard index); with a single label it is 0 or 1.
    """
    if evaluator.objective.metric is not None:
        pairs = zip(examples, answers, strict=True)
        return np.array([evaluator.value([example], [answer]) for example, answer in pairs])
    task = evaluator.task
    given = (task.read(answer.outputs) for answer in answers)
    return np.array([_share(task, gold, label) for gold, label in zip(task.golds(examples), given, strict=True)])


def _share(task: Task, gold: str, given: str | None) -> float:
    if given is None or given == gold:
        return float(given == gold)
    golds, answered = set(task.labels_of(gold)), set(task.labels_of(given))
    return len(golds & answered) / len(golds | answered)
