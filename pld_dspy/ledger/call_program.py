"""One call of a program, synchronous or not, with inputs that are its own to change."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any

import dspy


def call_program(program: dspy.Module, inputs: Mapping[str, Any]) -> Any:
    """Return what ``program`` gives for copies of ``inputs``; a program with ``aforward`` alone runs in an event loop.

    The loop is one for all calls and stays open, since clients that a program keeps belong to the loop they began in.
    """
    own = {name: _copied(value) for name, value in inputs.items()}
    if not only_async(program):
        return program(**own)
    answer = asyncio.run_coroutine_threadsafe(program.acall(**own), _event_loop(os.getpid()))
    try:
        return answer.result()
    finally:
        answer.cancel()  # after an interrupt; nothing where it is done


def only_async(program: dspy.Module) -> bool:
    """Whether ``program`` has ``aforward`` and neither ``forward`` nor a ``__call__`` of its own."""
    # Not looked up on the program itself: DSPy warns whoever takes its forward.
    names = {*dir(type(program)), *vars(program)}
    return "aforward" in names and "forward" not in names and not has_own_call(program)


def has_own_call(program: dspy.Module) -> bool:
    """Whether a user's class says what a call does, in place of DSPy."""
    return not type(program).__call__.__module__.startswith("dspy.")


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - any object may refuse, with an error of its own
        return value


@cache
def _event_loop(process: int) -> asyncio.AbstractEventLoop:  # a forked process has no thread of its parent's
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="pld_dspy programs", daemon=True).start()
    return loop
