"""How to spend calls on conflicts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from ..errors import DataError

Blame: TypeAlias = Literal["leave_out", "ask", "none"]

SAMPLED_SHARE, TRACED_SHARE = 3, 6
"""One call in so many that a cap leaves may go into finding errors, and into tracing them."""

UNSAID = {"resolve_reserve": 0.2}
"""A setting that a run's config.yaml names only where it differs from this: a run folder from before it was there can
be gone on with."""


@dataclass(frozen=True, kw_only=True)
class ResolveConfig:
    """How to spend calls on conflicts.

    Attributes:
        max_rounds: rounds of finding errors and trying patches, at most; a round that does not improve validation
            is the last, but for one in which nothing of the teacher's was kept: patches without it may follow.
        errors_per_call: errors of one kind that the teacher is shown at once.
        neighbours: correct examples nearby that it is shown beside them.
        max_patches: patches that are tried a round, at most.
        alpha: a patch must win with a posterior probability above ``1 - alpha``; it is given up as soon as nothing that
            is left to ask can bring it there.
        guard: examples on which a patch is judged, at most.
        sample: training examples that the student answers a round, at most; a stratified draw of them. Under a cap that
            leaves few calls, fewer: half of these are kept for patches, a third is for this.
        blame: how the rule that an error leaned on is found. "leave_out" asks the student again without each of the
            rules for the label that it answered; "ask" has it name the rule, one call an error, which small
            models do badly; "none" leaves it to the teacher.
        blame_calls: questions that this takes a round, at most: the most suspected rules are left out first, and errors
            that are not reached have no known rule. None for no bound. Under a cap, a sixth of what it leaves.
        reserve: share of a cap on student calls that the search leaves to the loop, but no more than the loop can use.
    """

    max_rounds: int = 2
    errors_per_call: int = 6
    neighbours: int = 4
    max_patches: int = 12
    alpha: float = 0.15
    guard: int = 80
    sample: int = 200
    blame: Blame = "leave_out"
    blame_calls: int | None = 120
    reserve: float = 0.2

    def __post_init__(self) -> None:
        for name in ("max_rounds", "errors_per_call", "max_patches", "guard", "sample"):
            if getattr(self, name) < 1:
                raise DataError(f"ResolveConfig.{name} is {getattr(self, name)}; give at least 1.")
        if self.blame_calls is not None and self.blame_calls < 1:
            raise DataError(
                f"ResolveConfig.blame_calls is {self.blame_calls}; give at least 1, None for no bound, or blame='none'."
            )
        if self.neighbours < 0:
            raise DataError(f"ResolveConfig.neighbours is {self.neighbours}; give at least 0.")
        if not 0 < self.alpha < 0.5:
            raise DataError(f"ResolveConfig.alpha is {self.alpha}; give a value between 0 and 0.5.")
        if not 0 <= self.reserve < 1:
            raise DataError(f"ResolveConfig.reserve is {self.reserve}; give a share from 0 to below 1.")
        if self.blame not in get_args(Blame):
            raise DataError(f"ResolveConfig.blame={self.blame!r} is unknown. Give one of {', '.join(get_args(Blame))}.")

    def most_student_calls(self, *, train: int, val: int, rules: int) -> int:
        """Bound the student calls of the whole loop from above, for such splits and sets of at most so many rules."""
        sample = min(self.sample, train)
        errors = min(self.errors_per_call * self.max_patches, sample)
        traced = errors * {"leave_out": rules, "ask": 1, "none": 0}[self.blame]
        if self.blame_calls is not None:
            traced = min(traced, self.blame_calls)
        judged = min(self.errors_per_call + max(self.guard, self.neighbours), sample + val)
        tried = self.max_patches * (2 * judged + val)  # under both rule sets, and on validation where it passes
        return self.max_rounds * (sample + val + traced + tried)

    def within(self, calls: int | None) -> ResolveConfig:
        """Return settings under which half of ``calls`` are left to try patches with; the same without a bound.

        A third may go into finding errors, a sixth into finding the rules that they lean on: a loop that spends all it
        has on its diagnosis mends nothing.
        """
        if calls is None:
            return self
        traced = max(calls // TRACED_SHARE, 1)
        blame_calls = traced if self.blame_calls is None else min(self.blame_calls, traced)
        return replace(self, sample=min(self.sample, max(calls // SAMPLED_SHARE, 1)), blame_calls=blame_calls)

    def reserved_calls(self, cap: int | None, *, train: int, val: int) -> int:
        """Return how many student calls a search under ``cap`` leaves to the loop, for such splits; 0 without a cap."""
        if cap is None:
            return 0
        return min(int(self.reserve * cap), self.most_student_calls(train=train, val=val, rules=train))

    def most_teacher_calls(self) -> int:
        """Bound the teacher's answers in the whole loop from above: each conflict may be put twice."""
        return 2 * self.max_rounds * self.max_patches
