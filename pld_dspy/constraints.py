"""Constrained answers: the request settings that make a server answer with a label and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dspy

Constrain = Literal["auto", "grammar", "json_schema", "choice", "none"]

LLAMA_CPP = "llama.cpp"
"""What ``lm.pld_server`` says of a server that takes a GBNF grammar."""

_OWN = ("response_format", "grammar")
"""Settings with which a caller constrains answers himself."""


def constrained(
    settings: Mapping[str, Any], lm: dspy.BaseLM, *, constrain: Constrain, field: str, labels: Sequence[str]
) -> dict[str, Any]:
    """Return an LM call's ``settings`` and those that hold its answer to ``labels``.

    Args:
        settings: what the caller sets for this call. Constraints of his own are left as they are.
        lm: the LM that is asked.
        constrain: the means; ``"auto"`` takes a grammar for an LM marked ``lm.pld_server == "llama.cpp"``, a JSON
            schema for an LM that declares response schemas, else none.
        field: name of the labelled output.
        labels: the label set.
    """
    given = {**lm.kwargs, **settings}
    if any(given.get(key) is not None for key in _OWN):
        return dict(settings)
    means = _best(lm) if constrain == "auto" else constrain
    if means == "json_schema":
        return {**settings, "response_format": label_schema(field, labels)}
    # DSPy's native client refuses body fields that it does not know; extra_body takes them through LiteLLM.
    body: dict[str, Any] = {}
    if means == "grammar":
        body = {"grammar": label_grammar(labels)}
    elif means == "choice":
        # vLLM renamed the field in 0.11; either version ignores the other's name.
        body = {"structured_outputs": {"choice": list(labels)}, "guided_choice": list(labels)}
    return {**settings, "extra_body": {**body, **(given.get("extra_body") or {})}} if body else dict(settings)


def label_grammar(labels: Sequence[str]) -> str:
    """Return the GBNF grammar whose only sentences are ``labels``."""
    # A GBNF literal escapes quotes, backslashes and line breaks as JSON does.
    return "root ::= " + " | ".join(json.dumps(label, ensure_ascii=False) for label in labels)


def label_schema(field: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return the OpenAI ``response_format`` of a JSON object whose only property ``field`` is one of ``labels``."""
    schema = {
        "type": "object",
        "properties": {field: {"type": "string", "enum": list(labels)}},
        "required": [field],
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": field, "strict": True, "schema": schema}}


def _best(lm: dspy.BaseLM) -> Constrain:
    if getattr(lm, "pld_server", None) == LLAMA_CPP:
        return "grammar"
    declared = lm.supports_response_schema and "response_format" in lm.supported_params
    return "json_schema" if declared else "none"
