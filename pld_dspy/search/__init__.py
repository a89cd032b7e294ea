"""Search: which rules, in which wording and order, make the student best on validation."""

from .applicability import applicability
from .config import SearchConfig
from .result import SearchResult, TrialRow
from .storage import open_study
from .study import RuleSearch

__all__ = ["RuleSearch", "SearchConfig", "SearchResult", "TrialRow", "applicability", "open_study"]
