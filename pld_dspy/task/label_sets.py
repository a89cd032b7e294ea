"""Several labels at once as one text: the form in which ledger, search and figures hold such an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .labels import COLLECTIONS, label_text, match_label

SEPARATOR = ", "
"""Joins the labels of a text."""

NO_LABEL = "no label"
"""The text of an answer that holds no label, where that is an answer: an empty list, not a missing one."""

PARTING = re.compile(r"[,;|\n]")
"""What parts labels in a text that somebody else wrote; no label of a set that is answered in several may hold it."""


def joined(found: Iterable[str], labels: Sequence[str]) -> str:
    """Return ``found`` as the one text that stands for it: each label once, in the order of ``labels``."""
    given = set(found)
    return SEPARATOR.join(label for label in labels if label in given) or NO_LABEL


def labels_in(text: str, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels that a text names: itself where it is a label, those it joins; None for any other text."""
    if text in labels:
        return (text,)
    if text == NO_LABEL:
        return ()
    parts = tuple(text.split(SEPARATOR))
    return parts if all(part in labels for part in parts) else None


def match_labels(answer: Any, labels: Sequence[str]) -> str | None:
    """Return the joined labels that ``answer`` means; None if one of them is unknown or ambiguous.

    Args:
        answer: label values in a list, tuple or set; or a model's text with labels parted by commas, semicolons,
            bars or line breaks, or as a JSON list. Each is read as :func:`~pld_dspy.labels.match_label` does.
        labels: the label set.
    """
    parts = _parts(answer) if isinstance(answer, str) else answer
    if not isinstance(parts, COLLECTIONS):
        return None
    found = [match_label(label_text(part), labels) for part in parts]
    known = [label for label in found if label is not None]
    return joined(known, labels) if len(known) == len(found) else None


def indicator(texts: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return n x (C + 1): 1 where a text names a label; the last column is for texts that are missing or unknown."""
    rows = np.zeros((len(texts), len(labels) + 1), dtype=np.int64)
    column = {label: number for number, label in enumerate(labels)}
    for row, text in enumerate(texts):
        named = None if text is None else labels_in(text, labels)
        rows[row, [len(labels)] if named is None else [column[label] for label in named]] = 1
    return rows


def check_joinable(labels: Sequence[str]) -> None:
    """Refuse a label set of which several labels in one text could not be told apart.

    Raises:
        DataError: a label holds a comma, semicolon, bar or line break, or is the word for no label.
    """
    for label in labels:
        if PARTING.search(label) or label.strip().casefold() == NO_LABEL:
            raise DataError(
                f"The label {label!r} cannot be answered together with others: commas, semicolons, bars and line "
                f"breaks part labels, and {NO_LABEL!r} stands for an empty list. Rename the label."
            )


def _parts(text: str) -> list[Any] | None:
    """The labels of a text, as far as they can be told apart; None for an empty text."""
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if isinstance(listed, list):
        return listed
    if text.strip(" \t\r\n\"'`*.").casefold() == NO_LABEL:
        return []
    return [part for part in PARTING.split(text) if part.strip()] or None
