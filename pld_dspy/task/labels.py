"""Labels as text: the label texts of a type, and several labels joined in one text."""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import Enum, EnumMeta
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

COLLECTIONS = (list, tuple, set, frozenset)
SEPARATOR = ", "
NO_LABEL = "no label"
"""The text of an empty list of labels. It is an answer; a missing answer is None."""

LABEL_LOGPROBS = "label_logprobs"
"""Output of a prediction: label text -> log-probability."""


def label_values(annotation: Any) -> dict[str, Any] | None:
    """Return label text -> value of a ``Literal``, an ``Enum`` (by its members' values) or ``bool``, as declared.

    None for any other type, and where two values have the same text.
    """
    annotation = bare_type(annotation)
    if annotation is bool:
        return {"True": True, "False": False}
    if isinstance(annotation, EnumMeta):
        return _by_text(annotation)
    if get_origin(annotation) is Literal:
        return _by_text(value for value in get_args(annotation) if value is not None)
    return None


def label_text(value: Any) -> str:
    """Return a label value as text: an Enum member by its value, a whole number without decimals.

    A column of whole numbers with a gap holds floats: 1.0 is the label 1.
    """
    value = plain_value(value.value if isinstance(value, Enum) else value)
    return str(int(value) if isinstance(value, (float, Decimal)) and is_label(value) else value)


def is_label(value: Any) -> bool:
    """Whether a value can be a label that no type declares: a text, an Enum member, a bool or a whole number."""
    if isinstance(value, (float, Decimal)):
        return math.isfinite(value) and value % 1 == 0
    return isinstance(value, (str, int, Enum))


def plain_value(value: Any) -> Any:
    """Return a number, array or column of numpy, pandas or PyTorch as Python's own; any other value as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def bare_type(annotation: Any) -> Any:
    """Return the type within ``Annotated[T, ...]`` and ``Optional[T]``, however nested."""
    if get_origin(annotation) is Annotated:
        return bare_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [arg for arg in get_args(annotation) if arg is not type(None)]
        return bare_type(members[0]) if len(members) == 1 else annotation
    return annotation


def collection_of(annotation: Any) -> Any:
    """Return the collection type that holds several values: ``list`` for ``Optional[list[str]]``; None for others."""
    origin = get_origin(bare_type(annotation))
    return origin if origin in COLLECTIONS else None


def element_type(annotation: Any) -> Any | None:
    """Return the type of the values in ``list[T]``, ``set[T]``, ``tuple[T, ...]``; None for any other type."""
    collection, parts = collection_of(annotation), get_args(bare_type(annotation))
    if collection is tuple:
        return parts[0] if parts[1:] == (Ellipsis,) else None
    return parts[0] if collection and parts else None


def join_labels(chosen: Iterable[str], labels: Sequence[str]) -> str:
    """Return the labels ``chosen`` as one text: each once, in the order of the label set ``labels``."""
    included = set(chosen)
    return SEPARATOR.join(label for label in labels if label in included) or NO_LABEL


def labels_in(text: str, labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the labels in a text: the text itself where it is a label, else its parts; None if one is unknown."""
    if text in labels:
        return (text,)
    if text == NO_LABEL:
        return ()
    parts = tuple(text.split(SEPARATOR))
    return parts if all(part in labels for part in parts) else None


def indicator(texts: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return n x (C + 1): 1 where a text holds a label; the last column is for missing and unknown answers."""
    rows = np.zeros((len(texts), len(labels) + 1), dtype=np.int64)
    column = {label: number for number, label in enumerate(labels)}
    for row, text in enumerate(texts):
        found = None if text is None else labels_in(text, labels)
        rows[row, [len(labels)] if found is None else [column[label] for label in found]] = 1
    return rows


def _by_text(values: Iterable[Any]) -> dict[str, Any] | None:
    values = list(values)
    raw = [value.value if isinstance(value, Enum) else value for value in values]
    by_text = {label_text(value): value for value in values}
    usable = all(isinstance(value, (str, int, float)) for value in raw)
    return by_text if by_text and usable and len(by_text) == len(values) else None
