"""Rules and demonstrations together: ``dspy.BootstrapFewShot`` after PLD, or before it.

After PLD, demonstrations are answers that the student gave under its rules. Before PLD, the rules are chosen for a
student that has its demonstrations already. BootstrapFewShot forgets LMs that a program is bound to: bind them again,
or leave them to ``dspy.configure`` as here. It also marks what it gives as compiled, which PLD leaves as it is: as a
part of a bigger program, DSPy leaves that out of a JSON file unless its ``_compiled`` is set to False.
"""

from __future__ import annotations

import dspy

from .case import Case, main


def few_shot(case: Case) -> dspy.BootstrapFewShot:
    """Return the optimizer of demonstrations: up to four that the program answers right by itself."""
    return dspy.BootstrapFewShot(metric=case.right, max_bootstrapped_demos=4, max_labeled_demos=0)


def rules_first(case: Case) -> dspy.Module:
    """Compile the rules, then take demonstrations."""
    ruled = case.pld().compile(dspy.Predict(case.decision), **case.data)
    return few_shot(case).compile(ruled, trainset=case.splits.train)


def demonstrations_first(case: Case) -> dspy.Module:
    """Take demonstrations, then compile the rules."""
    shown = few_shot(case).compile(dspy.Predict(case.decision), trainset=case.splits.train)
    return case.pld().compile(shown, **case.data)


if __name__ == "__main__":
    main("bootstrap", rules_first)
