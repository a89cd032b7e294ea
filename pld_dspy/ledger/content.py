"""Values by content: as JSON to be stored and read, and as what tells one value apart from any other."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import Any

import dspy
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]+")


def as_json(value: Any) -> Any:
    """Return a value as JSON types; what has no JSON form becomes its text."""
    if isinstance(value, (BaseModel, dspy.Example)):
        value = value.model_dump() if isinstance(value, BaseModel) else dict(value)
    elif hasattr(value, "tolist"):  # numbers, arrays and columns of numpy, pandas and others
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(part) for part in value]
    if isinstance(value, (set, frozenset)):  # its order differs from process to process
        return sorted(map(as_json, value), key=str)
    try:
        return to_jsonable_python(value, fallback=_text, bytes_mode="base64", inf_nan_mode="null")
    except (TypeError, ValueError):  # of a known type, and not as pydantic knows it: pandas' NaT
        return _text(value)


def content(value: Any, _within: frozenset[int] = frozenset()) -> Any:
    """Return all that tells a value apart from others as JSON types: of an object its class and its state.

    Equal values give equal contents in every process. Only what cannot be pickled (a lock) counts by its class alone.
    """
    if isinstance(value, Enum):
        value = [type(value).__qualname__, value.value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if id(value) in _within:
        return "(itself)"
    inner = partial(content, _within=_within | {id(value)})
    if isinstance(value, dict):
        return {str(name): inner(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [inner(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(inner, value), key=str)
    return _object(value, inner)


def _object(value: Any, inner: Callable[[Any], Any]) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, partial):
        return inner([value.func, value.args, value.keywords])
    if hasattr(value, "__qualname__"):  # a class or a function
        return [f"{value.__module__}.{value.__qualname__}", source(value)]
    if hasattr(value, "tolist"):
        return inner(value.tolist())
    kind = type(value).__qualname__
    if isinstance(value, (BaseModel, dspy.Example)):
        return [kind, inner(dict(value))]
    try:
        state = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - any object may refuse, with an error of its own
        return kind
    parts = [state] if isinstance(state, str) else state
    return [kind, [inner(list(part) if isinstance(part, Iterator) else part) for part in parts]]


def source(code: Any) -> str:
    """Return a digest of the source of a function, class or callable object; its name where there is no source."""
    named = code if hasattr(code, "__qualname__") else type(code)
    try:
        return hashlib.sha256(inspect.getsource(named).encode()).hexdigest()[:24]
    except (OSError, TypeError):  # as at a Python prompt
        return str(named.__qualname__)


def _text(value: Any) -> str:
    """Return a value's text, with its content in place of an address, which another process would not find."""
    text = str(value)
    if not _ADDRESS.search(text):
        return text
    return _ADDRESS.sub(hashlib.sha256(repr(content(value)).encode()).hexdigest()[:8], text)
