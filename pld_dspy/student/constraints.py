"""Constrained answers: the request settings that make a server answer with a label and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dspy

from ..local.lm import LocalLM
from ..task.labels import NO_LABEL, SEPARATOR
from .decision import Decision

Constrain = Literal["auto", "grammar", "json_schema", "choice", "none"]

_OWN = ("response_format", "grammar")
"""Settings with which a caller constrains answers himself."""


def constrained(
    settings: Mapping[str, Any], lm: dspy.BaseLM, *, constrain: Constrain, decision: Decision
) -> dict[str, Any]:
    """Return an LM call's ``settings`` and those that hold its answer to the labels of ``decision``.

    Args:
        settings: what the caller sets for this call. Constraints of his own are left as they are.
        lm: the LM that is asked.
        constrain: the means; ``"auto"`` takes a grammar for a ``LocalLM``, a JSON schema for an LM that declares
            response schemas, else none.
        decision: the labelled output, for one label or for several.
    """
    given = {**lm.kwargs, **settings}
    if any(given.get(key) is not None for key in _OWN):
        return dict(settings)
    means = _best(lm) if constrain == "auto" else constrain
    if means == "json_schema":
        return {**settings, "response_format": _response_format(decision)}
    # DSPy's native client refuses body fields that it does not know; extra_body takes them through LiteLLM.
    body: dict[str, Any] = {}
    if means == "grammar":
        body = {"grammar": labels_grammar(decision.labels) if decision.several else label_grammar(decision.labels)}
    elif means == "choice":
        # vLLM renamed the fields in 0.11; either version ignores the other's names.
        kind, choices = ("json", label_schema(decision)) if decision.several else ("choice", list(decision.labels))
        body = {"structured_outputs": {kind: choices}, f"guided_{kind}": choices}
    return {**settings, "extra_body": {**body, **(given.get("extra_body") or {})}} if body else dict(settings)


def label_grammar(labels: Sequence[str]) -> str:
    """Return the GBNF grammar whose only sentences are ``labels``."""
    # A GBNF literal escapes quotes, backslashes and line breaks as JSON does.
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def labels_grammar(labels: Sequence[str]) -> str:
    """Return the GBNF grammar of as many of ``labels`` as there are, joined, or of the word for none.

    A label may stand twice, which the reader of answers mends: to forbid it takes a grammar that is quadratic in the
    labels, or their order fixed, and with that the first label that comes to the model's mind would rule others out.
    """
    label = label_grammar(labels).replace("root", "label", 1)
    separator, nothing = json.dumps(SEPARATOR), json.dumps(NO_LABEL)
    return f"root ::= {nothing} | label ({separator} label){{0,{len(labels) - 1}}}\n{label}"


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


def _response_format(decision: Decision) -> dict[str, Any]:
    """OpenAI's ``response_format``."""
    schema = {"name": decision.field, "strict": True, "schema": label_schema(decision)}
    return {"type": "json_schema", "json_schema": schema}


def _best(lm: dspy.BaseLM) -> Constrain:
    if isinstance(lm, LocalLM):
        return "grammar"
    declared = lm.supports_response_schema and "response_format" in lm.supported_params
    return "json_schema" if declared else "none"
