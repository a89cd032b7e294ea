"""Reading: what the deciding predictor of a program is given of an example, found without calling a model.

A program may retrieve, cut or reformat before it decides. What a rule is about, how long a prompt gets and what a
teacher should judge is then the text that arrives at the predictor, not what goes into the program.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any, NoReturn

import dspy
from dspy.utils.callback import BaseCallback

from ..task.task import Task, input_text
from .copying import copied

logger = logging.getLogger(__name__)


class Reader:
    """What the deciding predictor of a program is given of each example.

    A copy of the program runs up to the predictor's first call, under an LM that refuses to be called; the program
    itself, DSPy's settings, trace, callbacks and cache see nothing of it. Each example is run once. The program's own
    inputs stand in where it does not get that far: an earlier step calls an LM, it raises, or it never asks the
    predictor. A bare predictor is not run at all: it is given the example's inputs.

    Args:
        student: any DSPy program; not changed.
        task: names its deciding predictor.
    """

    def __init__(self, student: dspy.Module, task: Task) -> None:
        self._student = student
        self._task = task
        self._known: dict[int, tuple[dspy.Example, dict[str, Any]]] = {}

    def inputs(self, example: dspy.Example) -> dict[str, Any]:
        """Return the predictor's inputs by name, as the program passes them; not to be changed."""
        # The example is kept along with what was found, or another one could come to have its id.
        if id(example) not in self._known:
            self._known[id(example)] = (example, self._found(example.inputs().toDict()))
        return self._known[id(example)][1]

    def text(self, example: dspy.Example) -> str:
        """Return the predictor's inputs as one text: the bare value, or ``name: value`` lines."""
        return input_text(self.inputs(example))

    def _found(self, given: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self._student, dspy.Predict):
            return given
        try:
            # The caller's trace and callbacks stay out of it: an autologger is not to record these runs.
            with dspy.context(lm=_NoLM(), trace=[], callbacks=[_NoCalls()]):
                self._program(**given)
            why = "it never asks the predictor"
        except _Reached as reached:
            fields = self._student_predictor.signature.input_fields
            if read := {name: value for name, value in reached.inputs.items() if name in fields}:
                return read
            why = "it gives the predictor none of its input fields"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the baseline reports what a program raises; asyncio wraps ours
            why = f"{type(error).__name__}: {error}"
        logger.info("%r is taken to read the program's own inputs: %s", self._task.predictor, why)
        return given

    @property
    def _student_predictor(self) -> dspy.Predict:
        return dict(self._student.named_predictors())[self._task.predictor]

    @cached_property
    def _program(self) -> dspy.Module:
        """A copy of the program that can call no LM and stops at the deciding predictor."""
        refusing = _NoLM()
        program = copied(self._student, lm=refusing)
        for _, each in program.named_sub_modules(dspy.Predict):
            each.lm = refusing
        predictor = dict(program.named_predictors())[self._task.predictor]
        predictor.forward, predictor.aforward = _stop, _astop
        return program


class _Reached(BaseException):
    """Raised in the deciding predictor's place; no Exception, which programs and DSPy's executors catch."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        super().__init__("the deciding predictor is asked")
        self.inputs = inputs


class _LMNeeded(BaseException):
    """Raised in an LM's place; no Exception, so that no program goes on without the answer."""

    def __init__(self) -> None:
        super().__init__("an earlier step calls an LM")


class _NoLM(dspy.BaseLM):
    """An LM that refuses to be called, in threads of the program's own too, where DSPy's context is lost."""

    def __init__(self) -> None:
        super().__init__("none", cache=False)

    def __call__(self, *args: object, **settings: object) -> NoReturn:
        raise _LMNeeded

    async def acall(self, *args: object, **settings: object) -> NoReturn:
        raise _LMNeeded


class _NoCalls(BaseCallback):
    """Refuses the calls of all other LMs: those that the program makes as it runs, or hides in objects of its own."""

    def on_lm_start(self, call_id: str, instance: object, inputs: dict[str, Any]) -> NoReturn:
        raise _LMNeeded


def _stop(**inputs: Any) -> NoReturn:
    raise _Reached(inputs)


async def _astop(**inputs: Any) -> NoReturn:
    raise _Reached(inputs)
