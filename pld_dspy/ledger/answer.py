"""One answer: the result of calling a program once, whether it succeeds or fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import dspy

from ..errors import ModelError, without_secrets
from .call_program import call_program
from .completion import answer_part, holds_thought
from .content import as_json
from .dspy_names import UsageTracker
from .recorded import CUT, ROOM, completions, recorded_calls

LOST, REFUSED, FAILED = "lost: ", "refused: ", "failed: "
"""How the error of a call begins that gave no answer: on the way (time-out, transport, a server's fault), since the
server refuses this one request (a content filter, a text that is too long), or since the program raised an error. They
are not kept, so that a resumed compile makes these calls again."""

NO_PREDICTION = f"{FAILED}the program returned "
"""Begins the error of a call that gave no prediction, such as a text."""

_ON_THE_WAY = (
    dspy.LMProviderError,
    dspy.LMTransportError,
    dspy.LMLockTimeoutError,
    dspy.LMUnexpectedError,
    ConnectionError,
    TimeoutError,
)

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
    def is_kept(self) -> bool:
        """Whether the call gave an answer, be it malformed."""
        return self.error is None or not self.error.startswith((LOST, REFUSED, FAILED))

    @property
    def is_lost(self) -> bool:
        """Whether the answer was lost on the way, so that another try may do better at once."""
        return self.error is not None and self.error.startswith(LOST)

    @property
    def is_empty(self) -> bool:
        """Whether the model said nothing at all: perhaps a fault on the way, perhaps its answer."""
        return self.raw == ""

    @property
    def is_refused(self) -> bool:
        """Whether the server refuses this one request, so that another try does no better."""
        return self.error is not None and self.error.startswith(REFUSED)


NOT_ASKED = Answer(outputs=None, error="not asked: a cap was reached", calls=0)


def call_once(
    program: dspy.Module, row: dict[str, Any], tracker: UsageTracker | None = None, *, is_known: bool = False
) -> Answer:
    """Call ``program`` with the keyword arguments ``row``; raise ModelError if the model refuses key or settings.

    A ``tracker`` that earlier tries have used adds their calls and tokens to those of this one. Of a model that
    ``is_known`` to answer, HTTP 403 refuses the one request: gateways answer so what they moderate.
    """
    tracker = tracker or UsageTracker()
    started = time.perf_counter()
    outputs, error, raw = None, None, None
    try:
        with _counted(tracker), recorded_calls() as records:
            prediction = call_program(program, row)
        if not isinstance(prediction, dspy.Example):
            error = f"{NO_PREDICTION}a {type(prediction).__name__}, not a dspy.Prediction"
        elif records and any(holds_thought(text) and not answer_part(text) for text, *_ in completions(records[-1])):
            error = f"malformed answer: a thought that {CUT}. {ROOM}"
        else:
            outputs = as_json(prediction)
    except _FATAL as failure:
        if not (is_known and failure.status == HTTPStatus.FORBIDDEN):
            raise ModelError(
                f"The model refuses: {_first_line(failure)}. Check its name, key and settings, then run again."
            ) from failure
        error = f"{REFUSED}{_first_line(failure)}"
    except dspy.AdapterParseError as failure:
        error, raw = f"malformed answer: {_first_line(failure)}", str(failure.lm_response or "")[:300]
        if CUT not in error and records and any(cut for *_, cut in completions(records[-1])):
            error = f"malformed answer: it {CUT}. {ROOM}"
    except Exception as failure:  # noqa: BLE001 - a user's program may raise anything: counted, reported, capped
        error = f"{_kind(failure)}{type(failure).__name__}: {_first_line(failure)}"
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


@contextmanager
def _counted(tracker: UsageTracker) -> Iterator[None]:
    """Count the LM calls made inside with ``tracker``, and with the tracker of the caller, if there is one."""
    with dspy.track_usage() as used:  # adds to the caller's when it ends
        try:
            yield
        finally:
            for lm, calls in used.usage_data.items():
                tracker.usage_data[lm].extend(calls)


def _kind(failure: Exception) -> str:
    """Say whose fault it is that a call gave no answer."""
    if isinstance(failure, dspy.LMInvalidRequestError):
        return REFUSED
    status = getattr(failure, "status", None) or 0
    if isinstance(failure, dspy.LMProviderError) and 400 <= status < 500 and not dspy.is_retryable_lm_error(failure):
        return REFUSED
    # An answer that is no JSON, say, comes from something between here and the model.
    return LOST if isinstance(failure, _ON_THE_WAY) else FAILED


def _first_line(error: Exception) -> str:
    return without_secrets((str(error).strip().splitlines() or [""])[0])[:300]
