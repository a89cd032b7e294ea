"""Errors, and the bases of settings and of what is stored.

Each message names the field, row or setting at fault and the remedy.
No message shows a secret: texts of other libraries, which may cite an address or a key, pass :func:`without_secrets`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

SHORTEST_SECRET = 8  # characters; shorter ones are placeholders such as "local" and "EMPTY"

_SECRET_NAME = re.compile(
    r"(?:api|access|secret|private|subscription)[_-]?key|secret|passw(?:or)?d|passphrase|credential|authorization"
    r"|headers?$|(?:^|[_-])(?:key|token|auth|cookie)$|token_provider$",
    re.IGNORECASE,
)
_IN_TEXTS = (
    (re.compile(r"(?<=://)[^/\s]+@"), "***@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), r"\1 ***"),
    (
        re.compile(
            r"((?:api|access|secret|private|subscription)[_-]?key|secret|passw(?:or)?d|[?&](?:key|token|sig|signature))"
            r"(\w*[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;)}\]]+",
            re.IGNORECASE,
        ),
        r"\1\2***",
    ),
    (re.compile(r"\b(?:(?:sk|pk|gsk|xai|hf|ghp|github_pat|glpat)[-_]|AIza|AKIA|ya29\.|eyJ)[\w.*-]{8,}"), "***"),
)
_known: set[str] = set()  # values that are secrets by the name of their setting


def is_secret(name: str) -> bool:
    """Whether a setting or an environment variable of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


def remember_secrets(settings: Any, *, secret: bool = False) -> None:
    """Let :func:`without_secrets` know the secrets among an LM's settings; of headers, every value counts as one."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            remember_secrets(value, secret=secret or is_secret(str(name)))
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            remember_secrets(value, secret=secret)
    elif secret and isinstance(settings, str) and len(settings) >= SHORTEST_SECRET:
        _known.add(settings)


def without_secrets(text: str) -> str:
    """Return ``text`` with ``***`` for known secrets, those in environment variables, and what looks like one."""
    in_environment = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= SHORTEST_SECRET}
    for value in sorted(_known | in_environment, key=len, reverse=True):  # one may be a part of another
        text = text.replace(value, "***")
    for pattern, shown in _IN_TEXTS:
        text = pattern.sub(shown, text)
    return text


class PLDError(Exception):
    """Base of every error that the library raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class DataError(PLDError, ValueError):
    """The data or an argument is unusable: a missing field, an unknown label, rows shared by two splits."""


class ModelError(PLDError):
    """A model is missing or cannot be reached: an unknown name, a broken download, rejected credentials."""


class TooManyErrors(PLDError):
    """More calls failed than ``max_errors`` allows, or no answer holds a label; the message shows the first."""


class BudgetExceeded(PLDError):
    """The next call would exceed a cap on calls or money. Stages catch it and stop with the best so far."""


class RunError(PLDError):
    """A run folder cannot be used: it belongs to another compile, or is unfinished or damaged."""


class Stored(BaseModel):
    """Base of what files hold: frozen, and a field that is unknown is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(BaseModel):
    """Base of settings that users write: frozen, and a value out of range raises :class:`DataError`.

    ``Config(**config.model_dump())`` gives an equal object, so settings survive a YAML or JSON file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name, field = type(self).__name__, ".".join(map(str, first["loc"]))
            if first["type"] == "extra_forbidden":
                known = ", ".join(type(self).model_fields)
                raise DataError(f"{name} has no setting {field!r}. It has {known}.") from error
            message = first["msg"].removeprefix("Value error, ")  # pydantic's mark of a validator's own message
            raise DataError(f"{name}.{field} is {first['input']!r}; {message}.") from error
