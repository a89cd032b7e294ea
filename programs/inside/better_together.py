"""PLD as a step of ``dspy.BetterTogether``, which runs optimizers in turn and keeps the best program it saw.

It wants every predictor bound to an LM, hands PLD's own arguments on by name, and lets the earlier program win a tie:
demonstrations stay only where they add to the rules.
"""

from __future__ import annotations

import dspy

from .bootstrap import few_shot
from .case import Case, main


def compiled(case: Case) -> dspy.Module:
    """Compile rules, then demonstrations on top of them."""
    student = dspy.Predict(case.decision)
    student.set_lm(dspy.settings.lm)
    together = dspy.BetterTogether(metric=case.right, rules=case.pld(), demos=few_shot(case))
    return together.compile(
        student,
        trainset=case.splits.train,
        valset=case.splits.val,
        strategy="rules -> demos",
        optimizer_compile_args={"rules": {"testset": case.splits.test, "rationales": case.rationales}},
    )


if __name__ == "__main__":
    main("better_together", compiled)
