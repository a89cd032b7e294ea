"""Conflicts: mistakes of one kind, with correct examples nearby that a patch for them must not break."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from .mistakes import Mistake
from .pool import Pool


@dataclass(frozen=True)
class Conflict:
    """What one patch is to mend.

    Attributes:
        mistakes: of one kind.
        rule: id of the rule that they all lean on; None where none is known.
        neighbours: rows of training examples nearby that the student gets right.
    """

    mistakes: tuple[Mistake, ...]
    rule: str | None
    neighbours: tuple[int, ...]

    @property
    def rows(self) -> list[int]:
        """The rows of the mistakes."""
        return [one.row for one in self.mistakes]

    @property
    def example_ids(self) -> tuple[str, ...]:
        """The ids of the mistakes' examples."""
        return tuple(one.example_id for one in self.mistakes)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that should have been answered, the most frequent first."""
        return tuple(label for label, _ in Counter(_wanted(self.mistakes)).most_common())


def shortlisted(found: Sequence[Mistake], *, errors: int, most: int) -> list[Mistake]:
    """Return the mistakes that conflicts can be made of: the first of each confusion of one label with another.

    No conflict shows more than ``errors`` of a kind, so it pays to trace no more. Those listed bear the cost of the
    others of their confusion, so that it ranks by all of them.

    Args:
        found: the mistakes, the costliest confusions first.
        errors: mistakes a conflict, at most.
        most: conflicts, at most.
    """
    kinds: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for one in found:
        kinds[one.gold, one.answer].append(one)
    listed = [
        replace(one, cost=one.cost * len(kind) / min(len(kind), errors))
        for kind in kinds.values()
        for one in kind[:errors]
    ]
    return listed[: errors * most]


def conflicts(
    found: Sequence[Mistake],
    pool: Pool,
    answers: Sequence[str | None],
    *,
    errors: int,
    neighbours: int,
    most: int,
) -> list[Conflict]:
    """Group mistakes by the rule they lean on, those that lean on none by what was taken for what.

    A group makes one conflict, of its first ``errors`` mistakes: the others are evidence on a patch that was written
    without them, and come up next round if they are left.

    Args:
        found: the mistakes, traced.
        pool: n examples.
        answers: the student's n labels.
        errors: mistakes a conflict, at most.
        neighbours: correct examples a conflict, at most.
        most: conflicts, at most; the costliest groups first.
    """
    groups: dict[Hashable, list[Mistake]] = defaultdict(list)
    for one in found:
        groups[one.rule or (one.gold, one.answer)].append(one)
    costliest = sorted(groups.values(), key=lambda group: -sum(one.cost for one in group))
    right = [row for row in pool.train.values() if answers[row] == pool.golds[row]]
    made = []
    for group in costliest[:most]:
        shown = tuple(group[:errors])
        near = pool.nearest([one.row for one in shown], right, neighbours)
        made.append(Conflict(shown, shown[0].rule, tuple(near)))
    return made


def _wanted(found: Sequence[Mistake]) -> Iterator[str]:
    for one in found:
        yield from one.missed or (one.gold,)
