"""``dspy.InferRules``, which writes rules as PLD does, but in one call for all examples; as shipped, and repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.compose import copied

from .demonstrations import shuffled
from .metric import metric_of, teacher_settings

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
    """Return the student with demonstrations and the best of as many lists of ten rules as the budget lets it score."""
    student = copied(setting.student)
    for predictor in student.predictors():  # InferRules writes into the signature, which is also the user's
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
    left = setting.budget - (0 if setting.teacher else 2 * BOOTSTRAPPED)
    kind = RepairedInferRules if repaired else dspy.InferRules
    optimizer = kind(
        num_candidates=max(left // len(setting.valset), 1),
        teacher_settings=teacher_settings(setting),
        metric=metric_of(setting),
        max_bootstrapped_demos=BOOTSTRAPPED,
    )
    return optimizer.compile(student, trainset=shuffled(setting, setting.seed), valset=list(setting.valset))
