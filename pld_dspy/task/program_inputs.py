"""What a program takes as inputs, by its ``forward`` and its predictors, and which of them may be empty."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MethodType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import dspy

from ..errors import DataError
from ..ledger.call_program import has_own_call, only_async

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class ProgramInputs:
    """The inputs of a program: named parameters of its ``forward``, else fields of its predictors."""

    parameters: Mapping[str, inspect.Parameter]
    fields: Mapping[str, Any]  # name -> pydantic's description
    takes_any: bool  # whether a call may have inputs that no parameter names

    @classmethod
    def of(cls, program: dspy.Module) -> ProgramInputs:
        """Read the signature of ``forward``, or of ``aforward`` where it is alone."""
        forward = _entry(program)
        found = {} if forward is None else _signature(forward)
        return cls(
            parameters={name: one for name, one in found.items() if one.kind in _NAMED},
            fields={name: info for one in program.predictors() for name, info in one.signature.input_fields.items()},
            takes_any=forward is None or any(one.kind is one.VAR_KEYWORD for one in found.values()),
        )

    def nullable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``names`` that may be None."""
        return tuple(name for name in names if any(map(_allows_none, self._annotations(name))))

    def omittable(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of ``names`` that a call may leave out."""
        return tuple(name for name in names if self._omittable(name))

    def _omittable(self, name: str) -> bool:
        if name in self.parameters:
            return self.parameters[name].default is not inspect.Parameter.empty
        field = self.fields.get(name)
        return field is not None and (not field.is_required() or _allows_none(field.annotation))

    def _annotations(self, name: str) -> list[Any]:
        found = [self.fields[name].annotation] if name in self.fields else []
        if name in self.parameters:
            own = self.parameters[name]
            found += [own.annotation, type(own.default) if own.default is None else own.empty]
        return found


def check_program(program: dspy.Module, given: Collection[str]) -> None:
    """Raise DataError if no call of ``program`` with the inputs ``given`` could work."""
    name, forward, inputs = type(program).__name__, _entry(program), ProgramInputs.of(program)
    if forward is None:
        raise DataError(f"The program {name} has neither forward nor aforward. Define one that takes the inputs.")
    if inspect.iscoroutinefunction(forward) and not only_async(program):
        raise DataError(f"The forward of {name} is a coroutine. Rename it aforward, as DSPy calls it.")
    required = [one.name for one in inputs.parameters.values() if one.default is one.empty]
    fits = set(required) <= set(given) and (inputs.takes_any or set(given) <= set(inputs.parameters))
    if type(program).__module__.startswith("dspy.") and inputs.takes_any:  # these hand on what they get
        fits = not set(given).isdisjoint(inputs.fields)
    if not fits:
        takes = ", ".join(inputs.parameters or inputs.fields) or "none"
        raise DataError(
            f"The examples' inputs are {', '.join(given)}, and those of the program {name} are {takes}. Rename one "
            "side, or mark other fields with with_inputs(...)."
        )


def _entry(program: dspy.Module) -> Any:
    """Return the function that a call runs, without ``self``; None where there is none."""
    if has_own_call(program):
        return program.__call__
    method = "aforward" if only_async(program) else "forward"
    if (own := vars(program).get(method)) is not None:
        return own
    forward = getattr(type(program), method, None)
    return None if forward is None else MethodType(forward, program)


def _signature(forward: Any) -> dict[str, inspect.Parameter]:
    try:
        found = inspect.signature(forward, eval_str=True)
    except Exception:  # noqa: BLE001 - an annotation may name what exists for type checkers only
        found = inspect.signature(forward)
    return dict(found.parameters)


def _allows_none(annotation: Any) -> bool:
    if isinstance(annotation, str):  # one that could not be evaluated
        return "None" in annotation or "Optional" in annotation
    if get_origin(annotation) is Annotated:
        return _allows_none(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_allows_none, get_args(annotation)))
    return annotation in (None, type(None), Any)
