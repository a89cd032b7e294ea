"""Proposals: patches for a conflict, from the teacher, or without one from what is there already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from ..ledger.answer import NOT_ASKED, Answer
from ..rules import Rule, RuleSet
from ..task.task import Task
from ..teacher.signatures import Patch, ResolveConflict
from ..teacher.teacher import Teacher
from .edit import Unusable, apply_patch, check_novel
from .pool import Pool
from .records import STAGE, Conflict, Mistake, PatchRecord, Resolution

SHOWN_CHARACTERS = 1_600
"""Of an example's text: ten of these and the rules should fit into a context of 8,192 tokens."""

LEFT_OUT = " [...] "

Read: TypeAlias = tuple[list[Patch], list[PatchRecord]]
"""The usable patches of a teacher's answer, and a record of each unusable one."""


def propose(teacher: Teacher, conflicts: Sequence[Conflict], pool: Pool, so_far: Resolution) -> list[list[Patch]]:
    """Return the teacher's usable patches for each conflict; none where a cap or a lost call left no answer.

    A teacher none of whose patches for a conflict is usable is asked once more, with the reasons. It is reminded of
    earlier patches in ``so_far``; the unusable ones are added to them.
    """

    def ask(asked: Sequence[Conflict], inputs: list[dict[str, Any]]) -> list[Read]:
        answers = teacher.ask(ResolveConflict, inputs, stage=STAGE)
        return [_read(answer, conflict, so_far, pool.task) for answer, conflict in zip(answers, asked, strict=True)]

    inputs = [_inputs(conflict, pool, so_far) for conflict in conflicts]
    found = ask(conflicts, inputs)
    retried = [place for place, (patches, unusable) in enumerate(found) if unusable and not patches]
    corrected = [
        {**inputs[place], "tried": [*inputs[place]["tried"], *(record.correction for record in found[place][1])]}
        for place in retried
    ]
    for place, second in zip(retried, ask([conflicts[place] for place in retried], corrected), strict=True):
        if any(second):
            found[place] = second
    for _, unusable in found:
        for record in unusable:
            so_far.add(record)
    return [patches for patches, _ in found]


def unaided(conflict: Conflict, rules: RuleSet, bench: Sequence[Rule], pool: Pool) -> Iterator[Patch]:
    """Yield patches that need no teacher: a rule from the bench, another wording, one rule fewer, and so on.

    Rules from the bench are those for the labels that should have been answered, first the one whose support is most
    similar to the errors.
    """
    fitting = [rule for rule in bench if set(rule.labels[:1]) & set(conflict.labels)]
    fitting.sort(key=lambda rule: -pool.similarity(conflict.rows, pool.rows_of(rule.support)))
    recalls = [Patch(kind="add", texts=(rule.text,)) for rule in fitting]
    cause = [rule for rule in rules.rules if rule.id == conflict.rule]
    rewordings = [
        Patch(kind="rewrite", rule=rule.id, texts=(text,))
        for rule in cause
        for text in rule.wordings
        if text != rule.text
    ]
    retirements = [Patch(kind="retire", rule=rule.id) for rule in cause]
    yield from (*recalls[:1], *rewordings[:1], *retirements, *recalls[1:], *rewordings[1:])


def _inputs(conflict: Conflict, pool: Pool, so_far: Resolution) -> dict[str, Any]:
    return {
        "labels": ", ".join(pool.task.labels),
        "rules": [f"{rule.id}: {rule.text}" for rule in so_far.rules.rules],
        "errors": [_error(mistake) for mistake in conflict.mistakes],
        "correct": [f"{cut_middle(pool.texts[row])}\nright answer: {pool.golds[row]}" for row in conflict.neighbours],
        "tried": so_far.reminders(conflict),
    }


def _error(mistake: Mistake) -> str:
    cause = f"; it leaned on the rule {mistake.rule}" if mistake.rule else ""
    text = f"{cut_middle(mistake.text)}\nright answer: {mistake.gold}; its answer: {mistake.answer}{cause}"
    return f"{text}\nfeedback: {mistake.feedback}" if mistake.feedback else text


def cut_middle(text: str) -> str:
    """Return a text, a long one without its middle: its topic is often at the beginning, a question at the end."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = (SHOWN_CHARACTERS - len(LEFT_OUT)) // 2
    return f"{text[:half]}{LEFT_OUT}{text[-half:]}"


def _read(answer: Answer, conflict: Conflict, so_far: Resolution, task: Task) -> Read:
    """Sort the patches of an answer into usable and unusable ones."""
    usable: list[Patch] = []
    unusable: list[PatchRecord] = []
    if answer.outputs is None:
        if answer != NOT_ASKED and answer.is_kept:
            unusable.append(so_far.unused(conflict, None, answer.error or ""))
        return usable, unusable
    rows = answer.outputs.get("patches") or ()
    if not rows:
        unusable.append(so_far.unused(conflict, None, "it proposes no patch"))
    for row in rows:
        patch = _without_ids(Patch.model_validate(row), so_far.rules)
        try:
            edit = apply_patch(patch, so_far.rules, so_far.bench, conflict)
            check_novel(patch, edit, so_far.rules, conflict, task)
            usable.append(patch)
        except Unusable as error:
            unusable.append(so_far.unused(conflict, patch, str(error)))
    return usable, unusable


def _without_ids(patch: Patch, rules: RuleSet) -> Patch:
    """Return a patch whose texts do not begin with the id of a rule, as the rules in the teacher's prompt do."""
    ids = "|".join(re.escape(rule.id) for rule in rules.rules)
    texts = tuple(re.sub(rf"^(?:rule )?(?:{ids}): *", "", text, flags=re.IGNORECASE) for text in patch.texts)
    return patch.model_copy(update={"texts": texts}) if ids else patch
