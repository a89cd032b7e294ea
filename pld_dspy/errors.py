"""Errors, and the base of settings; each message names the field, row or setting at fault and the remedy."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class PLDError(Exception):
    """Base of every error that the library raises on purpose."""


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
