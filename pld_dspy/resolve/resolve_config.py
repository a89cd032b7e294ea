"""Settings of the conflict loop: how many calls it may spend, and on what."""

from __future__ import annotations

from pydantic import Field

from ..errors import Settings

SEARCH_SHARE, TRACE_SHARE = 3, 6
"""Under a cap, a third of the calls may go into finding errors, and a sixth into tracing them to rules."""


class ResolveConfig(Settings):
    """How many calls to spend on the errors that are left after the search, and on what.

    Attributes:
        max_rounds: most rounds of finding errors and trying patches. A round that does not improve validation is the
            last one, unless it was the teacher's patches that failed: then patches without a teacher are tried.
        errors_per_call: most errors of one kind that the teacher sees in one call.
        neighbours: similar examples with correct answers that it sees beside them.
        max_patches: most patches tried per round.
        alpha: a patch is kept only if the posterior probability that it helps is above ``1 - alpha``.
        guard: size of the guard set: the examples on which a patch is compared with the rules before it.
        sample: training examples, stratified by label, that are searched for errors per round; at most a third of the
            calls that a cap leaves, so that half of them remain for trying patches.
        blame_calls: most student calls per round for finding the rules that cause errors, None for no limit; at most a
            sixth of those that a cap leaves. Calls are repeated without each rule for the answered label, the most
            suspect rules first. Errors that are not reached have no known rule; with 0, that is left to the teacher.
        reserve: share of a cap on student calls that the search leaves to the loop, never more than it can use.
    """

    max_rounds: int = Field(default=2, ge=1)
    errors_per_call: int = Field(default=6, ge=1)
    neighbours: int = Field(default=4, ge=0)
    max_patches: int = Field(default=12, ge=1)
    alpha: float = Field(default=0.15, gt=0, lt=0.5)
    guard: int = Field(default=80, ge=1)
    sample: int = Field(default=200, ge=1)
    blame_calls: int | None = Field(default=120, ge=0)
    reserve: float = Field(default=0.2, ge=0, lt=1)

    def most_student_calls(self, *, train: int, val: int, rules: int) -> int:
        """Return an upper bound on the loop's student calls, for splits of these sizes and this many rules."""
        sample = min(self.sample, train)
        errors = min(self.errors_per_call * self.max_patches, sample)
        traced = errors * rules if self.blame_calls is None else min(errors * rules, self.blame_calls)
        judged = min(self.errors_per_call + max(self.guard, self.neighbours), sample + val)
        tried = self.max_patches * (2 * judged + val)  # under both rule sets, and on validation where it passes
        return self.max_rounds * (sample + val + traced + tried)

    def most_teacher_calls(self) -> int:
        """Return an upper bound on the loop's teacher calls: one per conflict, and one retry."""
        return 2 * self.max_rounds * self.max_patches

    def reserved_calls(self, cap: int | None, *, train: int, val: int) -> int:
        """Return how many of the student calls under ``cap`` the search leaves to the loop; 0 without a cap."""
        return min(int(self.reserve * (cap or 0)), self.most_student_calls(train=train, val=val, rules=train))

    def within(self, calls: int) -> ResolveConfig:
        """Return settings that leave half of ``calls`` for trying patches."""
        traced, sample = max(calls // TRACE_SHARE, 1), max(calls // SEARCH_SHARE, 1)
        blame_calls = traced if self.blame_calls is None else min(self.blame_calls, traced)
        return self.model_copy(update={"sample": min(self.sample, sample), "blame_calls": blame_calls})
