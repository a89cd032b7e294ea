"""Labels as text: the label texts of an output field's type, and the label that a free answer means."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Sequence
from enum import Enum, EnumMeta
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ..errors import DataError

SHORTEST_PREFIX = 3
"""Fewer characters are no abbreviation: a lone "B" is more likely an option's letter than the start of a label."""

COLLECTIONS = (list, tuple, set, frozenset)
"""Types of values that hold several labels at once."""

_EDGES = " \t\r\n\"'`*_.,:;!?()[]{}<>|~#\u201c\u201d\u2018\u2019\u00ab\u00bb"
_BULLET = re.compile(r"^\s*[-*>]\s+")
_SEPARATORS = re.compile(r"[\s_-]+")
_INNER_BREAK = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])|(?<=[a-z])(?=[A-Z])")
# "non-spam", "C++" (for C) and "2.5" (for 2) mention no label.
_BEFORE, _AFTER = r"(?<![\w+#-])(?<!\d\.)", r"(?![\w+#-]|[.,]\d)"
_END = re.compile(r"[\"'`*]*(?:$|\s*[.!\n(]|\s+-\s|,?\s+(?:because|since|as)\b)")
_NEGATION = re.compile(r"\b(?:not|no|non|never|neither|nor|cannot|without)\b|n['\u2019]t\b")


def label_values(annotation: Any) -> dict[str, Any] | None:
    """Return label text -> value for a type with a fixed, finite set of values, in the order declared.

    Args:
        annotation: a ``Literal`` of strings, numbers, bools or Enum members, an ``Enum`` class (labelled by its
            members' values) or ``bool``; also within ``Optional`` or ``Annotated``.

    Returns:
        None for any other type, and where two values have the same text and so cannot be told apart.
    """
    annotation = _unwrapped(annotation)
    if annotation is bool:
        return {"True": True, "False": False}
    if isinstance(annotation, EnumMeta):
        return _by_text(annotation)
    if get_origin(annotation) is Literal:
        return _by_text(value for value in get_args(annotation) if value is not None)
    return None


def label_texts(annotation: Any) -> tuple[str, ...] | None:
    """Return the label texts of a type as :func:`label_values` has them, or None if it is no label type."""
    values = label_values(annotation)
    return None if values is None else tuple(values)


def check_label_texts(annotation: Any, labels: Sequence[str], *, field: str) -> None:
    """Refuse labels that no answer could be read as.

    Args:
        annotation: the type of one label.
        labels: the label set: that of the type, or found in the data.
        field: the output field, for messages.

    Raises:
        DataError: the type is an Enum or Literal whose values cannot be told apart as text, or blanks stand around a
            label.
    """
    kind = _unwrapped(annotation)
    if (isinstance(kind, EnumMeta) or get_origin(kind) is Literal) and label_values(kind) is None:
        raise DataError(
            f"The output field {field!r} is of type {kind}, whose values cannot be told apart as text. Give an Enum or "
            "a Literal of texts or numbers, no two of them written alike."
        )
    for label in labels:
        if label.strip() and label != label.strip():
            raise DataError(
                f"The label {label!r} of the output field {field!r} begins or ends with a blank, and answers are read "
                "without. Strip it."
            )


def is_collection(annotation: Any) -> bool:
    """Tell whether a type holds several values at once: a list, set or tuple, also within ``Optional``."""
    return collection_of(annotation) in COLLECTIONS


def collection_of(annotation: Any) -> Any:
    """Return what a generic type is made of, ``list`` of ``Optional[list[str]]``; None for a plain type."""
    return get_origin(_unwrapped(annotation))


def element_type(annotation: Any) -> Any | None:
    """Return the type of each value of a type that holds any number of one kind; None for any other type.

    Args:
        annotation: ``list``, ``set`` or ``frozenset`` of a type, or ``tuple[T, ...]``; also within ``Optional`` or
            ``Annotated``.
    """
    made_of, parts = collection_of(annotation), get_args(_unwrapped(annotation))
    if made_of is tuple:
        return parts[0] if parts[1:] == (Ellipsis,) else None
    return parts[0] if parts and is_collection(annotation) else None


def label_text(value: Any) -> str:
    """Return a label value as text: an Enum member by its value, anything else by ``str``."""
    return str(value.value if isinstance(value, Enum) else value)


def match_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that ``text`` means, or None if that is unknown or ambiguous.

    Tried in turn: the label itself; the label but for case, quotes, punctuation, markdown and the kind of
    separator between its words; a label that opens the answer and is followed by a full stop, a line break or a
    reason; the start of exactly one label; exactly one label mentioned as a whole word, unless something is
    negated.

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


def _unwrapped(annotation: Any) -> Any:
    """The type within ``Annotated[T, ...]`` and ``Optional[T]``, however nested."""
    if get_origin(annotation) is Annotated:
        return _unwrapped(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        given = [arg for arg in get_args(annotation) if arg is not type(None)]
        return _unwrapped(given[0]) if len(given) == 1 else annotation
    return annotation


def _by_text(values: Iterable[Any]) -> dict[str, Any] | None:
    listed = list(values)
    raw = [value.value if isinstance(value, Enum) else value for value in listed]
    by_text = {label_text(value): value for value in listed}
    usable = all(isinstance(value, (str, int, float)) for value in raw)
    return by_text if by_text and usable and len(by_text) == len(listed) else None


@lru_cache(maxsize=64)
def _mentions(labels: tuple[str, ...]) -> tuple[re.Pattern[str], tuple[str | None, ...]]:
    """A pattern with one group a label, and each group's label; None for a group that two labels share."""
    spelled: dict[str, list[str]] = {}
    # The longest first, so that "top up failed" is not read as "top up".
    for label in sorted(labels, key=len, reverse=True):
        words = _INNER_BREAK.split(label)
        spelled.setdefault(_joined(label, [re.escape(word.casefold()) for word in words]), []).append(label)
    groups = "|".join(f"({spelling})" for spelling in spelled)
    owners = tuple(owner[0] if len(owner) == 1 else None for owner in spelled.values())
    return re.compile(f"{_BEFORE}(?:{groups}){_AFTER}"), owners


def _joined(label: str, words: list[str]) -> str:
    """Words joined by any separator; by none as well where the label itself writes them together (camel case)."""
    together = len(_SEPARATORS.split(label)) == 1
    return (r"[\s_-]*" if together else r"[\s_-]+").join(words)


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


@lru_cache(maxsize=8)
def label_names(labels: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of the names of labels in a text, in any case and however their words are joined.

    ``NotMentioned`` is found as "not mentioned", ``card_arrival`` as "card arrival" and "Card-Arrival".
    """
    # The longest first: who names "top up failed" does not name "top up" as well.
    longest_first = sorted(labels, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(_spelled, longest_first))})(?!\w)", re.IGNORECASE)


def _spelled(label: str) -> str:
    words = re.split(r"[ _-]+|(?<=[a-z])(?=[A-Z])", label)
    return r"[\s_-]*".join(map(re.escape, words)) if any(words) else re.escape(label)
