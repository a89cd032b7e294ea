"""Copies of programs, and the rule set in a copy's instructions; the original stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.dspy_names import BOOKKEEPING
from ..rules import RULES_LEAD, RULES_LEAD_SEVERAL, RuleSet
from ..task.task import Task
from .decision import Decision


def with_rules(student: dspy.Module, task: Task, rules: RuleSet | None) -> dspy.Module:
    """Return a deep copy of ``student`` whose deciding predictor follows ``rules`` (None: as it is).

    Demonstrations stand after the program's own. An empty set removes an earlier block of rules. The user's own
    signature class, which all copies share, stays.
    """
    duplicate = copied(student)
    if rules is None:
        return duplicate
    predictors = dict(duplicate.named_predictors())
    if task.predictor not in predictors:
        raise DataError(f"The program has no predictor {task.predictor!r}; it has {', '.join(predictors)}.")
    predictor = predictors[task.predictor]
    lead = RULES_LEAD_SEVERAL if task.several else RULES_LEAD
    instructions = rules.instruct(predictor.signature.instructions, lead)
    predictor.signature = predictor.signature.with_instructions(instructions)
    if rules.demos:
        decision = Decision.of(predictor.signature)
        shown = [(demo, decision.value(demo.label) if decision else demo.label) for demo in rules.demos]
        own = [dspy.Example(**demo.inputs, **{task.label_field: value}) for demo, value in shown]
        predictor.demos = [*predictor.demos, *(demo.with_inputs(*rules.demos[0].inputs) for demo in own)]
    return duplicate


def copied(program: dspy.Module, *, lm: dspy.BaseLM | None = None) -> dspy.Module:
    """Return a deep copy of ``program`` that shares its LMs, or has ``lm`` in place of every one, frozen or not.

    What cannot be copied (a lock, a client) is shared as well, and no more than that: DSPy's own ``deepcopy`` would
    then share the whole list, dict or object that holds it, predictors included. DataError if a predictor is shared.
    """
    leaves = list(_leaves(program, set()))  # a copied LM would take its call history along
    shared: dict[int, Any] = {id(leaf): lm or leaf for leaf in leaves if isinstance(leaf, dspy.BaseLM)}
    try:
        duplicate = copy.deepcopy(program, dict(shared))
    except Exception:  # noqa: BLE001 - any attribute of a user's program may refuse, with an error of its own
        leaves = [leaf for leaf in _leaves(program, set(), into_objects=True) if id(leaf) not in shared]
        shared |= {id(leaf): lm or leaf for leaf in leaves if isinstance(leaf, dspy.BaseLM)}
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


def _leaves(part: Any, visited: set[int], *, into_objects: bool = False) -> Iterator[Any]:
    """Yield what the modules, lists, tuples and dicts within ``part`` hold that is none of these itself.

    With ``into_objects``, objects that hold a module are taken apart as well.
    """
    parts = _parts(part)
    if parts is None and into_objects and _holds_module(part, set()):
        parts = _attributes(part)
    if parts is None:
        yield part
    elif id(part) not in visited:
        visited.add(id(part))
        for child in parts:
            yield from _leaves(child, visited, into_objects=into_objects)


def _parts(part: Any) -> list[Any] | None:
    """Return what a module, list, tuple or dict holds; None for anything else."""
    if isinstance(part, dspy.Module):  # DSPy leaves history and callbacks out of its copies
        return [value for name, value in vars(part).items() if name not in BOOKKEEPING]
    if isinstance(part, dict):
        return list(part.values())
    return list(part) if isinstance(part, (list, tuple)) else None


def _attributes(part: Any) -> list[Any]:
    """Return what an object refers to, of what a deep copy of it would copy."""
    if isinstance(part, (type, ModuleType, FunctionType, dspy.BaseLM)):
        return []
    if isinstance(part, partial):
        return [part.func, *part.args, *part.keywords.values()]
    return [part.__self__] if isinstance(part, MethodType) else list(getattr(part, "__dict__", {}).values())


def _holds_module(part: Any, visited: set[int]) -> bool:
    if isinstance(part, dspy.Module):
        return True
    if id(part) in visited:
        return False
    visited.add(id(part))
    return any(_holds_module(child, visited) for child in _parts(part) or _attributes(part))


def _can_be_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True
