"""PLD, then ``dspy.experimental.ReAnchor``: rules first, then weights on the labels.

ReAnchor asks the student for the probability of each label, and multiplies these by weights fitted on labelled
examples; the rules do not change. It needs a description of the labelled output. Its answers are no bare labels, so
LabelAdapter passes them to its fallback.
"""

from __future__ import annotations

import dspy
from dspy.experimental import ReAnchor

from .case import Case, main


def compiled(case: Case) -> dspy.Module:
    """Compile the rules, then fit the weights; ReAnchor leaves weights out that do not help."""
    described = case.decision.with_updated_fields(case.label, desc="the label that fits the text best")
    with_rules = case.pld().compile(dspy.Predict(described), **case.data)
    return ReAnchor(metric=case.right).compile(with_rules, trainset=case.splits.train, valset=case.splits.val)


if __name__ == "__main__":
    main("reanchor", compiled)
