"""What calls may cost, and what they have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Role = Literal["student", "teacher"]
UNCAPPED = "test"
"""The stage whose calls no cap stops: a compile that spent its budget is still reported on test."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Hard caps on a compile; None means no cap.

    Attributes:
        student_calls, teacher_calls: most calls that may be made.
        money: most money that may be spent, in the currency of ``prices``.
        prices: model name -> (price of a million prompt tokens, of a million completion tokens).
    """

    student_calls: int | None = None
    teacher_calls: int | None = None
    money: float | None = None
    prices: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Budget:
        """Return the budget that :meth:`plain` gave."""
        prices = {model: (given[0], given[1]) for model, given in plain.get("prices", {}).items()}
        return cls(**{**plain, "prices": prices})

    def plain(self) -> dict[str, Any]:
        """Return the caps that are set, as YAML can hold them."""
        found = {**asdict(self), "prices": {model: list(prices) for model, prices in self.prices.items()}}
        return {name: value for name, value in found.items() if value not in (None, {})}

    def cap(self, role: Role) -> int | None:
        """Return the cap on the calls of ``role``."""
        return self.student_calls if role == "student" else self.teacher_calls


@dataclass
class Spent:
    """What one stage of one role has cost, in this and in earlier processes."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    seconds: float = 0.0
    money: float = 0.0
    failures: int = 0
    reused: int = 0
    """Answers found in the ledger in this process: calls that were not made again."""
