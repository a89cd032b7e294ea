"""The label set as servers take it: a grammar, a JSON schema and a regular expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ...ledger.completion import MISSING, json_field
from ...student.constraints import label_grammar, label_schema
from ...student.decision import Decision
from ...task.labels import NO_LABEL, SEPARATOR


def decision_of(field: str, labels: Sequence[str], *, several: bool) -> Decision:
    """Return the decision between label texts, whatever their type was."""
    return Decision(field, {label: label for label in labels}, list if several else None)


def as_constraints(decision: Decision) -> dict[str, Any]:
    """Return the label set as GBNF, JSON schema and regular expression."""
    return {
        "labels": list(decision.labels),
        "gbnf": label_grammar(decision.labels, several=decision.several),
        "json_schema": label_schema(decision),
        "regex": _regex(decision),
    }


def read_answer(text: str, decision: Decision) -> str | None:
    """Return the label, or labels, that a model's text means: bare, as JSON, or under ChatAdapter's field header."""
    header = f"[[ ## {decision.field} ## ]]"
    if header in text and json_field(text, decision.field) is MISSING:
        text = text.split(header, 1)[1].split("[[ ##", 1)[0].strip()
    return decision.match(text)


def _regex(decision: Decision) -> str:
    # Not re.escape: other engines refuse an escaped blank.
    one = "|".join(re.sub(r"[\\^$.|?*+()\[\]{}]", r"\\\g<0>", label) for label in decision.labels)
    return f"(?:{one})(?:{SEPARATOR}(?:{one}))*|{NO_LABEL}" if decision.several else f"(?:{one})"
