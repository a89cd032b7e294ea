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

STAGE = "resolve"
"""The stage under which calls are counted."""

MOST_REMINDERS = 6
"""Earlier patches in a prompt to the teacher: the latest ones."""

REMINDER_CHARACTERS = 800
"""Longer than any usable rule. Without this limit, a teacher that rambles would outgrow its own prompt."""


@dataclass(frozen=True, kw_only=True)
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
    """A proposed patch and what became of it: one line of patches.jsonl.

    Attributes:
        round: from 1.
        kind: what the patch does; "malformed" for a teacher's answer without a readable patch.
        source: "teacher", or "unaided": another wording, a rule from the bench, or one rule fewer.
        changed, made: ids of the rules that it changes or removes, and of those that replace them.
        before, after: texts of these rules.
        errors: ids of the training examples that the patch was made for.
        usable: False if it could not be read or applied, or plainly said nothing new.
        kept, reason: whether it stayed, and why.
        wins, losses: guard examples that only the patched, and only the unpatched student got right.
        asked: examples that it was compared on, ``errors`` included; 0 if it was not tried.
        gain: difference of the objective on the guard set; None if that was not asked in full.
        objective: objective on validation under the patch; None if it did not get that far.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    round: int
    kind: PatchKind | Literal["malformed"]
    source: Source
    changed: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    errors: tuple[str, ...]
    usable: bool = True
    kept: bool = False
    reason: str
    wins: int = 0
    losses: int = 0
    asked: int = 0
    gain: float | None = None
    objective: float | None = None

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
    """The rules and every patch for them: brought up to date as the loop runs, and its result.

    Attributes:
        rules: the best rule set on validation; the first one if no patch was kept.
        bench: the rules outside it, removed and split ones last.
        before, objective: objective on validation of the first and of the best rules; None if a cap allowed no call.
        patches: every proposed patch, in order.
        rounds: the rounds; a cap may have cut the last one short.
        stopped: the cap that ended the loop, if one did.
        teacher_dropped: why the teacher was not asked again, if it was not.
        on_patch: called with each patch once its fate is known.
    """

    rules: RuleSet
    bench: list[Rule]
    before: float | None = None
    objective: float | None = None
    patches: list[PatchRecord] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    stopped: str | None = None
    teacher_dropped: str | None = None
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

    def teacher_failure(self) -> str | None:
        """Say so if the teacher proposed patches in the last round and none was kept; else None."""
        last = len(self.rounds)
        patches = [patch for patch in self.patches if patch.round == last and patch.source == "teacher"]
        if not patches or any(patch.kept for patch in patches):
            return None
        unusable = sum(not patch.usable for patch in patches)
        return (
            f"Nothing that the teacher proposed in round {last} was kept ({unusable} unusable, "
            f"{len(patches) - unusable} refused), so it was not asked again."
        )
