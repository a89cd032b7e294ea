"""Proposals: patches for a conflict, by the teacher, or without one from what is there already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal

from pydantic import ValidationError

from ..ledger.answer import LOST, NOT_ASKED, Answer
from ..rules import Rule, RuleSet
from ..task.task import Task
from ..teacher.signatures import Patch, PatchKind, ResolveConflict
from ..teacher.teacher import Teacher
from .conflicts import Conflict
from .mistakes import STAGE, Mistake
from .patch import Unusable, edited
from .pool import Pool
from .screening import screened

TOLD_CHARACTERS = 800
"""More than a rule that can be used is ever long."""

SHOWN_CHARACTERS = 1_600
"""Of an example's text: ten of these, with the rules, are to fit into a context of 8,192 tokens."""

LEFT_OUT = " [...] "


@dataclass(frozen=True)
class Fault:
    """A patch that cannot be used, or an answer in which there is none to read."""

    kind: PatchKind | Literal["malformed"]
    texts: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{in_short((self.kind, *self.texts))} (unusable: {self.reason})"


def in_short(texts: Sequence[str]) -> str:
    """Return refused texts as the teacher is told of them: whole if a rule could be that long, else their beginning.

    A teacher that rambles would else outgrow its own prompt.
    """
    return shorten(" | ".join(texts), TOLD_CHARACTERS, placeholder=" ...")


@dataclass(frozen=True)
class Proposal:
    """What the teacher proposes for one conflict; nothing where a cap or a lost call left it out."""

    patches: list[Patch] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class TeacherDesk:
    """Where conflicts are put to the teacher.

    Attributes:
        teacher: asked for patches.
        task: the labelled decision.
    """

    teacher: Teacher
    task: Task

    def propose(
        self,
        conflicts: Sequence[Conflict],
        tried: Sequence[list[str]],
        rules: RuleSet,
        bench: Sequence[Rule],
        pool: Pool,
    ) -> list[Proposal]:
        """Ask for patches; where nothing of an answer can be used, once more, with the reasons.

        Args:
            conflicts: c conflicts.
            tried: for each, earlier patches and why they were refused.
            rules: the set in use.
            bench: the rules outside it.
            pool: holds the conflicts' examples.

        Returns:
            c proposals.

        Raises:
            TooManyErrors: the teacher's calls fail too often.
            ModelError: it rejects credentials or settings.
        """
        asked = [self._inputs(one, said, rules, pool) for one, said in zip(conflicts, tried, strict=True)]
        found = [
            _read(answer, one, rules, bench, pool) for answer, one in zip(self._ask(asked), conflicts, strict=True)
        ]
        again = [place for place, one in enumerate(found) if one.faults and not one.patches]
        corrected = [
            {**asked[place], "tried": [*tried[place], *(str(fault) for fault in found[place].faults)]}
            for place in again
        ]
        for place, answer in zip(again, self._ask(corrected), strict=True):
            second = _read(answer, conflicts[place], rules, bench, pool)
            found[place] = second if second.patches or second.faults else found[place]
        return found

    def _ask(self, inputs: Sequence[dict[str, Any]]) -> list[Answer]:
        return self.teacher.ask(ResolveConflict, inputs, stage=STAGE)

    def _inputs(self, conflict: Conflict, tried: list[str], rules: RuleSet, pool: Pool) -> dict[str, Any]:
        return {
            "labels": ", ".join(self.task.labels),
            "rules": [f"{rule.id}: {rule.text}" for rule in rules.rules],
            "errors": [_told(one, pool) for one in conflict.mistakes],
            "correct": [f"{_cut(pool.texts[row])}\nright answer: {pool.golds[row]}" for row in conflict.neighbours],
            "tried": tried,
        }


def unaided(conflict: Conflict, rules: RuleSet, bench: Sequence[Rule], pool: Pool) -> Iterator[Patch]:
    """Yield patches that need no teacher, in turn: a rule of the bench, another wording, a rule less, and so on.

    Rules of the bench are taken for the labels that should have been answered, the one whose supporting examples are
    nearest to the errors first.
    """
    fitting = [rule for rule in bench if set(rule.labels[:1]) & set(conflict.labels)]
    closeness = {rule.id: pool.closeness(conflict.rows, pool.rows_of(rule.support)) for rule in fitting}
    recalls = [Patch(kind="add", texts=(rule.text,)) for rule in sorted(fitting, key=lambda rule: -closeness[rule.id])]
    blamed = [rule for rule in rules.rules if rule.id == conflict.rule]
    rewordings = [
        Patch(kind="rewrite", rule=rule.id, texts=(text,))
        for rule in blamed
        for text in rule.wordings
        if text != rule.text
    ]
    retirements = [Patch(kind="retire", rule=rule.id) for rule in blamed]
    yield from (*recalls[:1], *rewordings[:1], *retirements, *recalls[1:], *rewordings[1:])


def _told(mistake: Mistake, pool: Pool) -> str:
    leaned = f"; it leaned on the rule {mistake.rule}" if mistake.rule else ""
    told = f"{_cut(pool.texts[mistake.row])}\nright answer: {mistake.gold}; its answer: {mistake.answer}{leaned}"
    return f"{told}\nfeedback: {mistake.feedback}" if mistake.feedback else told


def _cut(text: str) -> str:
    """Return a text, a long one without its middle: what it is about often stands first, a question last."""
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = (SHOWN_CHARACTERS - len(LEFT_OUT)) // 2
    return f"{text[:half]}{LEFT_OUT}{text[-half:]}"


def _without_ids(patch: Patch, rules: RuleSet) -> Patch:
    """Return a patch whose texts do not begin with a rule's id, as the rules do that the teacher is shown."""
    ids = "|".join(re.escape(rule.id) for rule in rules.rules)
    texts = tuple(re.sub(rf"^(?:rule )?(?:{ids}): *", "", text, flags=re.IGNORECASE) for text in patch.texts)
    return patch.model_copy(update={"texts": texts}) if ids else patch


def _read(answer: Answer, conflict: Conflict, rules: RuleSet, bench: Sequence[Rule], pool: Pool) -> Proposal:
    """Sort an answer's patches into those worth a try and those that cannot be used."""
    if answer.outputs is None:
        if answer == NOT_ASKED or (answer.error or "").startswith(LOST):
            return Proposal()
        return Proposal(faults=[Fault("malformed", (), answer.error or "")])
    rows = answer.outputs.get("patches") or ()
    proposal = Proposal(faults=[] if rows else [Fault("malformed", (), "it proposes no patch")])
    for row in rows:
        try:
            patch = _without_ids(Patch.model_validate(row), rules)
        except ValidationError as error:
            proposal.faults.append(Fault("malformed", (), error.errors()[0]["msg"]))
            continue
        try:
            screened(patch, edited(patch, rules, bench, conflict), rules, conflict, pool)
        except Unusable as error:
            kind = "malformed" if patch.kind == "unreadable" else patch.kind
            proposal.faults.append(Fault(kind, patch.texts, str(error)))
        else:
            proposal.patches.append(patch)
    return proposal
