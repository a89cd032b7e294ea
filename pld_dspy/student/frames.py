"""Frames: what stands around the example in the last turn, such as the question once more behind a long text.

``LabelAdapter`` shows a field's ``prefix`` where that was set: an input's before its value, the label field's behind
the example. DSPy saves prefixes with a program, so a frame needs no code where the program is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import dspy

from ..task.task import Task
from .compose import copied
from .decision import Decision, set_prefix

Frame = Mapping[str, str]
"""Field name -> prefix."""


def frames_for(student: dspy.Module, task: Task) -> dict[str, Frame]:
    """Return the frames to choose from, by name; the bare text alone where the decision is not one for LabelAdapter.

    "question" asks for the label again behind the example; "named" also puts "The text:" before it, where there is one
    input.
    """
    signature = dict(student.named_predictors())[task.predictor].signature
    decision = Decision.of(signature)
    if decision is None or any(set_prefix(signature, field) for field in signature.fields):
        return {"bare": {}}
    question = {decision.field: decision.request}
    inputs = list(signature.input_fields)
    named = {"named": {inputs[0]: "The text:", **question}} if len(inputs) == 1 else {}
    return {"bare": {}, "question": question, **named}


def with_frame(student: dspy.Module, task: Task, frame: Frame) -> dspy.Module:
    """Return a copy of ``student`` whose deciding predictor has these prefixes."""
    framed = copied(student)
    predictor = dict(framed.named_predictors())[task.predictor]
    for field, prefix in frame.items():
        predictor.signature = predictor.signature.with_updated_fields(field, prefix=prefix)
    return framed
