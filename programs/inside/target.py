"""Two predictors with the same label: ``target=`` says which one gets the rules."""

from __future__ import annotations

import dspy

from .case import Case, main


class Reviewed(dspy.Module):
    """Guesses, then decides after a second look at the text and the guess."""

    def __init__(self, decision: type[dspy.Signature]) -> None:
        super().__init__()
        self.label = next(iter(decision.output_fields))
        self.guess = dspy.Predict(decision)
        self.decide = dspy.Predict(decision.append("guess", dspy.InputField(desc="a first guess"), str))

    def forward(self, text: str) -> dspy.Prediction:
        """Return the second look's label."""
        return self.decide(text=text, guess=str(self.guess(text=text)[self.label]))


def compiled(case: Case) -> dspy.Module:
    """Compile the second look; the first guess does not change."""
    return case.pld(target="decide").compile(Reviewed(case.decision), **case.data)


if __name__ == "__main__":
    main("target", compiled)
