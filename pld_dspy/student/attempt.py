"""One try at an answer: the settings of the call, and what follows if it fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..local.lm import LocalLM
from ..task.labels import LABEL_LOGPROBS, label_text
from .constraints import Constrain, constrained
from .decision import Decision
from .logprobs import label_logprobs, lists_tokens

logger = logging.getLogger(__name__)

Output = dict[str, Any]

REFUSALS = (dspy.LMInvalidRequestError, dspy.LMUnsupportedFeatureError)
"""What a server that cannot list log-probabilities may answer to a request for them."""

SPARE_TOKENS = 16
"""Room for what a model says around the label when nothing restricts it to the label set."""

_LISTED, _LISTED_BY_LLAMA_CPP = 20, 100  # the most that OpenAI and, by default, vLLM give; llama.cpp has no limit

# These are the process's, not an adapter's: each copy of an adapter would warn, or ask, again.
_without: set[tuple[str, str]] = set()
"""LMs that gave no log-probabilities, as (model, address)."""

_refused: set[tuple[str, str]] = set()
"""LMs that refused requests for log-probabilities."""


@dataclass(frozen=True)
class Attempt:
    """One try at an answer.

    Attributes:
        lm, decision: the LM that is called, and the labelled output.
        settings: the settings of the call, except those for log-probabilities.
        logprobs: whether the outputs are to carry label log-probabilities.
        request: the settings for log-probabilities, which the server may refuse; empty after it did.
        is_refused: whether the server refused an earlier try.
        wrong_answer: the answer of an earlier try that this one corrects.
    """

    lm: dspy.BaseLM
    decision: Decision
    settings: dict[str, Any]
    logprobs: bool
    request: dict[str, Any]
    is_refused: bool = False
    wrong_answer: str | None = None

    @classmethod
    def first(
        cls, lm: dspy.BaseLM, lm_kwargs: Mapping[str, Any], decision: Decision, *, constrain: Constrain, logprobs: bool
    ) -> Attempt:
        """Return the try with the caller's settings, a short ``max_tokens`` if none is set, and the constraint."""
        given, settings = {**lm.kwargs, **lm_kwargs}, dict(lm_kwargs)
        limited = given.get("max_tokens") is not None or given.get("max_completion_tokens") is not None
        # A reasoning model spends its completion tokens on thinking first.
        if not limited and not lm.supports_reasoning:
            settings["max_tokens"] = SPARE_TOKENS + decision.longest  # a token holds at least one byte of text
        settings = constrained(settings, lm, constrain=constrain, decision=decision)
        logprobs = logprobs and not decision.several
        request: dict[str, Any] = {}
        if logprobs and lm.model_type != "text" and _key(lm) not in _refused:
            llama_cpp = constrain == "grammar" or isinstance(lm, LocalLM)
            wanted = {"logprobs": True, "top_logprobs": _LISTED_BY_LLAMA_CPP if llama_cpp else _LISTED}
            request = {name: value for name, value in wanted.items() if not given.get(name)}
        return cls(lm, decision, settings, logprobs, request)

    @property
    def options(self) -> dict[str, Any]:
        """All settings of the call, as a new dict: dspy.Adapter changes it."""
        return {**self.settings, **self.request}

    def after(self, error: Exception) -> Attempt:
        """Return the try that follows ``error``; raise the error if nothing is left to try."""
        if isinstance(error, AdapterParseError) and self.wrong_answer is None:
            return replace(self, wrong_answer=error.lm_response)
        if not isinstance(error, AdapterParseError) and self.request:
            return replace(self, request={}, is_refused=True)
        raise error

    def finished(self, outputs: list[Output]) -> list[Output]:
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
                "%s gives no log-probabilities, so its predictions carry no %s. Serve the model with llama.cpp or "
                "vLLM.",
                self.lm.model,
                LABEL_LOGPROBS,
            )
        if not {**self.lm.kwargs, **self.settings}.get("logprobs"):  # the caller did not ask for those of tokens
            outputs = [{name: value for name, value in output.items() if name != "logprobs"} for output in outputs]
        if any(share is None for share in shares):
            return outputs
        return [{**output, LABEL_LOGPROBS: share} for output, share in zip(outputs, shares, strict=True)]


def _key(lm: dspy.BaseLM) -> tuple[str, str]:
    return lm.model, str(lm.kwargs.get("api_base"))
