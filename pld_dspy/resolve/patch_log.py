"""The patch log: every patch and what became of it, for the result, for the teacher and for whoever watches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .conflicts import Conflict
from .guard import Verdict
from .patch import Edit
from .propose import Proposal, in_short
from .result import PatchRecord, Round, Source

logger = logging.getLogger(__name__)

OnPatch = Callable[[PatchRecord], object]

REMEMBERED = 6
"""Earlier patches that the teacher is told of, the latest."""


@dataclass
class PatchLog:
    """What one run proposed, tried and kept.

    Attributes:
        on_patch: called once a patch.
        patches: in order.
        rounds: the finished ones, and one that a cap cut short.
    """

    on_patch: OnPatch | None = None
    patches: list[PatchRecord] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    @property
    def number(self) -> int:
        """Number of the round under way, from 1."""
        return len(self.rounds) + 1

    @property
    def judged(self) -> int:
        """Patches judged in the round under way."""
        return sum(patch.asked > 0 for patch in self._now())

    def faulty(self, conflict: Conflict, proposal: Proposal) -> None:
        """Note what of a proposal cannot be used."""
        for fault in proposal.faults:
            self.unused(conflict, "teacher", kind=fault.kind, after=fault.texts, reason=fault.reason, usable=False)

    def unused(self, conflict: Conflict, source: Source, **what: Any) -> None:
        """Note a patch that was not judged; ``what`` are fields of the record."""
        self._note(PatchRecord(round=self.number, source=source, errors=conflict.example_ids, **what))

    def settled(
        self,
        conflict: Conflict,
        source: Source,
        edit: Edit,
        verdict: Verdict,
        *,
        kept: bool,
        reason: str,
        objective: float | None,
    ) -> None:
        """Note a patch that was judged."""
        self._note(
            PatchRecord(
                round=self.number,
                kind=edit.kind,
                source=source,
                changed=tuple(rule.id for rule in edit.old),
                made=tuple(rule.id for rule in edit.new),
                before=tuple(rule.text for rule in edit.old),
                after=tuple(rule.text for rule in edit.new),
                errors=conflict.example_ids,
                kept=kept,
                reason=reason,
                wins=verdict.wins,
                losses=verdict.losses,
                asked=verdict.asked,
                gain=verdict.gain,
                objective=objective,
            )
        )

    def close(self, *, errors: int, conflicts: int, objective: float) -> None:
        """End the round under way."""
        made = self._now()
        ended = Round(
            number=self.number,
            errors=errors,
            conflicts=conflicts,
            tried=self.judged,
            kept=sum(patch.kept for patch in made),
            unusable=sum(not patch.usable for patch in made),
            objective=objective,
        )
        self.rounds.append(ended)
        logger.info("%s", ended)

    def useless(self) -> str | None:
        """Say that nothing was kept of what the teacher proposed in the last round; None where some of it was.

        None also where it proposed nothing because it was not asked, or its answers were lost.
        """
        last = len(self.rounds)
        made = [patch for patch in self.patches if patch.round == last and patch.source == "teacher"]
        if not made or any(patch.kept for patch in made):
            return None
        unusable = sum(not patch.usable for patch in made)
        return (
            f"Nothing that the teacher proposed in round {last} was kept ({unusable} unusable, {len(made) - unusable} "
            "refused), so it was not asked again."
        )

    def remembered(self, conflict: Conflict) -> list[str]:
        """Say which patches for these errors, or of their rule, were refused in earlier rounds."""
        return [
            f"{patch.kind} {' '.join(patch.changed)}: {in_short(patch.after)} (refused: {patch.reason})"
            for patch in self.patches
            if not patch.kept and (conflict.rule in patch.changed or set(patch.errors) & set(conflict.example_ids))
        ][-REMEMBERED:]

    def _now(self) -> list[PatchRecord]:
        return [patch for patch in self.patches if patch.round == self.number]

    def _note(self, patch: PatchRecord) -> None:
        self.patches.append(patch)
        if self.on_patch is not None:
            self.on_patch(patch)
