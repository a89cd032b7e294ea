"""Settings that a server may refuse: one try at an answer, and what follows if it fails, is cut or says nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dspy

from ..ledger.completion import answer_part, holds_thought
from ..ledger.recorded import CUT, ROOM, Record, completions
from ..local.lm import LocalLM
from ..task.labels import LABEL_LOGPROBS, NO_LABEL, label_text
from .constraints import Constrain, constrained
from .decision import Decision
from .logprobs import label_logprobs, lists_tokens

logger = logging.getLogger(__name__)

Outputs = list[dict[str, Any]]

# Wishes: settings that the adapter adds of its own accord, and does without where a server refuses them.
_WISHES = LOGPROBS, CONSTRAINT, LIMIT = "log-probabilities", "a constraint to the labels", "a token limit"

_HICCUPS = (dspy.LMServerError, dspy.LMUnexpectedError)
"""Errors that may have nothing to do with what was wished for."""
_REFUSALS = (dspy.LMInvalidRequestError, dspy.LMUnsupportedFeatureError, *_HICCUPS)

# What LMs refused, and granted, as (model, address, wish), and those that listed no log-probabilities. These sets are
# the process's, not an adapter's: each copy of an adapter would warn, or ask, again.
_refused: set[tuple[str, str, str]] = set()
_granted: set[tuple[str, str, str]] = set()
_without: set[tuple[str, str, str]] = set()


@dataclass(frozen=True)
class Attempt:
    """One try at an answer; :meth:`after` and :meth:`answered` return the next one, until one has ``outputs``."""

    lm: dspy.BaseLM
    signature: type[dspy.Signature]
    settings: dict[str, Any]  # of the call
    wishes: dict[str, dict[str, Any]]  # wish -> the settings that it adds
    wants_logprobs: bool
    left_out: frozenset[str] = frozenset()  # wishes that are not sent
    to_leave_out: tuple[frozenset[str], ...] = ()  # what else to leave out, in turn, if this try is refused as well
    refusal: Exception | None = None  # of the first try, after which wishes were left out
    spare: tuple[Outputs, frozenset[str]] | None = None  # an answer without some wishes, while these are tried again
    is_repeated: bool = False  # whether an empty answer was asked for again
    wrong_answer: str | None = None  # of an earlier try, which this one corrects
    outputs: Outputs | None = None

    @classmethod
    def first(
        cls,
        lm: dspy.BaseLM,
        lm_kwargs: Mapping[str, Any],
        signature: type[dspy.Signature],
        *,
        constrain: Constrain,
        logprobs: bool,
    ) -> Attempt:
        """Return the try with the caller's settings, and with those wishes that the LM has not refused before."""
        given, settings, decision = {**lm.kwargs, **lm_kwargs}, dict(lm_kwargs), Decision.required(signature)
        wishes: dict[str, dict[str, Any]] = {}
        limited = given.get("max_tokens") is not None or given.get("max_completion_tokens") is not None
        if not limited and not lm.supports_reasoning:  # a reasoning model spends completion tokens on thinking first
            # A token holds at least one byte of text; 16 more leave room for words around an unconstrained label.
            answers = [[*decision.labels, NO_LABEL]] if decision.several else decision.labels
            longest = max(len(json.dumps({decision.field: one}).encode()) for one in answers)
            wishes[LIMIT] = {"max_tokens": 16 + longest}
        wishes[CONSTRAINT] = constrained(settings, lm, constrain=constrain, decision=decision)
        logprobs = logprobs and not decision.several
        if logprobs and lm.model_type != "text":
            # OpenAI and, by default, vLLM list 20 tokens at most; llama.cpp has no limit.
            listed = 100 if constrain == "grammar" or isinstance(lm, LocalLM) else 20
            wanted = {"logprobs": True, "top_logprobs": listed}
            wishes[LOGPROBS] = {name: value for name, value in wanted.items() if not given.get(name)}
        wishes = {name: wish for name, wish in wishes.items() if wish and _key(lm, name) not in _refused}
        return cls(lm, signature, settings, wishes, logprobs)

    @property
    def request(self) -> dict[str, Any]:
        """The settings to send."""
        added = [wish for name, wish in self.wishes.items() if name not in self.left_out]
        return {name: value for part in (self.settings, *added) for name, value in part.items()}

    def after(self, error: Exception, records: Sequence[Record] = ()) -> Attempt:
        """Return the try that follows ``error``, given DSPy's records of its calls; raise it if nothing is left."""
        if isinstance(error, dspy.AdapterParseError):
            # Without a history, the text that could not be read is in the error.
            [*_, (text, thinks, cut)] = completions(records[-1]) if records else [(error.lm_response, False, False)]
            return self._after_answer(text, thinks, cut, error)
        is_refusal = isinstance(error, _REFUSALS)
        if self.spare is not None:  # refused once more: it is the wish
            outputs, left_out = self.spare
            return replace(self, left_out=left_out, refusal=error if is_refusal else None)._finished(outputs)
        to_leave_out = self.to_leave_out if self.refusal else self._doubted(error)
        if not is_refusal or not to_leave_out:
            raise error
        left_out, *others = to_leave_out
        return replace(self, left_out=left_out, to_leave_out=tuple(others), refusal=self.refusal or error)

    def answered(self, outputs: Outputs, records: Sequence[Record]) -> Attempt:
        """Return what follows an answer that was read: the end, or another try if it was not the whole answer."""
        decision = Decision.required(self.signature)
        found = completions(records[-1]) if records else []
        for text, thinks, cut in found:
            if cut and decision.match(text, cut=True) is None:
                return self._after_answer(text, thinks, cut, None)
        if isinstance(self.refusal, _HICCUPS) and self.spare is None:
            return replace(self, left_out=frozenset(), spare=(outputs, self.left_out))
        thinks = any(beside or holds_thought(text) for text, beside, _ in found)
        return self._finished(outputs, thinks=thinks)

    def _after_answer(self, text: str, thinks: bool, cut: bool, error: dspy.AdapterParseError | None) -> Attempt:  # noqa: FBT001
        """Return the try that follows an answer that holds no label, or was cut before it came to one."""
        answer = answer_part(text)
        thinks = thinks or holds_thought(text)
        cut = cut or (thinks and not answer)
        if cut and LIMIT in self.wishes.keys() - self.left_out and (thinks or self.wrong_answer is not None):
            return replace(self, left_out=self.left_out | {LIMIT}, wrong_answer=None)
        if not text and not thinks and not self.is_repeated:  # a fault on the way, more likely than a wrong answer
            return replace(self, is_repeated=True)
        if self.wrong_answer is None and not (cut and thinks):
            return replace(self, wrong_answer=answer)
        if error is not None and not cut:
            raise error
        raise dspy.AdapterParseError(
            adapter_name="LabelAdapter",
            signature=self.signature,
            lm_response=text,
            message=f"The answer {text[:80]!r} {CUT} before it came to a label. {ROOM}",
        )

    def _doubted(self, error: Exception) -> tuple[frozenset[str], ...]:
        """Return the sets of wishes to leave out in turn, since they may be why a request was refused."""
        unsure = [name for name in _WISHES if name in self.wishes and _key(self.lm, name) not in _granted]
        if not unsure or isinstance(error, dspy.ContextWindowExceededError):
            return ()
        blamed = [name for name in unsure if any(setting in str(error) for setting in self.wishes[name])]
        first = [{name} for name in blamed]
        if isinstance(error, _HICCUPS):  # a server that fails for another reason is asked for the likeliest alone
            first += [{LOGPROBS}] if LOGPROBS in unsure and not blamed else []
        else:
            first += [{LOGPROBS}, {CONSTRAINT}, {LOGPROBS, CONSTRAINT}, {LIMIT}]
        return tuple(dict.fromkeys(frozenset(one) for one in (*first, {*unsure}) if one <= {*unsure}))

    def _finished(self, outputs: Outputs, *, thinks: bool = False) -> Attempt:
        """Remember what the LM refused and granted; return the end, with ``label_logprobs`` if wanted and known."""
        _granted.update(_key(self.lm, name) for name in self.wishes.keys() - self.left_out)
        if self.refusal is not None or thinks:
            for name in self.left_out:
                self._remember(name)
        return replace(self, outputs=self._with_label_logprobs(outputs) if self.wants_logprobs else outputs)

    def _remember(self, name: str) -> None:
        """Never wish for this again from this LM, and say so."""
        if (key := _key(self.lm, name)) in _refused:
            return
        _refused.add(key)
        if name == LIMIT and self.refusal is None:
            logger.warning(
                "%s thinks before it answers, so it is asked without the adapter's token limit. Turn its reasoning "
                "off where you can: thoughts cost tokens.",
                self.lm.model,
            )
        elif name != LOGPROBS:
            cause = str(self.refusal).splitlines()[0][:200]
            logger.warning("%s refuses %s, so it is asked without: %s", self.lm.model, name, cause)

    def _with_label_logprobs(self, outputs: Outputs) -> Outputs:
        """Return the outputs, one per completion, with ``label_logprobs`` if they are known for each of them."""
        decision, key = Decision.required(self.signature), _key(self.lm, LOGPROBS)
        tokens = [output.get("logprobs") for output in outputs]
        shares = [
            label_logprobs(listed, labels=decision.labels, answer=label_text(output[decision.field]))
            for listed, output in zip(tokens, outputs, strict=True)
        ]
        if not all(map(lists_tokens, tokens)) and key not in _without:
            _without.add(key)
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


def _key(lm: dspy.BaseLM, wish: str) -> tuple[str, str, str]:
    return lm.model, str(lm.kwargs.get("api_base")), wish
