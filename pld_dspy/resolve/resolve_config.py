"""Settings of resolving: how much the teacher sees, and how many calls the search that follows may spend."""

from __future__ import annotations

from pydantic import Field

from ..errors import Settings

READ_SHARE = 3
"""Under a cap, a third of a round's calls may go into reading training examples."""


class ResolveConfig(Settings):
    """How often errors go back to the teacher, and how many student calls a round may cost.

    Attributes:
        max_rounds: most rounds; 0 for none, whatever ``auto`` stands for. In the second, the teacher is told what came
            of its first changes.
        errors: most errors and narrow escapes of one confusion that the teacher sees.
        sample: training examples, stratified by label, that the student answers per round.
        sets: calls of the search that follows, in validation sets: the revised list and two confirmations take three
            of them, what is left goes into learning which changes help.
        reserve: share of a cap on student calls that the first search leaves to the rounds, never more than they can
            use.
    """

    max_rounds: int = Field(default=2, ge=0)
    errors: int = Field(default=4, ge=1)
    sample: int = Field(default=200, ge=1)
    sets: int = Field(default=8, ge=4)
    reserve: float = Field(default=0.2, ge=0, lt=1)

    def round_calls(self, *, train: int, val: int, left: int | None) -> tuple[int, int]:
        """Return the student calls of one round, for training examples and for the search.

        ``left`` are those of all rounds under a cap.
        """
        read, searched = min(self.sample, train), self.sets * val
        if left is None:
            return read, searched
        own = left // self.max_rounds
        read = min(read, own // READ_SHARE)
        return read, min(searched, own - read)

    def most_student_calls(self, *, train: int, val: int) -> int:
        """Return an upper bound on the student calls of all rounds, for splits of these sizes."""
        return self.max_rounds * sum(self.round_calls(train=train, val=val, left=None))

    def most_teacher_calls(self) -> int:
        """Return an upper bound on the teacher calls of all rounds: one each, and one retry."""
        return 2 * self.max_rounds

    def reserved_calls(self, cap: int | None, *, train: int, val: int) -> int:
        """Return how many of the student calls under ``cap`` the search leaves to the rounds; 0 without a cap."""
        return min(int(self.reserve * (cap or 0)), self.most_student_calls(train=train, val=val))
