"""Prompt-Level Distillation (PLD) as a DSPy teleprompter.

    compiled = PLD(teacher=...).compile(student, trainset=train, valset=val)

Any ``dspy.Module`` with one labelled decision goes in; the same module comes out with a short, ordered, readable
list of rules in its instructions.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibrate.calibrated import Calibrated as Calibrated
    from .calibrate.fit_offsets import fit_offsets as fit_offsets
    from .induce.induce_config import InduceConfig as InduceConfig
    from .ledger.budget import Budget as Budget
    from .local.connect import local_lm as local_lm
    from .pld import PLD as PLD
    from .resolve.resolve_config import ResolveConfig as ResolveConfig
    from .rules import MicroRule as MicroRule
    from .rules import Rule as Rule
    from .rules import RuleSet as RuleSet
    from .run.result import PLDResult as PLDResult
    from .scoring.baselines import Baselines as Baselines
    from .search.search_config import SearchConfig as SearchConfig
    from .student.adapter import LabelAdapter as LabelAdapter
    from .task.splits import Splits as Splits

_HOMES = {
    "PLD": "pld",
    "Baselines": "scoring.baselines",
    "Budget": "ledger.budget",
    "Calibrated": "calibrate.calibrated",
    "InduceConfig": "induce.induce_config",
    "LabelAdapter": "student.adapter",
    "MicroRule": "rules",
    "PLDResult": "run.result",
    "ResolveConfig": "resolve.resolve_config",
    "Rule": "rules",
    "RuleSet": "rules",
    "SearchConfig": "search.search_config",
    "Splits": "task.splits",
    "fit_offsets": "calibrate.fit_offsets",
    "local_lm": "local.connect",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: the command line must not wait for DSPy to show its help."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
