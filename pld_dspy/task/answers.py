"""Answers as labels: which label a model's text means, and which labels could not be read from any text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from enum import EnumMeta
from functools import lru_cache
from typing import Any, Literal, get_origin

from pydantic import TypeAdapter

from ..errors import DataError
from ..ledger.completion import answer_part, statements
from .labels import COLLECTIONS, NO_LABEL, bare_type, join_labels, label_text, label_values

_DELIMITERS = re.compile(r"[,;|\n]")  # stand between labels in a model's text
_EDGES = " \t\r\n\"'`*_.,:;!?()[]{}<>|~#\u201c\u201d\u2018\u2019\u00ab\u00bb"
_BULLET = re.compile(r"^\s*[-*>]\s+")
_SEPARATORS = re.compile(r"[\s_-]+")
_INNER_BREAK = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])|(?<=[a-z])(?=[A-Z])")
# "non-spam", "C++" (for C) and "2.5" (for 2) mention no label.
_BEFORE, _AFTER = r"(?<![\w+#-])(?<!\d\.)", r"(?![\w+#-]|[.,]\d)"
_MORE = r"\s*[.!\n(]|\s+-\s|,?\s+(?:because|since|as)\b|\s*[,}]\s*[\"'}]"
_END = re.compile(rf"[\"'`*]*(?:[\s\"'`*_.,:;!?)\]}}>]*$|{_MORE})")
_GOES_ON = re.compile(rf"[\"'`*]+$|[\"'`*]*(?:{_MORE})")
_YES_NO = re.compile(r"(yes|no)(?!\w|\s+(?!because|since|as\b)\w)", re.IGNORECASE)
_TRUTH = TypeAdapter(bool)
_NEGATION = re.compile(r"\b(?:not|no|non|never|neither|nor|cannot|without)\b|n['\u2019]t\b")


def match_label(text: str, labels: Sequence[str], *, names: Sequence[str] = (), cut: bool = False) -> str | None:
    """Return the label that a model's text means, or None if that is unknown or ambiguous.

    Rules, tried in this order: the label itself; after thoughts are left out, the label but for case, quotes,
    punctuation, Markdown and the kind of separator between its words; a label that opens the answer, followed by a full
    stop, a line break or a reason; the same behind "label:", "the answer is" or one of ``names``; the start of exactly
    one label; exactly one label mentioned as a whole word, unless the text holds a negation.

    If the text was ``cut`` at a limit, only what its missing end could not change counts: a label that is complete at
    the beginning of the answer, or the start of exactly one label.
    """
    answer = answer_part(text)
    bare = _bare(answer)
    if not cut:
        for candidate in (text.strip(), _bare(text), answer, bare):
            if candidate in labels:
                return candidate
    pattern, owners = _mentions(tuple(labels))
    bare = bare.casefold()
    going_on = _going_on(bare, labels)
    if (whole := pattern.fullmatch(bare)) and (not cut or len(going_on) == 1):
        return owners[whole.lastindex]
    if opening := _opening(answer, pattern, cut=cut):
        return owners[opening.lastindex]
    stated = (_opening(said, pattern, cut=cut) for said in statements(answer, names))
    if found := {owners[opening.lastindex] for opening in stated if opening}:
        return found.pop() if len(found) == 1 else None
    if len(bare) >= 3 and len(going_on) == 1:  # "B" alone is rather the letter of an option than the start of a label
        return going_on[0]
    return None if cut else _only_mentioned(answer.casefold(), pattern, owners)


def match_truth(text: str, *, names: Sequence[str] = (), cut: bool = False) -> str | None:
    """Return "True" or "False" for a text that says so in another way, as pydantic reads it: "yes", "Label: no"."""
    answer = answer_part(text)
    said = [_bare(part) for part in (answer, *statements(answer, names))]
    if not cut:
        for part in said:
            with suppress(ValueError):
                return str(_TRUTH.validate_python(part))
    found = {start[1].casefold() for part in said if (start := _YES_NO.match(part))}
    return {"yes": "True", "no": "False"}[found.pop()] if len(found) == 1 else None


def match_labels(answer: Any, labels: Sequence[str]) -> str | None:
    """Return the labels that ``answer`` means, joined in one text; None if one of them is unknown or ambiguous.

    An answer is a collection of label values; or a text: a JSON list, or labels with commas, semicolons, bars or line
    breaks between them.
    """
    parts = _parts(answer) if isinstance(answer, str) else answer
    if not isinstance(parts, COLLECTIONS):
        return None
    found = [match_label(label_text(part), labels) for part in parts]
    known = [label for label in found if label is not None]
    return join_labels(known, labels) if len(known) == len(found) else None


@lru_cache(maxsize=8)
def label_names(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that finds the names of labels: ``card_arrival`` also as "Card-Arrival" or "card arrival"."""
    # The longest first: a text with "top up failed" does not name "top up" as well.
    longest_first = sorted(labels, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(_name_pattern, longest_first))})(?!\w)", re.IGNORECASE)


def check_readable(annotation: Any, labels: Sequence[str], *, field: str) -> None:
    """Refuse labels that :func:`match_label` could not return; ``annotation`` is the type of one label."""
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
    """Refuse labels that could not be told apart when one text holds several."""
    for label in labels:
        if _DELIMITERS.search(label) or label.strip().casefold() == NO_LABEL:
            raise DataError(
                f"The label {label!r} cannot be answered together with others: commas, semicolons, bars and line "
                f"breaks stand between labels, and {NO_LABEL!r} stands for an empty list. Rename the label."
            )


def _parts(text: str) -> list[Any] | None:
    """Split a model's text into its labels; None for an empty text."""
    text = answer_part(text)
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list):
        return listed
    if text.strip(" \t\r\n\"'`*.").casefold() == NO_LABEL:
        return []
    return [part for part in _DELIMITERS.split(text) if part.strip()] or None


@lru_cache(maxsize=64)
def _mentions(labels: tuple[str, ...]) -> tuple[re.Pattern[str], dict[int | None, str | None]]:
    """Return a pattern with one group per spelling, and group -> label; None where two labels share a spelling."""
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
        {group: found[0] if len(found) == 1 else None for group, found in enumerate(owners.values(), start=1)},
    )


def _bare(text: str) -> str:
    return _BULLET.sub("", text, count=1).strip(_EDGES)


def _opening(text: str, pattern: re.Pattern[str], *, cut: bool) -> re.Match[str] | None:
    """Return the label that begins ``text`` and ends there; in a text that was cut, more must follow it."""
    text = _BULLET.sub("", text, count=1).lstrip(_EDGES).casefold()
    opening = pattern.match(text)
    ends = opening and (_GOES_ON if cut else _END).match(text, opening.end())
    return opening if ends else None


def _going_on(bare: str, labels: Sequence[str]) -> list[str]:
    """Return the labels that begin with ``bare``."""
    start = _SEPARATORS.sub(" ", bare)
    return [label for label in labels if _SEPARATORS.sub(" ", label.casefold()).startswith(start)]


def _only_mentioned(text: str, pattern: re.Pattern[str], owners: dict[int | None, str | None]) -> str | None:
    found = {owners[match.lastindex] for match in pattern.finditer(text)}
    if len(found) != 1 or _NEGATION.search(pattern.sub(" ", text)):
        return None
    return found.pop()


def _name_pattern(label: str) -> str:
    words = re.split(r"[ _-]+|(?<=[a-z])(?=[A-Z])", label)
    return r"[\s_-]*".join(map(re.escape, words)) if any(words) else re.escape(label)
