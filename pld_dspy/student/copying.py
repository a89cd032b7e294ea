"""Copies of programs: their parts can be changed, and the original stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import dspy

from ..errors import DataError


def copied(program: dspy.Module, *, lm: dspy.BaseLM | None = None) -> dspy.Module:
    """Return a deep copy of ``program`` that shares its LMs, whose copies would take the call histories along.

    What cannot be copied (a lock, a client) is shared as well. DSPy's own ``deepcopy`` would then share the whole
    list or dict that holds it, predictors included.

    Args:
        program: any DSPy program; not changed.
        lm: takes the place of every LM that the program holds, frozen parts included.

    Raises:
        DataError: a predictor, or a module that holds one, cannot be copied.
    """
    leaves = list(_leaves(program, set()))
    shared: dict[int, Any] = {id(leaf): lm or leaf for leaf in leaves if isinstance(leaf, dspy.BaseLM)}
    try:
        duplicate = copy.deepcopy(program, dict(shared))
    except Exception:  # noqa: BLE001 - any attribute of a user's program may refuse, with an error of its own
        shared |= {id(leaf): leaf for leaf in leaves if id(leaf) not in shared and not _can_be_copied(leaf)}
        try:
            duplicate = copy.deepcopy(program, shared)
        except Exception as error:
            raise DataError(
                f"The program cannot be copied: {type(error).__name__}: {error}. Let copy.deepcopy copy its modules."
            ) from error
    own = {id(predictor) for _, predictor in program.named_sub_modules(dspy.Predict)}
    for name, predictor in duplicate.named_sub_modules(dspy.Predict):
        if id(predictor) in own:
            raise DataError(f"The program cannot be copied: a copy shares {name!r} with it. Correct its __deepcopy__.")
    return duplicate


def _leaves(part: Any, visited: set[int]) -> Iterator[Any]:
    """Yield what the modules, lists, tuples and dicts within ``part`` hold that is none of these itself."""
    if isinstance(part, dspy.Module):  # DSPy leaves history and callbacks out of its copies
        children = [value for name, value in vars(part).items() if name not in ("history", "callbacks")]
    elif isinstance(part, dict):
        children = list(part.values())
    elif isinstance(part, (list, tuple)):
        children = list(part)
    else:
        yield part
        return
    if id(part) not in visited:
        visited.add(id(part))
        for child in children:
            yield from _leaves(child, visited)


def _can_be_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
