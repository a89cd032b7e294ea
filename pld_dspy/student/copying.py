"""Copies of programs: their own parts can be changed, and the original stays what it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import dspy

from ..errors import DataError

_LEFT_OUT = frozenset({"history", "callbacks"})
"""Attributes of a module that DSPy leaves out of its copies."""


def copied(program: dspy.Module, *, lm: dspy.BaseLM | None = None) -> dspy.Module:
    """Return a deep copy of ``program`` that shares its LMs: copies of these would take their call histories along.

    What refuses to be copied (a lock, a client) is shared as well. DSPy's own ``deepcopy`` would then share the whole
    list or dict that it is in, predictors included.

    Args:
        program: any DSPy program; not changed.
        lm: stands in the copy for every LM that the program holds, frozen parts included.

    Raises:
        DataError: a predictor, or a module that holds one, refuses to be copied.
    """
    leaves = list(_leaves(program, set()))
    kept: dict[int, Any] = {id(leaf): lm or leaf for leaf in leaves if isinstance(leaf, dspy.BaseLM)}
    try:
        duplicate = copy.deepcopy(program, dict(kept))
    except Exception:  # noqa: BLE001 - any attribute of a user's program may refuse, with an error of its own
        refusing = {id(leaf): leaf for leaf in leaves if id(leaf) not in kept and not _can_be_copied(leaf)}
        duplicate = _copied_around(program, kept | refusing)
    own = {id(predictor) for _, predictor in program.named_sub_modules(dspy.Predict)}
    for name, predictor in duplicate.named_sub_modules(dspy.Predict):
        if id(predictor) in own:
            raise DataError(f"The program cannot be copied: a copy shares {name!r} with it. Mend its __deepcopy__.")
    return duplicate


def _copied_around(program: dspy.Module, kept: dict[int, Any]) -> dspy.Module:
    try:
        return copy.deepcopy(program, kept)
    except Exception as error:
        raise DataError(
            f"The program cannot be copied: {type(error).__name__}: {error}. Let copy.deepcopy copy its modules."
        ) from error


def _leaves(part: Any, seen: set[int]) -> Iterator[Any]:
    """Yield what modules hold, in lists, tuples and dicts too, and is none of these itself."""
    if isinstance(part, dspy.Module):
        children = [value for name, value in vars(part).items() if name not in _LEFT_OUT]
    elif isinstance(part, dict):
        children = list(part.values())
    elif isinstance(part, (list, tuple)):
        children = list(part)
    else:
        yield part
        return
    if id(part) not in seen:
        seen.add(id(part))
        for child in children:
            yield from _leaves(child, seen)


def _can_be_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
