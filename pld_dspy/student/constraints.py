"""Constraints: the settings that make a server answer with a label and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dspy

from ..local.lm import LocalLM
from ..task.labels import NO_LABEL, SEPARATOR
from .decision import Decision

Constrain = Literal["auto", "grammar", "json_schema", "choice", "none"]


def constrained(
    settings: Mapping[str, Any], lm: dspy.BaseLM, *, constrain: Constrain, decision: Decision
) -> dict[str, Any]:
    """Return what to add to an LM call's ``settings`` to hold answers to ``decision``; nothing if they do something."""
    given = {**lm.kwargs, **settings}
    if given.get("response_format") is not None or given.get("grammar") is not None:
        return {}
    means = constrain
    if means == "auto" and isinstance(lm, LocalLM):
        means = "grammar"
    elif means == "auto":
        means = "json_schema" if lm.supports_response_schema and "response_format" in lm.supported_params else "none"
    if means == "none":
        return {}
    if means == "json_schema":
        schema = {"name": decision.field, "strict": True, "schema": label_schema(decision)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if means == "grammar":
        body: dict[str, Any] = {"grammar": label_grammar(decision.labels, several=decision.several)}
    else:
        kind, choices = ("json", label_schema(decision)) if decision.several else ("choice", list(decision.labels))
        # vLLM renamed the fields in 0.11; either version ignores the other's names.
        body = {"structured_outputs": {kind: choices}, f"guided_{kind}": choices}
    # DSPy's native client refuses body fields that it does not know; extra_body takes them through LiteLLM.
    return {"extra_body": {**body, **(given.get("extra_body") or {})}}


def label_grammar(labels: Sequence[str], *, several: bool = False) -> str:
    """Return the GBNF grammar whose sentences are ``labels``, or any number of them, joined, and the text for none.

    It lets a label stand twice (the reader drops the second one): to forbid that takes a grammar quadratic in labels.
    """
    # A GBNF literal escapes quotes, backslashes and line breaks as JSON does.
    one = " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)
    if not several:
        return f"root ::= {one}"
    separator, nothing = json.dumps(SEPARATOR), json.dumps(NO_LABEL)
    return f"root ::= {nothing} | label ({separator} label){{0,{len(labels) - 1}}}\nlabel ::= {one}"


def label_schema(decision: Decision) -> dict[str, Any]:
    """Return the JSON schema of an object whose only property is one of the labels, or an array of several."""
    value: dict[str, Any] = {"type": "string", "enum": list(decision.labels)}
    if decision.several:  # without uniqueItems, which OpenAI's strict schemas refuse
        value = {"type": "array", "items": value}
    return {
        "type": "object",
        "properties": {decision.field: value},
        "required": [decision.field],
        "additionalProperties": False,
    }
