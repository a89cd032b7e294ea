"""Rules in the prompt: PLD, as it answers; calibrated; and weighed against precedents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dspy

from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig

if TYPE_CHECKING:
    from . import Setting


def pld(setting: Setting, *, calibrate: bool = False, precedents: int = 0) -> dspy.Module:
    """Distil recorded rationales into rules, and search them within the budget, what calibration costs included."""
    calibration = 2 * len(setting.trainset) if calibrate else 0
    optimizer = PLD(
        objective=setting.objective,
        search=SearchConfig.within(setting.budget - calibration, len(setting.valset)),
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
