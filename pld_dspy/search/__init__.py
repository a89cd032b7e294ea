"""Search: which rules, in which wording and order, make the student best on validation."""

from .applicability import applicability
from .config import CappedSearchConfig, SearchConfig
from .result import Effect, Insight, OrderSpread, Rung, SearchResult, TrialRow
from .storage import find_study, open_study, publish_rules
from .study import RuleSearch

__all__ = [
    "CappedSearchConfig",
    "Effect",
    "Insight",
    "OrderSpread",
    "RuleSearch",
    "Rung",
    "SearchConfig",
    "SearchResult",
    "TrialRow",
    "applicability",
    "find_study",
    "open_study",
    "publish_rules",
]
