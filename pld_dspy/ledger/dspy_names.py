"""All that the library takes from within DSPy: what stands behind ``dspy.NAME`` may move or change with any version.

``tests/ledger/test_dspy_names.py`` says what of it another version has changed.
"""

from __future__ import annotations

import dspy
from dspy.adapters.utils import format_field_value as format_field_value
from dspy.signatures.signature import infer_prefix as infer_prefix
from dspy.teleprompt import Teleprompter as Teleprompter
from dspy.utils.callback import BaseCallback as BaseCallback
from dspy.utils.saving import get_dependency_versions as get_dependency_versions
from dspy.utils.usage_tracker import UsageTracker as UsageTracker

BOOKKEEPING = ("history", "callbacks", "_compiled")
"""Attributes of a module that DSPy writes; the first two are not in its copies."""


def default_adapter() -> dspy.Adapter:
    """Return the adapter that DSPy uses where none is configured; DSPy 3.5 is announced with another one."""
    version = tuple(map(int, dspy.__version__.split(".")[:2]))
    return dspy.ChatAdapter() if version < (3, 5) else dspy.XMLAdapter()
