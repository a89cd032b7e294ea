"""What the deciding predictor of a program is given of an example, found without calling a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NoReturn

import dspy
from pydantic_core import PydanticUndefined

from ..errors import without_secrets
from ..ledger.call_program import call_program
from ..ledger.dspy_names import BaseCallback
from ..task.task import Task, input_text
from .compose import copied

logger = logging.getLogger(__name__)


class Reader:
    """What the deciding predictor of a program is given of each example: rules are about that text.

    A copy of the program runs up to the predictor's first call, once per example, with LMs that refuse every call.
    The program's own inputs are used if it does not get that far: an earlier step calls an LM, it raises, or it never
    calls the predictor. The program itself and DSPy's settings, trace, callbacks and cache do not change.
    """

    def __init__(self, student: dspy.Module, task: Task) -> None:
        self._student = student
        self._task = task
        # By the example's id(); the example is kept too, or another one could come to have its id.
        self._known: dict[int, tuple[dspy.Example, dict[str, Any]]] = {}

    def inputs(self, example: dspy.Example) -> dict[str, Any]:
        """Return the predictor's inputs by name, as the program passes them; not to be changed."""
        if id(example) not in self._known:
            self._known[id(example)] = (example, self._find(self._task.arguments(example)))
        return self._known[id(example)][1]

    def text(self, example: dspy.Example) -> str:
        """Return the predictor's inputs as one text: the bare value, or ``name: value`` lines."""
        return input_text(self.inputs(example))

    def _find(self, given: dict[str, Any]) -> dict[str, Any]:
        fields = dict(self._student.named_predictors())[self._task.predictor].signature.input_fields
        if isinstance(self._student, dspy.Predict):
            return _with_defaults(given, fields)
        try:
            # With the caller's trace and callbacks, an autologger would record these runs.
            with dspy.context(lm=_NoLM(), trace=[], callbacks=[_NoCalls()]):
                call_program(self._program, given)
            why = "it never calls the predictor"
        except _Reached as reached:
            if found := {name: value for name, value in reached.args[0].items() if name in fields}:
                return _with_defaults(found, fields)
            why = "it gives the predictor none of its input fields"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the baseline reports what a program raises; asyncio wraps ours
            why = without_secrets(f"{type(error).__name__}: {error}")
        logger.info("The predictor %r is taken to get the program's own inputs: %s", self._task.predictor, why)
        return given

    @cached_property
    def _program(self) -> dspy.Module:
        """A copy of the program that cannot call an LM and stops at the deciding predictor."""
        no_lm = _NoLM()
        program = copied(self._student, lm=no_lm)
        for _, predictor in program.named_sub_modules(dspy.Predict):
            predictor.lm = no_lm
        deciding = dict(program.named_predictors())[self._task.predictor]
        deciding.forward, deciding.aforward = _stop, _astop
        return program


def _with_defaults(given: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a predictor's inputs as it completes them itself."""
    absent = {name: info for name, info in fields.items() if name not in given}
    return given | {name: info.default for name, info in absent.items() if info.default is not PydanticUndefined}


# These two are no Exceptions: programs and DSPy's executors catch those and go on.
class _Reached(BaseException):
    """Raised by the deciding predictor, with its inputs by name."""


class _LMNeeded(BaseException):
    """Raised by every LM."""

    def __str__(self) -> str:
        return "an earlier step calls an LM"


class _NoLM(dspy.BaseLM):
    """An LM that refuses to be called, also in threads of the program's own, where DSPy's context is lost."""

    def __init__(self) -> None:
        super().__init__("none", cache=False)

    def __call__(self, *args: object, **settings: object) -> NoReturn:
        raise _LMNeeded

    async def acall(self, *args: object, **settings: object) -> NoReturn:
        raise _LMNeeded


class _NoCalls(BaseCallback):
    """Refuses the calls of LMs that the program makes while it runs, or hides in objects of its own."""

    def on_lm_start(self, call_id: str, instance: object, inputs: dict[str, Any]) -> NoReturn:
        raise _LMNeeded


def _stop(**inputs: Any) -> NoReturn:
    raise _Reached(inputs)


async def _astop(**inputs: Any) -> NoReturn:
    raise _Reached(inputs)
