"""Rules in the prompt: PLD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dspy

from pld_dspy.ledger.budget import Budget
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig

if TYPE_CHECKING:
    from . import Setting


def pld(setting: Setting) -> dspy.Module:
    """Distil recorded rationales into rules, and search them within the budget."""
    optimizer = PLD(
        objective=setting.objective,
        search=SearchConfig.within(setting.budget, len(setting.valset)),
        budget=Budget(student_calls=setting.budget),
        run_dir=setting.folder,
        tracking=None,
        seed=setting.seed,
    )
    return optimizer.compile(
        setting.student, trainset=setting.trainset, valset=setting.valset, rationales=setting.rationales
    )
