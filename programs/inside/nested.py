"""A classifier two modules deep: PLD finds the predictor by its output field."""

from __future__ import annotations

import dspy

from .case import Case, main


class Desk(dspy.Module):
    """Sorts texts."""

    def __init__(self, decision: type[dspy.Signature]) -> None:
        super().__init__()
        self.sort = dspy.Predict(decision)

    def forward(self, text: str) -> dspy.Prediction:
        """Return the label."""
        return self.sort(text=text)


class Office(dspy.Module):
    """Cleans the white space of texts, then sorts them at its desk."""

    def __init__(self, decision: type[dspy.Signature]) -> None:
        super().__init__()
        self.desk = Desk(decision)

    def forward(self, text: str) -> dspy.Prediction:
        """Return the desk's label."""
        return self.desk(text=" ".join(text.split()))


def compiled(case: Case) -> dspy.Module:
    """Compile the whole office; the rules go to ``desk.sort``."""
    return case.pld().compile(Office(case.decision), **case.data)


if __name__ == "__main__":
    main("nested", compiled)
