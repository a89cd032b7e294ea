"""What the conflict loop finds, tries and keeps, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from ..rules import Rule, RuleSet
from ..teacher.signatures import Patch, PatchKind

Source: TypeAlias = Literal["teacher", "unaided"]
"""Unaided: another wording, a rule from the bench, or one rule fewer."""

STAGE = "resolve"
"""The stage under which calls are counted."""

MOST_REMINDERS = 6
"""Earlier patches in a prompt to the teacher: the latest ones."""

REMINDER_CHARACTERS = 800
"""Longer than any usable rule. Without this limit, a teacher that rambles would outgrow its own prompt."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer to a training example. Several labels of one example are joined in one text."""

    row: int  # of the example in the pool
    example_id: str
    text: str  # what the student read
    gold: str
    answer: str
    missed: tuple[str, ...]  # labels that a patch should bring into the answer
    wrong: tuple[str, ...]  # labels that it should take out
    cost: float  # in recall, summed over the missed labels: as in macro-F1, mistakes on a rare label weigh more
    rule: str | None = None  # id of the rule that caused it, if known
    feedback: str = ""  # of the user's metric


@dataclass(frozen=True)
class Conflict:
    """Mistakes of one kind, caused by ``rule`` if that is known; ``neighbours`` are rows of similar correct answers."""

    mistakes: tuple[Mistake, ...]
    rule: str | None
    neighbours: tuple[int, ...]

    @property
    def rows(self) -> list[int]:
        """Pool rows of the mistakes."""
        return [mistake.row for mistake in self.mistakes]

    @property
    def example_ids(self) -> tuple[str, ...]:
        """Example ids of the mistakes."""
        return tuple(mistake.example_id for mistake in self.mistakes)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a patch should bring, the most frequent first."""
        counts = Counter(label for mistake in self.mistakes for label in mistake.missed)
        return tuple(label for label, _ in counts.most_common())


class PatchRecord(BaseModel):
    """A proposed patch and what became of it: one line of patches.jsonl."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int  # from 1
    kind: PatchKind | Literal["malformed"]  # malformed: a teacher's answer without a readable patch
    source: Source
    changed: tuple[str, ...] = ()  # ids of the rules that it changes or removes
    made: tuple[str, ...] = ()  # ids of the rules that replace them
    before: tuple[str, ...] = ()  # texts of the rules in ``changed``
    after: tuple[str, ...] = ()  # texts of the rules in ``made``
    errors: tuple[str, ...]  # ids of the training examples that it was made for
    usable: bool = True  # False if it could not be read or applied, or plainly said nothing new
    kept: bool = False
    reason: str  # why it was kept, or why not
    wins: int = 0  # guard examples that only the patched student got right
    losses: int = 0  # guard examples that only the unpatched student got right
    asked: int = 0  # examples that it was compared on, ``errors`` included; 0 if it was not tried
    gain: float | None = None  # difference of the objective on the guard set; None if that was not asked in full
    objective: float | None = None  # on validation under the patch; None if it did not get that far

    @property
    def correction(self) -> str:
        """How the prompt of an immediate retry lists an unusable patch."""
        return f"{_shortened(self.kind, *self.after)} (unusable: {self.reason})"

    @property
    def reminder(self) -> str:
        """How the prompts of later rounds list a refused patch."""
        return f"{self.kind} {' '.join(self.changed)}: {_shortened(*self.after)} (refused: {self.reason})"


def _shortened(*texts: str) -> str:
    return shorten(" | ".join(texts), REMINDER_CHARACTERS, placeholder=" ...")


class Round(NamedTuple):
    """Errors on the sampled training examples at its start, conflicts, and the objective on validation at its end."""

    errors: int
    conflicts: int
    objective: float | None


@dataclass(kw_only=True)
class Resolution:
    """The rules and every patch for them: brought up to date as the loop runs, and its result."""

    rules: RuleSet  # the best on validation; the first ones if no patch was kept
    bench: list[Rule]  # the rules outside it, removed and split ones last
    before: float | None = None  # objective of the first rules on validation; None if a cap allowed no call
    objective: float | None = None  # the same of the best rules
    patches: list[PatchRecord] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)  # a cap may have cut the last one short
    stopped: str | None = None  # the cap that ended the loop, if one did
    teacher_dropped: str | None = None  # why the teacher was not asked again, if it was not
    on_patch: Callable[[PatchRecord], object] | None = field(default=None, compare=False)

    @property
    def kept(self) -> list[PatchRecord]:
        """The patches that stayed, in order."""
        return [patch for patch in self.patches if patch.kept]

    @property
    def round(self) -> int:
        """Number of the current round, from 1."""
        return len(self.rounds) + 1

    @property
    def tried(self) -> int:
        """Patches tried in the current round."""
        return sum(patch.asked > 0 for patch in self.patches if patch.round == self.round)

    def add(self, patch: PatchRecord) -> None:
        """Add a patch whose fate is known."""
        self.patches.append(patch)
        if self.on_patch is not None:
            self.on_patch(patch)

    def unused(self, conflict: Conflict, patch: Patch | None, reason: str, *, usable: bool = False) -> PatchRecord:
        """Return the record of a teacher's patch that is not tried; None stands for an answer without a patch."""
        return PatchRecord(
            round=self.round,
            kind="malformed" if patch is None or patch.kind == "unreadable" else patch.kind,
            source="teacher",
            after=() if patch is None else patch.texts,
            errors=conflict.example_ids,
            usable=usable,
            reason=reason,
        )

    def reminders(self, conflict: Conflict) -> list[str]:
        """List refused patches for the same errors or the same rule, as the teacher reads them."""
        return [
            patch.reminder
            for patch in self.patches
            if not patch.kept and (conflict.rule in patch.changed or set(patch.errors) & set(conflict.example_ids))
        ][-MOST_REMINDERS:]
