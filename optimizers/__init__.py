"""The line-up: PLD and what users would choose instead, behind one function and under one budget."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dspy

from pld_dspy.compile.inputs import Rationales
from pld_dspy.errors import DataError
from pld_dspy.scoring.objective import Objective, SetMetric

from . import demonstrations, encoder, infer_rules, linear, plain, prompts, rules


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
        teacher: the model that writes rationales, instructions or rules, for optimizers that use one. Where None, PLD
            has the recorded rationales alone, and the others ask the student itself, as they do by default.
        folder: where an optimizer may keep its files; None keeps nothing.
    """

    student: dspy.Module
    trainset: Sequence[dspy.Example]
    valset: Sequence[dspy.Example]
    budget: int
    seed: int
    objective: str | SetMetric = "macro_f1"
    rationales: Rationales = None
    teacher: dspy.LM | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        Objective(self.objective)


Optimizer = Callable[[Setting], dspy.Module]

OPTIMIZERS: dict[str, Optimizer] = {
    "zero_shot": plain.zero_shot,
    "zero_shot_framed": plain.framed,
    "chain_of_thought": plain.chain_of_thought,
    "labelled_few_shot": demonstrations.labelled_few_shot,
    "labelled_few_shot_16": partial(demonstrations.labelled_few_shot, size=16),
    "labelled_few_shot_32": partial(demonstrations.labelled_few_shot, size=32),
    "nearest_few_shot": demonstrations.nearest_few_shot,
    "bootstrap_few_shot": demonstrations.bootstrap_few_shot,
    "bootstrap_random_search": demonstrations.bootstrap_random_search,
    "infer_rules": infer_rules.infer_rules,
    "infer_rules_as_shipped": partial(infer_rules.infer_rules, repaired=False),
    "copro": prompts.copro,
    "mipro": prompts.mipro,
    "mipro_instructions": partial(prompts.mipro, demos=0),
    "gepa": prompts.gepa,
    "simba": prompts.simba,
    "pld_all_rules": partial(rules.pld, search=False),
    "pld_demonstrations": partial(rules.pld, search=False, demos=16),
    "pld": rules.pld,
    "pld_calibrated": partial(rules.pld, calibrate=True),
    "pld_precedents": partial(rules.pld, calibrate=True, precedents=10),
    "pld_all_rules_precedents": partial(rules.pld, search=False, calibrate=True, precedents=10),
    "precedents": partial(rules.precedents_alone, count=10),
    "pld_no_clusters": partial(rules.pld, induce=rules.NO_CLUSTERS),
    "pld_one_wording": partial(rules.pld, induce=rules.ONE_WORDING),
    "pld_tfidf": partial(rules.pld, embedder="tfidf"),
    "pld_framed": partial(rules.pld, frames=True),
    "pld_from_teacher": rules.pld_from_teacher,
    "pld_then_bootstrap": rules.pld_then_bootstrap,
    "majority": linear.majority,
    "tfidf_logistic": linear.tfidf_logistic,
    "encoder_neighbours": partial(encoder.encoder_logistic, neighbours=True),
    "encoder_logistic": encoder.encoder_logistic,
    "encoder_logistic_notes": partial(encoder.encoder_logistic, notes=True),
}


def compile_with(name: str, setting: Setting) -> dspy.Module:
    """Compile the setting's student with the optimizer ``name`` under the configured LM and adapter.

    Args:
        name: one of ``OPTIMIZERS``.
        setting: the student, its examples and the budget.

    Returns:
        A program with the student's inputs and label field.

    Raises:
        DataError: there is no such optimizer.
    """
    if name not in OPTIMIZERS:
        raise DataError(f"There is no optimizer {name!r}. Choose one of {', '.join(OPTIMIZERS)}.")
    # An answer that cannot be read is wrong, for every optimizer; DSPy's own would give up after ten of them.
    with dspy.context(max_errors=sys.maxsize):
        return OPTIMIZERS[name](setting)
