"""A compiled classifier inside a larger program: as the router between its parts, or as a tool of an agent.

The classifier is compiled alone, on its own labels; the larger program needs no labels.
"""

from __future__ import annotations

from collections.abc import Mapping

import dspy

from .case import Case, main


class Office(dspy.Module):
    """Sorts a text, then lets the desk of its label reply."""

    def __init__(self, router: dspy.Module, label: str, desks: Mapping[str, dspy.Module]) -> None:
        super().__init__()
        self.router = router
        self.label = label
        self.desks = dict(desks)

    def forward(self, text: str) -> dspy.Prediction:
        """Return the label as ``desk``, and the ``reply``."""
        desk = str(self.router(text=text)[self.label])
        return dspy.Prediction(desk=desk, reply=self.desks[desk](text=text).reply)


def as_tool(classifier: dspy.Module, label: str) -> dspy.Tool:
    """Return a classifier as a tool, for ``dspy.ReAct`` and the like."""

    def classify(text: str) -> str:
        """Name the label of a text."""
        return str(classifier(text=text)[label])

    return dspy.Tool(classify)


def compiled(case: Case) -> dspy.Module:
    """Compile the router, and put it into an office with one desk per label."""
    router = case.pld().compile(dspy.Predict(case.decision), **case.data)
    labels = sorted({example[case.label] for example in case.splits.train})
    desks = {name: dspy.Predict(dspy.Signature("text -> reply", f"Reply in one line for {name}.")) for name in labels}
    return Office(router, case.label, desks)


if __name__ == "__main__":
    main("router", compiled)
