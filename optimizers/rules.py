"""Rules in the prompt: PLD without and with its search; calibrated; with precedents; with demonstrations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import dspy

from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig

from .demonstrations import bootstrap_random_search

if TYPE_CHECKING:
    from . import Setting


def pld(setting: Setting, *, search: bool = True, calibrate: bool = False, precedents: int = 0) -> dspy.Module:
    """Distil rationales into rules, and search them within the budget, what calibration costs included.

    Rationales are the recorded ones, or the setting's teacher's. Without ``search``, all rules in their first and in
    their second wordings compete with the unchanged student alone.
    """
    calibration = 2 * len(setting.trainset) if calibrate else 0
    within = SearchConfig.within(setting.budget - calibration, len(setting.valset))
    optimizer = PLD(
        teacher=setting.teacher,
        objective=setting.objective,
        search=within if search else SearchConfig(screen_calls=0, trials=0),
        calibrate=calibrate,
        precedents=precedents,
        budget=Budget(student_calls=setting.budget),
        run_dir=setting.folder,
        tracking=None,
        seed=setting.seed,
    )
    return optimizer.compile(
        setting.student, trainset=setting.trainset, valset=setting.valset, rationales=setting.rationales
    )


def pld_then_bootstrap(setting: Setting) -> dspy.Module:
    """Spend half of the budget on rules, and half on demonstrations beside them."""
    half = replace(setting, budget=setting.budget // 2)
    return bootstrap_random_search(replace(half, student=pld(half)))
