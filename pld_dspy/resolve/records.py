"""What resolving finds, proposes and changes, as data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..errors import Stored
from ..rules import RuleSet
from ..task.task import cut
from ..teacher.signatures import ChangeKind

STAGE = "resolve"
"""The stage under which calls are counted."""

CHOSEN, NOT_CHOSEN = "chosen by the search", "not chosen by the search"
CHOSEN_IN_PART = "chosen in part by the search"

TOLD_CHARACTERS = 300
"""Of a change's texts, where a later prompt tells of it."""


class Choice(NamedTuple):
    """What a search chose."""

    rules: RuleSet | None  # None where nothing beats the unchanged student
    objective: float  # on validation
    stopped: str | None  # why it ended early


@dataclass(frozen=True, kw_only=True)
class HardExample:
    """A training example that the student gets wrong, or only just right. Several labels are joined in one text."""

    example_id: str
    text: str  # what the student read
    gold: str
    rival: str  # the wrong answer; of one that is right, the next likely label
    wrong: bool
    missed: tuple[str, ...]  # gold labels that the answer lacks, or might
    cost: float  # in recall, summed over the missed labels: as in macro-F1, errors on a rare label weigh more
    feedback: str = ""  # of the user's metric


class PatchRecord(Stored):
    """A change that the teacher proposed, and what became of it: one line of patches.jsonl."""

    round: int  # from 1
    kind: ChangeKind | Literal["malformed"]  # malformed: an answer, or a part of it, that cannot be read
    changed: tuple[str, ...] = ()  # ids of the rules that it concerns
    made: tuple[str, ...] = ()  # ids of the rules that it rewords or makes
    before: tuple[str, ...] = ()  # texts of the rules in ``changed``
    after: tuple[str, ...] = ()  # texts of the rules in ``made``; of an unusable change, its own
    errors: tuple[str, ...] = ()  # ids of the training examples that the teacher saw
    usable: bool
    kept: bool = False  # whether the rules that the search chose after the round have it
    reason: str

    def judged(self, chosen: RuleSet, revised: Sequence[str]) -> PatchRecord:
        """Return this record after the search chose other rules than before, which have the change, a part, or nothing.

        ``revised`` are the ids of the teacher's list, in order: a moved rule must stand where it stands there, as far
        as the two lists share their rules.
        """
        ids, texts = [rule.id for rule in chosen.rules], {(rule.id, rule.text) for rule in chosen.rules}
        made = [one in texts for one in zip(self.made, self.after, strict=False)]
        done = [name not in ids for name in self.changed if name not in self.made]
        if self.kind == "move":
            earlier = [_before(self.changed[0], order, {*ids} & {*revised}) for order in (ids, revised)]
            done = [earlier[0] is not None and earlier[0] == earlier[1]]
        if not self.usable or not any(made or done):
            return self
        return self.model_copy(update={"kept": True, "reason": CHOSEN if all(made + done) else CHOSEN_IN_PART})

    @property
    def told(self) -> str:
        """How the prompts of later rounds tell of it."""
        texts = cut(" | ".join(self.after), TOLD_CHARACTERS)
        return f"{' '.join(dict.fromkeys([self.kind, *self.changed, *self.made]))}: {texts} ({self.reason})"


class Round(NamedTuple):
    """The objective on validation before and after a round."""

    before: float
    after: float


@dataclass(kw_only=True)
class Resolution:
    """What the rounds proposed and came to: brought up to date as they run."""

    patches: list[PatchRecord] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)  # those that searched
    stopped: str | None = None  # why they ended early

    @property
    def kept(self) -> list[PatchRecord]:
        """The patches that some round's choice has."""
        return [patch for patch in self.patches if patch.kept]

    def earlier(self) -> list[str]:
        """Tell the teacher what came of each earlier round."""
        return [
            line
            for number, one in enumerate(self.rounds, start=1)
            for line in (
                f"round {number}: objective {one.before:.3f} before, {one.after:.3f} after",
                *(patch.told for patch in self.patches if patch.round == number),
            )
        ]


def _before(name: str, order: Sequence[str], among: Collection[str]) -> set[str] | None:
    """Return which of ``among`` stand before a rule in an order; None where the rule is none of them."""
    return {*order[: order.index(name)]} & {*among} if name in among else None
