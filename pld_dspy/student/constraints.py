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


def constrained(
    settings: Mapping[str, Any], lm: dspy.BaseLM, *, constrain: Constrain, decision: Decision
) -> dict[str, Any]:
    """Return an LM call's ``settings`` and those that hold its answer to the labels of ``decision``.

    Args:
        settings: what the caller sets for this call. A constraint among them stays as it is.
        lm: the LM to be called.
        constrain: the means; :class:`LabelAdapter` says what each sends.
        decision: the labelled output.
    """
    given = {**lm.kwargs, **settings}
    if given.get("response_format") is not None or given.get("grammar") is not None:
        return dict(settings)
    means = _best(lm) if constrain == "auto" else constrain
    if means == "none":
        return dict(settings)
    if means == "json_schema":
        schema = {"name": decision.field, "strict": True, "schema": label_schema(decision)}
        return {**settings, "response_format": {"type": "json_schema", "json_schema": schema}}
    if means == "grammar":
        body: dict[str, Any] = {"grammar": label_grammar(decision.labels, several=decision.several)}
    else:
        kind, choices = ("json", label_schema(decision)) if decision.several else ("choice", list(decision.labels))
        # vLLM renamed the fields in 0.11; either version ignores the other's names.
        body = {"structured_outputs": {kind: choices}, f"guided_{kind}": choices}
    # DSPy's native client refuses body fields that it does not know; extra_body takes them through LiteLLM.
    return {**settings, "extra_body": {**body, **(given.get("extra_body") or {})}}


def label_grammar(labels: Sequence[str], *, several: bool = False) -> str:
    """Return the GBNF grammar whose sentences are ``labels``, or any number of them, joined, and the text for none.

    The grammar of several labels lets a label stand twice; the reader of answers drops the second one. To forbid it
    takes a grammar quadratic in the labels, or a fixed order of them, in which the first label that comes to the
    model's mind would rule others out.
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


def _best(lm: dspy.BaseLM) -> Constrain:
    if isinstance(lm, LocalLM):
        return "grammar"
    declared = lm.supports_response_schema and "response_format" in lm.supported_params
    return "json_schema" if declared else "none"
