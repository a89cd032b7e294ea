"""Caps on what calls may cost, and what they have cost."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from ..errors import BudgetExceeded, Settings

Role = Literal["student", "teacher"]
UNCAPPED = "test"
"""The stage whose calls no cap stops: a compile that spent its budget is still reported on test."""


class Budget(Settings):
    """Hard caps on a compile; None means no cap.

    Attributes:
        student_calls, teacher_calls: most calls that may be made.
        money: most money that may be spent, in the currency of ``prices``.
        prices: model name -> (price per million prompt tokens, per million completion tokens).
    """

    student_calls: int | None = Field(default=None, ge=0)
    teacher_calls: int | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)

    def cap(self, role: Role) -> int | None:
        """Return the cap on the calls of ``role``."""
        return self.student_calls if role == "student" else self.teacher_calls

    def check(self, role: Role, calls: int, money: float, *, reserved: int = 0) -> None:
        """Raise BudgetExceeded if one more call would exceed a cap; ``reserved`` calls are left to later stages."""
        cap = self.cap(role)
        if cap is not None and calls >= cap - reserved:
            if reserved:
                raise BudgetExceeded(
                    f"Stopped at {cap - reserved} of {cap} {role} calls: the last {reserved} are reserved for later "
                    f"stages ({role}_calls in Budget)."
                )
            raise BudgetExceeded(f"The cap of {cap} {role} calls is reached ({role}_calls in Budget).")
        if self.money is not None and money >= self.money:
            raise BudgetExceeded(f"The cap of {self.money:g} on money is reached (money in Budget).")

    def price(self, model: str, *, tokens_in: int, tokens_out: int) -> float:
        """Return what so many tokens cost; 0 for a model without a price."""
        price_in, price_out = self.prices.get(model, (0.0, 0.0))
        return (tokens_in * price_in + tokens_out * price_out) / 1e6


class Cost(BaseModel):
    """What one stage has cost in calls of one role; ``money`` is 0 where no prices were given."""

    calls: int = 0
    reused: int = 0  # answers that needed no call of this process
    failures: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    call_seconds: float = 0.0
    money: float = 0.0

    def add(self, other: Cost) -> None:
        """Add what ``other`` counted."""
        for name, number in other:
            setattr(self, name, getattr(self, name) + number)
