"""What tells the examples of one split from all others in config.yaml."""

from __future__ import annotations

import re
from collections.abc import Sequence

import dspy

from ..ledger.keys import digest


def fingerprint(examples: Sequence[dspy.Example]) -> str:
    """Return a digest of examples, and their number."""
    return f"{digest([dict(example) for example in examples])} ({len(examples)} rows)"


def rows_in(said: str) -> int:
    """Return the number of examples that a :func:`fingerprint` stands for; 0 for another text."""
    found = re.search(r"\((\d+) rows\)", said)
    return int(found[1]) if found else 0
