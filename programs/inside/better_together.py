"""PLD as a step of ``dspy.BetterTogether``, which runs optimizers one after the other and keeps the best program.

BetterTogether needs an LM on every predictor and passes PLD's own arguments on by name. With equal scores it keeps the
earlier program, so demonstrations stay only where they improve on the rules.
"""

from __future__ import annotations

import dspy

from .bootstrap import few_shot
from .case import Case, main


def compiled(case: Case) -> dspy.Module:
    """Compile rules, then add demonstrations."""
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
