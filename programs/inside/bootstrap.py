"""Rules and demonstrations together: ``dspy.BootstrapFewShot`` after PLD, or before it.

After PLD, demonstrations are answers that the student gave under its rules. Before PLD, the rules are chosen for a
student that already has its demonstrations. BootstrapFewShot removes LMs from the predictors: set them again, or
use ``dspy.configure`` as here. It also marks its program as compiled, and PLD keeps that mark. DSPy leaves such a part
of a larger program out of the JSON file, unless you set its ``_compiled`` to False.
"""

from __future__ import annotations

import dspy

from .case import Case, main


def few_shot(case: Case) -> dspy.BootstrapFewShot:
    """Return an optimizer that adds up to four demonstrations which the program itself answered right."""
    return dspy.BootstrapFewShot(metric=case.right, max_bootstrapped_demos=4, max_labeled_demos=0)


def rules_first(case: Case) -> dspy.Module:
    """Compile the rules, then add demonstrations."""
    with_rules = case.pld().compile(dspy.Predict(case.decision), **case.data)
    return few_shot(case).compile(with_rules, trainset=case.splits.train)


def demonstrations_first(case: Case) -> dspy.Module:
    """Add demonstrations, then compile the rules."""
    with_demos = few_shot(case).compile(dspy.Predict(case.decision), trainset=case.splits.train)
    return case.pld().compile(with_demos, **case.data)


if __name__ == "__main__":
    main("bootstrap", rules_first)
