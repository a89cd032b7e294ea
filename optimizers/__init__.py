"""The line-up: PLD and what users would choose instead, behind one function and under one budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dspy

from pld_dspy.compile.inputs import Rationales
from pld_dspy.errors import DataError
from pld_dspy.scoring.objective import Objective, SetMetric

from . import demonstrations, encoder, linear, plain, rules


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The input of every optimizer.

    Attributes:
        student: the program to improve; never changed.
        trainset: labelled examples to learn from.
        valset: labelled examples to choose by.
        budget: approximate number of student calls for compiling.
        seed: of every random choice.
        objective: what to maximize, for optimizers that use it: "macro_f1", "accuracy", or a function of (examples,
            predictions).
        rationales: recorded micro-rules, for optimizers that use them.
        folder: where an optimizer may keep its files; None keeps nothing.
    """

    student: dspy.Module
    trainset: Sequence[dspy.Example]
    valset: Sequence[dspy.Example]
    budget: int
    seed: int
    objective: str | SetMetric = "macro_f1"
    rationales: Rationales = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        Objective(self.objective)


Optimizer = Callable[[Setting], dspy.Module]

OPTIMIZERS: dict[str, Optimizer] = {
    "zero_shot": plain.zero_shot,
    "chain_of_thought": plain.chain_of_thought,
    "labelled_few_shot": demonstrations.labelled_few_shot,
    "bootstrap_few_shot": demonstrations.bootstrap_few_shot,
    "tfidf_logistic": linear.tfidf_logistic,
    "encoder_logistic": encoder.encoder_logistic,
    "pld": rules.pld,
    "pld_calibrated": partial(rules.pld, calibrate=True),
    "pld_precedents": partial(rules.pld, calibrate=True, precedents=10),
}


def compile_with(
    name: str,
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    budget: int,
    seed: int,
    *,
    objective: str | SetMetric = "macro_f1",
    rationales: Rationales = None,
    folder: Path | None = None,
) -> dspy.Module:
    """Compile ``student`` with the optimizer ``name`` under the configured LM and adapter.

    Args:
        name: one of ``OPTIMIZERS``.
        student: the program to improve; never changed.
        trainset: labelled examples to learn from.
        valset: labelled examples to choose by.
        budget: approximate number of student calls for compiling.
        seed: of every random choice.
        objective: what to maximize, for optimizers that use it.
        rationales: recorded micro-rules, for optimizers that use them.
        folder: where an optimizer may keep its files.

    Returns:
        A program with the student's inputs and label field.

    Raises:
        DataError: there is no such optimizer or objective.
    """
    if name not in OPTIMIZERS:
        raise DataError(f"There is no optimizer {name!r}. Choose one of {', '.join(OPTIMIZERS)}.")
    return OPTIMIZERS[name](
        Setting(
            student=student,
            trainset=trainset,
            valset=valset,
            budget=budget,
            seed=seed,
            objective=objective,
            rationales=rationales,
            folder=folder,
        )
    )
