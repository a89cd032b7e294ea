"""PLD, then ``dspy.experimental.ReAnchor``: rules first, then weights on the labels that they lead to.

ReAnchor has the student say how probable each label is, and multiplies these by weights that it fits on labelled
examples; the rules stay as they are. It asks for a description of the labelled output. Such answers go through
LabelAdapter's fallback, since they are no bare labels.
"""

from __future__ import annotations

import dspy
from dspy.experimental import ReAnchor

from .case import Case, main


def compiled(case: Case) -> dspy.Module:
    """Compile the rules, then fit the weights; ReAnchor leaves them out where they do not help."""
    described = case.decision.with_updated_fields(case.label, desc="the label that fits the text best")
    ruled = case.pld().compile(dspy.Predict(described), **case.data)
    return ReAnchor(metric=case.right).compile(ruled, trainset=case.splits.train, valset=case.splits.val)


if __name__ == "__main__":
    main("reanchor", compiled)
