"""One answer: the result of calling a program once, whether it succeeds or fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError
from dspy.utils.usage_tracker import UsageTracker
from pydantic import TypeAdapter

from ..errors import ModelError

LOST = "lost: "
"""Begins the error of a call that gave no answer at all (time-out, transport); a resumed compile makes it again."""

RAW_CHARACTERS = 300

_FATAL = (dspy.LMAuthError, dspy.LMBillingError, dspy.LMConfigurationError, dspy.LMUnsupportedModelError)
_anything = TypeAdapter(Any)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program answered to one input.

    Attributes:
        outputs: output field -> JSON value; None for a failed call.
        error: the failure in one line; None if there is none.
        raw: how the model's own text begins, if no answer could be read from it; else None.
        seconds: wall time of the call.
        calls: LM calls made (a retry within the program counts).
        tokens_in, tokens_out: prompt and completion tokens of these calls.
        tokens_cached: prompt tokens that the server had read before.
    """

    outputs: dict[str, Any] | None
    error: str | None = None
    raw: str | None = None
    seconds: float = 0.0
    calls: int = 1
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0

    def prediction(self) -> dspy.Prediction:
        """Return the outputs as a DSPy prediction; an empty one for a failed call."""
        return dspy.Prediction(**(self.outputs or {}))

    @property
    def is_lost(self) -> bool:
        """Whether the call gave no answer, so that another try may do better."""
        return self.error is not None and self.error.startswith(LOST)


NOT_ASKED = Answer(outputs=None, error="not asked: a cap was reached", calls=0)


def call_once(program: dspy.Module, row: dict[str, Any]) -> Answer:
    """Call ``program`` with the keyword arguments ``row``; usage is counted even if the program fails.

    Raises:
        ModelError: the model rejects the credentials or the configuration.
    """
    tracker = UsageTracker()
    started = time.perf_counter()
    outputs, error, raw = None, None, None
    try:
        with dspy.context(usage_tracker=tracker):
            prediction = program(**row)
        outputs = as_json(prediction.toDict())
    except _FATAL as failure:
        raise ModelError(
            f"The model refuses: {_first_line(failure)}. Check its name, key and settings, then run again."
        ) from failure
    except AdapterParseError as failure:
        error, raw = f"malformed answer: {_first_line(failure)}", str(failure.lm_response)[:RAW_CHARACTERS]
    except Exception as failure:  # noqa: BLE001 - a user's program may raise anything: counted, reported, capped
        error = f"{LOST}{type(failure).__name__}: {_first_line(failure)}"
    seconds = time.perf_counter() - started
    calls = [call for calls in tracker.usage_data.values() for call in calls]
    return Answer(
        outputs=outputs,
        error=error,
        raw=raw,
        seconds=round(seconds, 4),
        calls=max(1, len(calls)),
        tokens_in=sum(call.get("prompt_tokens") or 0 for call in calls),
        tokens_out=sum(call.get("completion_tokens") or 0 for call in calls),
        tokens_cached=sum((call.get("prompt_tokens_details") or {}).get("cached_tokens") or 0 for call in calls),
    )


def as_json(value: Any) -> Any:
    """Return ``value`` as JSON types; what has no JSON form becomes its text."""
    return _anything.dump_python(value, mode="json", fallback=str)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]
