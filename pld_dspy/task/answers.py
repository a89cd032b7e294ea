"""Answers as labels: which label a model's text means, and which labels could not be read from any text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import EnumMeta
from functools import lru_cache
from typing import Any, Literal, get_origin

from ..errors import DataError
from .labels import COLLECTIONS, NO_LABEL, bare_type, join_labels, label_text, label_values

SHORTEST_PREFIX = 3
"""Fewer characters are no abbreviation: "B" alone is rather the letter of an option than the start of a label."""

_DELIMITERS = re.compile(r"[,;|\n]")
"""Stand between labels in a model's text."""

_EDGES = " \t\r\n\"'`*_.,:;!?()[]{}<>|~#\u201c\u201d\u2018\u2019\u00ab\u00bb"
_BULLET = re.compile(r"^\s*[-*>]\s+")
_SEPARATORS = re.compile(r"[\s_-]+")
_INNER_BREAK = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])|(?<=[a-z])(?=[A-Z])")
# "non-spam", "C++" (for C) and "2.5" (for 2) mention no label.
_BEFORE, _AFTER = r"(?<![\w+#-])(?<!\d\.)", r"(?![\w+#-]|[.,]\d)"
_END = re.compile(r"[\"'`*]*(?:$|\s*[.!\n(]|\s+-\s|,?\s+(?:because|since|as)\b)")
_NEGATION = re.compile(r"\b(?:not|no|non|never|neither|nor|cannot|without)\b|n['\u2019]t\b")


def match_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that ``text`` means, or None if that is unknown or ambiguous.

    Rules, tried in this order: the label itself; the label but for case, quotes, punctuation, Markdown and the kind
    of separator between its words; a label that opens the answer, followed by a full stop, a line break or a reason;
    the start of exactly one label; exactly one label mentioned as a whole word, unless the text holds a negation.

    Args:
        text: a model's answer.
        labels: the label set; one label may be the start of another.
    """
    bare = _BULLET.sub("", text, count=1).strip(_EDGES)
    for candidate in (text.strip(), bare):
        if candidate in labels:
            return candidate
    pattern, owners = _mentions(tuple(labels))
    bare = bare.casefold()
    if whole := pattern.fullmatch(bare):
        return owners[_index(whole)]
    opening = pattern.match(bare)
    if opening and _END.match(bare, opening.end()):
        return owners[_index(opening)]
    return _only_prefixed(bare, labels) or _only_mentioned(text.casefold(), pattern, owners)


def match_labels(answer: Any, labels: Sequence[str]) -> str | None:
    """Return the labels that ``answer`` means, joined in one text; None if one of them is unknown or ambiguous.

    Args:
        answer: label values in a list, tuple or set; or a model's text: a JSON list, or labels with commas,
            semicolons, bars or line breaks between them. Each part is read by :func:`match_label`.
        labels: the label set.
    """
    parts = _parts(answer) if isinstance(answer, str) else answer
    if not isinstance(parts, COLLECTIONS):
        return None
    found = [match_label(label_text(part), labels) for part in parts]
    known = [label for label in found if label is not None]
    return join_labels(known, labels) if len(known) == len(found) else None


@lru_cache(maxsize=8)
def label_names(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that finds the names of labels in a text, in any case and with any separator of words.

    ``NotMentioned`` is found as "not mentioned", ``card_arrival`` as "card arrival" and "Card-Arrival".
    """
    # The longest first: a text with "top up failed" does not name "top up" as well.
    longest_first = sorted(labels, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(_name_pattern, longest_first))})(?!\w)", re.IGNORECASE)


def check_readable(annotation: Any, labels: Sequence[str], *, field: str) -> None:
    """Refuse labels that :func:`match_label` could not return.

    Args:
        annotation: the type of one label.
        labels: the label set: that of the type, or found in the data.
        field: the output field, for messages.

    Raises:
        DataError: two values of an Enum or Literal have the same text, or a label begins or ends with white space.
    """
    kind = bare_type(annotation)
    if (isinstance(kind, EnumMeta) or get_origin(kind) is Literal) and label_values(kind) is None:
        raise DataError(
            f"The output field {field!r} is of type {kind}, whose values cannot be told apart as text. Give an Enum or "
            "a Literal of texts or numbers, no two of them with the same text."
        )
    for label in labels:
        if label.strip() and label != label.strip():
            raise DataError(
                f"The label {label!r} of the output field {field!r} begins or ends with a blank, which is removed from "
                "answers before they are compared. Strip the label."
            )


def check_joinable(labels: Sequence[str]) -> None:
    """Refuse labels that could not be told apart when one text holds several.

    Raises:
        DataError: a label holds a comma, semicolon, bar or line break, or is "no label".
    """
    for label in labels:
        if _DELIMITERS.search(label) or label.strip().casefold() == NO_LABEL:
            raise DataError(
                f"The label {label!r} cannot be answered together with others: commas, semicolons, bars and line "
                f"breaks stand between labels, and {NO_LABEL!r} stands for an empty list. Rename the label."
            )


def _parts(text: str) -> list[Any] | None:
    """Split a text into its labels; None for an empty text."""
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if isinstance(listed, list):
        return listed
    if text.strip(" \t\r\n\"'`*.").casefold() == NO_LABEL:
        return []
    return [part for part in _DELIMITERS.split(text) if part.strip()] or None


@lru_cache(maxsize=64)
def _mentions(labels: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str | None, ...]]:
    """Return a pattern with one group per spelling, and each group's label; None where two labels share a spelling."""
    owners: dict[str, list[str]] = {}
    # The longest first, so that "top up failed" is not read as "top up".
    for label in sorted(labels, key=len, reverse=True):
        words = [re.escape(word.casefold()) for word in _INNER_BREAK.split(label)]
        # A label that writes its words together (camel case) may be answered without separators, too.
        separator = r"[\s_-]+" if _SEPARATORS.search(label) else r"[\s_-]*"
        owners.setdefault(separator.join(words), []).append(label)
    groups = "|".join(f"({spelling})" for spelling in owners)
    return (
        re.compile(f"{_BEFORE}(?:{groups}){_AFTER}"),
        tuple(found[0] if len(found) == 1 else None for found in owners.values()),
    )


def _index(match: re.Match[str]) -> int:
    return (match.lastindex or 1) - 1


def _only_prefixed(bare: str, labels: Sequence[str]) -> str | None:
    if len(bare) < SHORTEST_PREFIX:
        return None
    start = _SEPARATORS.sub(" ", bare)
    found = [label for label in labels if _SEPARATORS.sub(" ", label.casefold()).startswith(start)]
    return found[0] if len(found) == 1 else None


def _only_mentioned(text: str, pattern: re.Pattern[str], owners: Sequence[str | None]) -> str | None:
    found = {owners[_index(match)] for match in pattern.finditer(text)}
    if len(found) != 1 or _NEGATION.search(pattern.sub(" ", text)):
        return None
    return found.pop()


def _name_pattern(label: str) -> str:
    words = re.split(r"[ _-]+|(?<=[a-z])(?=[A-Z])", label)
    return r"[\s_-]*".join(map(re.escape, words)) if any(words) else re.escape(label)
