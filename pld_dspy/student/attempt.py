"""One try at an answer: the settings that make a server answer with a label, and what follows if it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import dspy

from ..local.lm import LocalLM
from ..task.labels import LABEL_LOGPROBS, NO_LABEL, SEPARATOR, label_text
from .decision import Decision
from .logprobs import label_logprobs, lists_tokens

logger = logging.getLogger(__name__)

Constrain = Literal["auto", "grammar", "json_schema", "choice", "none"]

REFUSALS = (dspy.LMInvalidRequestError, dspy.LMUnsupportedFeatureError)
"""What a server that cannot list log-probabilities may answer to a request for them."""

# LMs that gave no log-probabilities, and that refused requests for them, as (model, address). These sets are the
# process's, not an adapter's: each copy of an adapter would warn, or ask, again.
_without: set[tuple[str, str]] = set()
_refused: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Attempt:
    """One try at an answer."""

    lm: dspy.BaseLM
    decision: Decision
    settings: dict[str, Any]  # of the call, except those for log-probabilities
    logprobs: bool  # whether the outputs are to carry label log-probabilities
    request: dict[str, Any]  # the settings for log-probabilities; empty after the server refused them
    is_refused: bool = False
    wrong_answer: str | None = None  # of an earlier try, which this one corrects

    @classmethod
    def first(
        cls, lm: dspy.BaseLM, lm_kwargs: Mapping[str, Any], decision: Decision, *, constrain: Constrain, logprobs: bool
    ) -> Attempt:
        """Return the try with the caller's settings, a short ``max_tokens`` if none is set, and the constraint."""
        given, settings = {**lm.kwargs, **lm_kwargs}, dict(lm_kwargs)
        limited = given.get("max_tokens") is not None or given.get("max_completion_tokens") is not None
        if not limited and not lm.supports_reasoning:  # a reasoning model spends completion tokens on thinking first
            # A token holds at least one byte of text; 16 more leave room for words around an unconstrained label.
            answers = [[*decision.labels, NO_LABEL]] if decision.several else decision.labels
            settings["max_tokens"] = 16 + max(len(json.dumps({decision.field: one}).encode()) for one in answers)
        settings = constrained(settings, lm, constrain=constrain, decision=decision)
        logprobs = logprobs and not decision.several
        request: dict[str, Any] = {}
        if logprobs and lm.model_type != "text" and _key(lm) not in _refused:
            # OpenAI and, by default, vLLM list 20 tokens at most; llama.cpp has no limit.
            listed = 100 if constrain == "grammar" or isinstance(lm, LocalLM) else 20
            wanted = {"logprobs": True, "top_logprobs": listed}
            request = {name: value for name, value in wanted.items() if not given.get(name)}
        return cls(lm, decision, settings, logprobs, request)

    def after(self, error: Exception) -> Attempt:
        """Return the try that follows ``error``; raise the error if nothing is left to try."""
        if isinstance(error, dspy.AdapterParseError) and self.wrong_answer is None:
            return replace(self, wrong_answer=error.lm_response)
        if not isinstance(error, dspy.AdapterParseError) and self.request:
            return replace(self, request={}, is_refused=True)
        raise error

    def finished(self, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the outputs, one per completion, with ``label_logprobs`` if wanted and known for each of them."""
        if self.is_refused:
            _refused.add(_key(self.lm))
        if not self.logprobs:
            return outputs
        tokens = [output.get("logprobs") for output in outputs]
        shares = [
            label_logprobs(listed, labels=self.decision.labels, answer=label_text(output[self.decision.field]))
            for listed, output in zip(tokens, outputs, strict=True)
        ]
        if not all(map(lists_tokens, tokens)) and _key(self.lm) not in _without:
            _without.add(_key(self.lm))
            logger.warning(
                "%s gives no log-probabilities, so its predictions carry no label_logprobs. Serve the model with "
                "llama.cpp or vLLM.",
                self.lm.model,
            )
        if not {**self.lm.kwargs, **self.settings}.get("logprobs"):  # the caller did not ask for those of tokens
            outputs = [{name: value for name, value in output.items() if name != "logprobs"} for output in outputs]
        if any(share is None for share in shares):
            return outputs
        return [{**output, LABEL_LOGPROBS: share} for output, share in zip(outputs, shares, strict=True)]


def _key(lm: dspy.BaseLM) -> tuple[str, str]:
    return lm.model, str(lm.kwargs.get("api_base"))


def constrained(
    settings: Mapping[str, Any], lm: dspy.BaseLM, *, constrain: Constrain, decision: Decision
) -> dict[str, Any]:
    """Return an LM call's ``settings``, with a constraint to the labels of ``decision`` unless there is one."""
    given = {**lm.kwargs, **settings}
    if given.get("response_format") is not None or given.get("grammar") is not None:
        return dict(settings)
    means = constrain
    if means == "auto" and isinstance(lm, LocalLM):
        means = "grammar"
    elif means == "auto":
        means = "json_schema" if lm.supports_response_schema and "response_format" in lm.supported_params else "none"
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
