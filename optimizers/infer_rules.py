"""``dspy.InferRules``, which writes rules as PLD does, but in one call for all examples; as shipped, and repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.compose import copied

from .metric import metric_of

if TYPE_CHECKING:
    from . import Setting

BOOTSTRAPPED = 4


class RepairedInferRules(dspy.InferRules):
    """InferRules of DSPy 3.4 writes each candidate's rules into the signature that all candidates share.

    So it returns the last candidate's rules instead of the best one's. Here each candidate has a signature of its own.
    """

    def update_program_instructions(self, predictor: Any, natural_language_rules: str) -> None:
        """Give the predictor a signature of its own before the rules go into it."""
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
        super().update_program_instructions(predictor, natural_language_rules)


def infer_rules(setting: Setting, *, repaired: bool = True) -> dspy.Module:
    """Return the student with demonstrations and the best of up to ten lists of ten rules."""
    student = copied(setting.student)
    for predictor in student.predictors():  # InferRules writes into the signature, which is also the user's
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
    left = setting.budget - 2 * BOOTSTRAPPED
    kind = RepairedInferRules if repaired else dspy.InferRules
    optimizer = kind(
        num_candidates=max(min(left // len(setting.valset), 10), 1),
        teacher_settings={"lm": setting.teacher} if setting.teacher else None,
        metric=metric_of(setting),
        max_bootstrapped_demos=BOOTSTRAPPED,
    )
    return optimizer.compile(student, trainset=list(setting.trainset), valset=list(setting.valset))
