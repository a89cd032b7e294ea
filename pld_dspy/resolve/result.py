"""What the conflict loop did, patch by patch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from ..rules import Rule, RuleSet
from ..teacher.signatures import PatchKind

Source: TypeAlias = Literal["teacher", "unaided"]


class PatchRecord(BaseModel):
    """One proposed patch, and what became of it.

    Attributes:
        round: from 1.
        kind: what it does; "malformed" for a teacher's answer that holds no patch, or none that could be read.
        source: "teacher", or "unaided": another wording, a rule of the bench, or a rule less.
        changed, made: ids of the rules that it took away or changed, and of those that stand in their place.
        before, after: the texts of these.
        errors: ids of the training examples that it was made for.
        usable: False for what could not be read, not be put into effect, or plainly held nothing new.
        kept: whether it stayed.
        reason: why it was kept or refused.
        wins, losses: guard examples that only the patched, and only the unpatched, student got right; the errors that
            the patch was made for are not among them.
        asked: examples that it was judged on.
        gain: difference of the objective on these, without the errors that it was made for; None if it was not judged,
            or given up before all of them were asked.
        objective: on validation under the patch; None where it was not asked.
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


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round.

    Attributes:
        number: from 1.
        errors: training examples (of those asked) that the student got wrong at its start.
        conflicts: groups of errors that patches were looked for.
        tried: patches judged.
        kept: patches that stayed.
        unusable: patches, or whole answers of the teacher, that were of no use even when asked for again.
        objective: on validation at its end.
    """

    number: int
    errors: int
    conflicts: int
    tried: int
    kept: int
    unusable: int
    objective: float


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What the loop came to.

    Attributes:
        rules: the best set on validation; the given one where no patch was kept.
        bench: the rules outside it, retired and split ones last.
        rounds: one each, the last one perhaps cut short.
        patches: every proposed patch, in order.
        before, objective: objective on validation of the given and of the returned rules; None where a cap allowed
            no call at all.
        stopped: the cap that ended the loop; None if none did.
        dismissed: why the teacher was asked no more: nothing that it proposed in a round was kept. None where it was of
            use, or there was none.
    """

    rules: RuleSet
    bench: list[Rule]
    rounds: list[Round] = field(default_factory=list)
    patches: list[PatchRecord] = field(default_factory=list)
    before: float | None = None
    objective: float | None = None
    stopped: str | None = None
    dismissed: str | None = None

    @property
    def kept(self) -> list[PatchRecord]:
        """The patches that stayed, in order."""
        return [patch for patch in self.patches if patch.kept]
