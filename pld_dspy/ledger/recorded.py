"""What DSPy records of the LM calls within a block: the only place where the reason for an answer's end is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import dspy

Record = Mapping[str, Any]

CUT = "was cut at its limit of tokens"
"""Stands in the error of every call whose answer ended at a limit before it said anything."""
ROOM = "Give the model a larger max_tokens (a reasoning model thinks first), or turn its reasoning off."


@contextmanager
def recorded_calls() -> Iterator[list[Record]]:
    """Yield a list that gets DSPy's record of each LM call made within; it stays empty under ``disable_history``."""
    own = SimpleNamespace(history=[])
    with dspy.context(caller_modules=[*(dspy.settings.caller_modules or ()), own]):
        yield own.history


def completions(record: Record) -> list[tuple[str, bool, bool]]:
    """Return of each completion its text, whether the server sent a thought beside it, and whether it was cut."""
    response = record["response"]
    ends = response if isinstance(response, tuple) else part_of(response, "choices") or [response]
    cut = [part_of(end, "finish_reason") == "length" for end in ends]
    outputs = [output if isinstance(output, Mapping) else {"text": output} for output in record["outputs"]]
    if len(cut) != len(outputs):
        cut = [any(cut)] * len(outputs)
    return [
        (str(output.get("text") or ""), bool(output.get("reasoning_content")), is_cut)
        for output, is_cut in zip(outputs, cut, strict=True)
    ]


def part_of(value: Any, name: str) -> Any:
    """Return a part of what a server sent, which is a mapping or an object; None where it has no such part."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
