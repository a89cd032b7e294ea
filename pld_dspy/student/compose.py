"""Put a rule set into the deciding predictor's instructions; everything else of the program stays as it is."""

from __future__ import annotations

import dspy

from ..errors import DataError
from ..rules import RULES_LEAD, RULES_LEAD_SEVERAL, RuleSet
from ..task.task import Task
from .copying import copied


def with_rules(student: dspy.Module, task: Task, rules: RuleSet | None) -> dspy.Module:
    """Return a deep copy of ``student`` whose deciding predictor follows ``rules``.

    The predictor gets a new signature class: the user's own is shared by all copies.

    Args:
        student: any DSPy program; not changed.
        task: names the deciding predictor.
        rules: the ordered rules; an empty set removes an earlier block of rules, None changes nothing.

    Raises:
        DataError: the program has no such predictor, or cannot be copied.
    """
    duplicate = copied(student)
    if rules is None:
        return duplicate
    predictors = dict(duplicate.named_predictors())
    if task.predictor not in predictors:
        raise DataError(f"The program has no predictor {task.predictor!r}; it has {', '.join(predictors)}.")
    predictor = predictors[task.predictor]
    lead = RULES_LEAD_SEVERAL if task.several else RULES_LEAD
    instructions = rules.instruct(predictor.signature.instructions, lead)
    predictor.signature = predictor.signature.with_instructions(instructions)
    return duplicate
