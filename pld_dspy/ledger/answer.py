"""One answer: the result of calling a program once, whether it succeeds or fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import dspy

from ..dspy_names import UsageTracker
from ..errors import ModelError, without_secrets
from .call_program import call_program
from .content import as_json

LOST = "lost: "
"""Begins the error of a call that gave no answer at all (time-out, transport); a resumed compile makes it again."""

NO_PREDICTION = f"{LOST}the program returned "
"""Begins the error of a call that gave no prediction, such as a text."""

_FATAL = (dspy.LMAuthError, dspy.LMBillingError, dspy.LMConfigurationError, dspy.LMUnsupportedModelError)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program answered to one input."""

    outputs: dict[str, Any] | None  # output field -> JSON value; None for a failed call
    error: str | None = None  # one line
    raw: str | None = None  # how the model's own text begins, where no answer could be read from it
    seconds: float = 0.0
    calls: int = 1  # LM calls, retries within the program included
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0  # prompt tokens that the server had read before

    @property
    def is_lost(self) -> bool:
        """Whether the call gave no answer, so that another try may do better."""
        return self.error is not None and self.error.startswith(LOST)


NOT_ASKED = Answer(outputs=None, error="not asked: a cap was reached", calls=0)


def call_once(program: dspy.Module, row: dict[str, Any]) -> Answer:
    """Call ``program`` with the keyword arguments ``row``; raise ModelError if the model refuses key or settings."""
    tracker = UsageTracker()
    started = time.perf_counter()
    outputs, error, raw = None, None, None
    try:
        with dspy.context(usage_tracker=tracker):
            prediction = call_program(program, row)
        if isinstance(prediction, dspy.Example):
            outputs = as_json(prediction)
        else:
            error = f"{NO_PREDICTION}a {type(prediction).__name__}, not a dspy.Prediction"
    except _FATAL as failure:
        raise ModelError(
            f"The model refuses: {_first_line(failure)}. Check its name, key and settings, then run again."
        ) from failure
    except dspy.AdapterParseError as failure:
        error, raw = f"malformed answer: {_first_line(failure)}", str(failure.lm_response)[:300]
    except Exception as failure:  # noqa: BLE001 - a user's program may raise anything: counted, reported, capped
        error = f"{LOST}{type(failure).__name__}: {_first_line(failure)}"
    calls = [call for calls in tracker.usage_data.values() for call in calls]
    return Answer(
        outputs=outputs,
        error=error,
        raw=raw,
        seconds=round(time.perf_counter() - started, 4),
        calls=max(1, len(calls)),
        tokens_in=sum(call.get("prompt_tokens") or 0 for call in calls),
        tokens_out=sum(call.get("completion_tokens") or 0 for call in calls),
        tokens_cached=sum((call.get("prompt_tokens_details") or {}).get("cached_tokens") or 0 for call in calls),
    )


def _first_line(error: Exception) -> str:
    return without_secrets((str(error).strip().splitlines() or [""])[0])[:300]
