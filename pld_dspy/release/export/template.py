"""The prompt of a program as a template: what its adapter sends, with a marker for each input in the last turn."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import dspy
from pydantic import BaseModel, ConfigDict

from ...errors import DataError
from ...ledger.call_program import call_program
from ...ledger.dspy_names import format_field_value
from ...ledger.keys import without_connection
from ...student.compose import copied
from ...task.task import Task

SETTINGS = (
    *("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"),
    *("presence_penalty", "frequency_penalty", "response_format", "reasoning_effort"),
)
"""Settings of a call that stand in the body of a request under the same name, and decide its answer."""

_BEGIN, _END = "\ue000", "\ue001"  # private characters around an input's name, while the adapter forms the messages


class Template(BaseModel):
    """The messages of a request, whose last one holds a marker for each input, and its settings."""

    model_config = ConfigDict(frozen=True)

    messages: list[dict[str, str]]
    markers: dict[str, str]  # input -> marker
    settings: dict[str, Any] = {}  # of the request's body

    def filled(self, values: Mapping[str, str]) -> list[dict[str, str]]:
        """Return the messages for an example; a text that looks like a marker is not replaced again."""
        *before, last = self.messages
        return [*before, {**last, "content": fill(last["content"], self.markers, values)}]


class Golden(BaseModel):
    """One example, what the model is sent for it, and what it answered."""

    model_config = ConfigDict(frozen=True)

    id: str
    split: str
    inputs: dict[str, str]
    messages: list[dict[str, str]]
    answer: str | None  # a label, or labels joined in one text; None where it was none


class RequestRecorder:
    """Asks a program, and records the first request that it would send; nothing is sent."""

    def __init__(self, program: dspy.Module, task: Task, lm: dspy.BaseLM, adapter: dspy.Adapter) -> None:
        predictors = dict(program.named_predictors())
        self._lm = copy.copy(predictors[task.predictor].lm or lm)
        self._lm.forward, self._lm.aforward = _raise_asked, _araise_asked
        self._program, self._adapter = copied(program, lm=self._lm), adapter

    def request(self, inputs: Mapping[str, Any]) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Return the messages and the body's settings of the request for ``inputs``; DataError if there is none."""
        try:
            with dspy.context(lm=self._lm, adapter=self._adapter):
                call_program(self._program, inputs)
        except _Asked as asked:
            messages, settings = asked.args
        except Exception as error:
            raise DataError(f"The program failed before it asked its model: {type(error).__name__}: {error}") from error
        else:
            raise DataError("The program asks no model, so there is no prompt to export.")
        if any(not isinstance(message.get("content"), str) for message in messages):
            raise DataError("A message of the program is more than text (an image, a tool), and cannot be exported.")
        given = without_connection({**self._lm.kwargs, **settings})
        body = {name: given[name] for name in SETTINGS if given.get(name) is not None}
        plain = [{"role": message["role"], "content": message["content"]} for message in messages]
        return plain, {**body, **(given.get("extra_body") or {})}


def template_of(recorder: RequestRecorder, task: Task) -> Template:
    """Return the template of the recorded program.

    Raises:
        DataError: the program has other predictors too, or its prompt is not its inputs within a fixed text.
    """
    if task.untouched:
        raise DataError(
            f"The program has more predictors than {task.predictor!r}: {', '.join(task.untouched)}. One prompt cannot "
            "stand for several calls: export it with --to dspy."
        )
    messages, settings = recorder.request({name: f"{_BEGIN}{name}{_END}" for name in task.inputs})
    *before, last = messages
    shown = {name for name in task.inputs if f"{_BEGIN}{name}{_END}" in last["content"]}
    if last["role"] != "user" or shown != set(task.inputs) or any(_BEGIN in one["content"] for one in before):
        raise DataError(
            f"The inputs {', '.join(task.inputs)} do not stand in the last message as they are, so the prompt is no "
            "template. Export it with --to dspy."
        )
    markers: dict[str, str] = {}
    for name in task.inputs:
        markers[name] = f"{{{{{name}}}}}"
        while markers[name] in last["content"]:
            markers[name] = f"{{{markers[name]}}}"
    content = fill(last["content"], {name: f"{_BEGIN}{name}{_END}" for name in task.inputs}, markers)
    return Template(messages=[*before, {**last, "content": content}], markers=markers, settings=settings)


def fill(text: str, markers: Mapping[str, str], values: Mapping[str, str]) -> str:
    """Return ``text`` with the marker of each input replaced by its value, in one pass."""
    by_marker = {marker: values[name] for name, marker in markers.items()}
    longest_first = sorted(by_marker, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: by_marker[found.group()], text)


def value_texts(program: dspy.Module, task: Task, example: dspy.Example) -> dict[str, str]:
    """Return the inputs of an example as the texts that stand in a prompt."""
    fields = dict(program.named_predictors())[task.predictor].signature.input_fields
    given = task.arguments(example)
    return {
        name: str(format_field_value(field_info=fields[name], value=value) if name in fields else value)
        for name, value in ((name, given.get(name)) for name in task.inputs)
        if value is not None
    }


class _Asked(Exception):
    """Raised in place of a request."""


def _raise_asked(prompt: Any = None, messages: Any = None, **settings: Any) -> NoReturn:
    raise _Asked(messages, settings)


async def _araise_asked(prompt: Any = None, messages: Any = None, **settings: Any) -> NoReturn:
    raise _Asked(messages, settings)
