"""What resolving finds, proposes and changes, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import shorten
from typing import Literal, NamedTuple

from ..errors import Stored
from ..rules import RuleSet
from ..teacher.signatures import ChangeKind

STAGE = "resolve"
"""The stage under which calls are counted."""

CHOSEN, NOT_CHOSEN = "chosen by the search", "not chosen by the search"

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

    def judged(self, chosen: RuleSet) -> PatchRecord:
        """Return this record after the search chose other rules than before, which have the change or do not."""
        ids, texts = [rule.id for rule in chosen.rules], {(rule.id, rule.text) for rule in chosen.rules}
        if self.kind == "retire":
            kept = not {*self.changed} & {*ids}
        elif self.kind == "move":  # one rule to the beginning, or before another
            places = [ids.index(name) for name in self.changed if name in ids]
            kept = len(places) == len(self.changed) and places == sorted(places)
        else:  # or a part of it
            kept = not texts.isdisjoint(zip(self.made, self.after, strict=False))
        return self.model_copy(update={"kept": True, "reason": CHOSEN}) if kept and self.usable else self

    @property
    def told(self) -> str:
        """How the prompts of later rounds tell of it."""
        texts = shorten(" | ".join(self.after), TOLD_CHARACTERS, placeholder=" ...")
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
