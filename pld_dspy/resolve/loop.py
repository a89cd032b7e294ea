"""Resolving: what still fails goes back to the teacher; what it proposes joins the pool, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dspy
import numpy as np

from ..errors import BudgetExceeded
from ..ledger.answer import NOT_ASKED, Answer
from ..rules import Rule, RuleSet
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator
from ..student.redecide import logprobs_of, matching_offsets, redecide
from ..task.splits import stratified
from ..task.task import example_id
from ..teacher.signatures import Change, ReviseRules
from ..teacher.teacher import Teacher
from .diagnosis import as_shown, find_hard_examples
from .edit import Edit, Revision, Unusable
from .records import STAGE, Choice, PatchRecord, Resolution, Round
from .resolve_config import ResolveConfig

MOST_BENCH = 60
"""Rules of the bench in one prompt: first those for labels that the student misses."""


def resolve(
    choice: Choice,
    pool: Sequence[Rule],
    evaluator: Evaluator,
    *,
    teacher: Teacher,
    config: ResolveConfig,
    unshown: Callable[[RuleSet | None], Sequence[dspy.Example]],
    text: Callable[[dspy.Example], str],
    go_on: Callable[[Sequence[Rule], RuleSet], Choice],
    calibrated: bool = False,
    seed: int = 0,
) -> Resolution:
    """Let the teacher revise the rules by what the student gets wrong, and search on, round by round.

    The rounds end where nothing is wrong, the teacher proposes nothing usable, or a cap is reached. A run that was
    stopped and starts again repeats no call, and ends where it would have ended.

    Args:
        choice: what the search before chose.
        pool: all its rules.
        evaluator: the student as a function of its rules.
        teacher: proposes the changes.
        config: how many rounds, and what the teacher sees.
        unshown: rules -> the training examples to find errors in.
        text: what the student reads of an example.
        go_on: goes on with the search over a larger pool, given the revised rules too, which are asked first.
        calibrated: whether answers will be decided with offsets; errors are then those that offsets leave.
        seed: of the sample.

    Source: the conflict resolution of arXiv 2602.21103; that the search decides on the changes is our own.
    """
    resolution = Resolution()
    for _ in range(config.max_rounds):
        train, rng = unshown(choice.rules), np.random.default_rng(seed)
        rows = stratified(evaluator.task.strata(train), range(len(train)), config.sample, rng)
        sample = {example_id(train[row], row): train[row] for row in rows}
        try:
            answers = evaluator.answers(choice.rules, [*sample.values()], stage=STAGE)
        except BudgetExceeded as error:
            resolution.stopped = str(error)
            break
        offsets = Offsets.none(evaluator.task.labels)
        if calibrated:
            offsets = matching_offsets(answers, [*sample.values()], evaluator.task)
        logprobs = logprobs_of(answers, evaluator.task) + np.array(offsets.values)
        answers = redecide(answers, offsets, evaluator)
        hard = find_hard_examples(sample, answers, logprobs, evaluator, most=config.errors, text=text)
        rules = choice.rules or RuleSet()
        revision = Revision({rule.id: rule for rule in pool}, [*rules.rules], hard, evaluator.task)
        proposed = _proposed(teacher, revision, resolution) if hard else []
        if not any(edit for _, edit in proposed):
            resolution.patches += [record for record, _ in proposed]
            break
        before, pool = choice.objective, list(revision.pool.values())
        choice = go_on(pool, rules.with_rules(revision.order))
        chosen = choice.rules or RuleSet()
        new = chosen if chosen.digest != rules.digest else None
        resolution.patches += [_judged(record, edit, new) for record, edit in proposed]
        resolution.rounds.append(Round(len(hard), before, choice.objective))
        resolution.stopped = choice.stopped
        if choice.stopped is not None:
            break
    return resolution


def _proposed(teacher: Teacher, revision: Revision, so_far: Resolution) -> list[tuple[PatchRecord, Edit | None]]:
    """Ask the teacher once, and apply what it proposes; return each change with its edit, None if it is unusable."""
    number, seen = len(so_far.rounds) + 1, tuple(one.example_id for one in revision.hard)
    used, missed = {rule.id for rule in revision.order}, {label for one in revision.hard for label in one.missed}
    bench = sorted(
        (rule for rule in revision.pool.values() if rule.id not in used),
        key=lambda rule: not missed & {*rule.labels},
    )
    inputs = {
        "labels": ", ".join(revision.task.labels),
        "rules": [f"{rule.id}: {rule.text}" for rule in revision.order],
        "bench": [f"{rule.id}: {rule.text}" for rule in bench[:MOST_BENCH]],
        "errors": as_shown(revision.hard),
        "earlier": so_far.earlier(),
    }
    [answer] = teacher.ask(ReviseRules, [inputs], stage=STAGE, texts=_texts, empty_reason="it changed nothing")
    if answer.outputs is None or not (rows := answer.outputs.get("changes")):
        lost = answer == NOT_ASKED or (answer.outputs is None and not answer.is_kept)
        reason = answer.error or "it proposes no change"
        return [] if lost else [(_record(number, Change(kind="unreadable"), seen, reason), None)]

    def applied(change: Change) -> tuple[PatchRecord, Edit | None]:
        try:
            edit = revision.apply(change)
        except Unusable as error:
            return _record(number, change, seen, f"unusable: {error}"), None
        return _record(number, change, seen, "not chosen by the search", edit), edit

    return [applied(Change.model_validate(row)) for row in rows]


def _record(number: int, change: Change, seen: tuple[str, ...], reason: str, edit: Edit | None = None) -> PatchRecord:
    kind = edit.kind if edit else change.kind
    return PatchRecord(
        round=number,
        kind="malformed" if kind == "unreadable" else kind,
        changed=tuple(rule.id for rule in edit.old) if edit else change.ids,
        made=tuple(rule.id for rule in edit.new) if edit else (),
        before=tuple(rule.text for rule in edit.old) if edit else (),
        after=tuple(rule.text for rule in edit.new) if edit else change.texts,
        errors=seen,
        usable=edit is not None,
        reason=reason,
    )


def _judged(record: PatchRecord, edit: Edit | None, chosen: RuleSet | None) -> PatchRecord:
    """Return the record after the search, which chose these rules; None where it chose those from before."""
    if edit is None or chosen is None or not edit.is_in(chosen):
        return record
    return record.model_copy(update={"kept": True, "reason": "chosen by the search"})


def _texts(answer: Answer) -> list[str]:
    """Return the texts of the changes, and for one that needs none its kind."""
    changes = map(Change.model_validate, (answer.outputs or {}).get("changes") or ())
    return [text for change in changes for text in change.texts or (change.kind,)]
