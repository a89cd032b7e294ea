"""LabelAdapter: the smallest prompt for a labelled decision, the answer held to the label set where possible."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import dspy
from dspy.adapters.utils import format_field_value
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError

from ..errors import DataError
from ..ledger.keys import adapter_settings
from ..local.lm import LocalLM
from .constraints import Constrain, constrained
from .decision import Decision, decision_of
from .logprobs import REFUSALS, logprob_settings, refuses, with_label_logprobs

logger = logging.getLogger(__name__)

Message = dict[str, Any]

CORRECTION = "That is not one of the labels. "
SPARE_TOKENS = 16
"""Room for what a model says around the label when nothing holds it to the label set."""


# Of dspy.Adapter this overrides public methods only (__call__, acall, format, format_system_message,
# format_user_message_content, format_assistant_message_content, format_demos and parse), and it never calls the LM
# itself: requests are built and sent by dspy.Adapter, which DSPy 3.5 announces to rewrite.
class LabelAdapter(dspy.Adapter):
    """Ask for a label, or for several, with the shortest prompt there is.

    The system message is the signature's instructions, word for word, and one line with the label set. It is the
    same for every input, so that a server which keeps prompt prefixes reads it once. Each demo is a user turn and
    the bare label; the last user turn is the example and nothing else: the text of a single input field, or
    ``name: value`` lines of several.

    It serves signatures with one output field whose type is a ``Literal``, an ``Enum`` or ``bool``, or a list, set or
    tuple of any number of these, and no conversation history. Several labels are joined by commas; ``task.labels``
    says how they are read. All other signatures (with reasoning, say) are left to ``fallback``.

    An answer that is no label, however spelled, is asked for once more in a short corrective turn. If that fails
    too, the call fails with DSPy's ``AdapterParseError``: a wrong label is never made up.

    Args:
        constrain: how the server is made to answer with a label and nothing else.
            ``"grammar"``: llama.cpp's GBNF ``grammar``; the answer is the bare label.
            ``"json_schema"``: an OpenAI ``response_format``; the answer is a JSON object with the field.
            ``"choice"``: vLLM's ``structured_outputs`` (``guided_choice`` before vLLM 0.11).
            ``"none"``: not at all.
            ``"auto"``: a grammar for a local model, a JSON schema for an LM that declares
            ``supports_response_schema``, else none. For a llama.cpp server of your own, say ``"grammar"``.
            Constraints that the caller sets (``response_format``, ``grammar``) are left as they are.
        fallback: the adapter for all other signatures; ``dspy.ChatAdapter()`` where None.
        logprobs: ask for log-probabilities too. Predictions then carry ``label_logprobs``: label text -> natural
            logarithm of its probability, normalized over the label set (``logprobs.label_logprobs`` says how). A
            server that gives none is told of once, in a warning, and its predictions are as they are without.
        callbacks: called around ``format`` and ``parse``.

    Raises:
        DataError: ``constrain`` is none of the above.

    Source: own design. ChatAdapter's field markers, type notes and reminders repeat the label list three times.
    Measured with SmolLM2's tokenizer, a one-line task and a short text: 41 prompt tokens against ChatAdapter's 223
    with 3 labels, and 576 against 2,002 with BANKING77's 77.
    """

    def __init__(
        self,
        *,
        constrain: Constrain = "auto",
        fallback: dspy.Adapter | None = None,
        logprobs: bool = False,
        callbacks: list[BaseCallback] | None = None,
    ) -> None:
        if constrain not in get_args(Constrain):
            raise DataError(f"constrain={constrain!r} is unknown. Give one of {', '.join(get_args(Constrain))}.")
        super().__init__(callbacks=callbacks)
        self.constrain: Constrain = constrain
        self.fallback = dspy.ChatAdapter() if fallback is None else fallback
        self.logprobs = logprobs
        self._refused: str | None = None

    def __repr__(self) -> str:
        # Without log-probabilities the text must stay what it always was: recorded answers are found by it.
        logprobs = ", logprobs=True" if self.logprobs else ""
        fallback = adapter_settings(self.fallback)
        return f"{type(self).__name__}(constrain={self.constrain!r}, fallback={fallback}{logprobs})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask ``lm`` for the label; once more where the answer is none.

        Returns:
            One dict a completion, from the output field to the label as a value of its type; ``label_logprobs``
            too where asked for and given.

        Raises:
            AdapterParseError: neither answer is a label.
        """
        decision = decision_of(signature)
        answers: list[dict[str, Any]]
        if decision is None:
            answers = self.fallback(lm, lm_kwargs, signature, demos, inputs)
            return answers
        options, wish = self._options(lm, lm_kwargs, decision), self._wish(lm, lm_kwargs, decision)
        try:
            answers = self._ask(lm, {**options, **wish}, signature, demos, inputs)
        except REFUSALS:
            if not wish:
                raise
            answers = self._ask(lm, options, signature, demos, inputs)
            refuses(lm)
        return self._finished(answers, decision, lm, lm_kwargs)

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        """Ask as :meth:`__call__` does, without blocking."""
        decision = decision_of(signature)
        answers: list[dict[str, Any]]
        if decision is None:
            answers = await self.fallback.acall(lm, lm_kwargs, signature, demos, inputs)
            return answers
        # What an LM supports may take the import of a whole backend to find out.
        options = await asyncio.to_thread(self._options, lm, lm_kwargs, decision)
        wish = self._wish(lm, lm_kwargs, decision)
        try:
            answers = await self._aask(lm, {**options, **wish}, signature, demos, inputs)
        except REFUSALS:
            if not wish:
                raise
            answers = await self._aask(lm, options, signature, demos, inputs)
            refuses(lm)
        return self._finished(answers, decision, lm, lm_kwargs)

    def asking_logprobs(self) -> LabelAdapter:
        """Return this adapter with ``logprobs=True``."""
        asking = copy.copy(self)
        asking.logprobs = True
        return asking

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[Message]:
        """Return the messages of a call: system, demos as turns, the example."""
        messages: list[Message]
        if decision_of(signature) is None:
            messages = self.fallback.format(signature, demos, inputs)
        else:
            messages = super().format(signature, demos, inputs)
        return messages if self._refused is None else [*messages, *self._correction(signature)]

    def format_system_message(self, signature: type[dspy.Signature]) -> str:
        """Return the instructions, word for word, and the line with the label set."""
        decision = Decision.required(signature)
        return f"{signature.instructions}\n\n{decision.request}{decision.listed}"

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: Mapping[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,  # noqa: FBT001, FBT002 - DSPy's signature
    ) -> str:
        """Return the bare text of a single input field, or ``name: value`` lines of several, in field order."""
        given = {
            name: str(format_field_value(field_info=field, value=inputs[name]))
            for name, field in signature.input_fields.items()
            if inputs.get(name) is not None
        }
        # DSPy leaves out an empty user turn, and most servers refuse a request without one.
        single = len(signature.input_fields) == 1 and all(given.values())
        text = "\n".join(given.values() if single else (f"{name}: {value}" for name, value in given.items()))
        return "\n\n".join(part for part in (prefix, text, suffix) if part)

    def format_assistant_message_content(
        self,
        signature: type[dspy.Signature],
        outputs: Mapping[str, Any],
        missing_field_message: str | None = None,
    ) -> str:
        """Return the bare label, or the joined ones."""
        decision = Decision.required(signature)
        value = outputs.get(decision.field)
        return (missing_field_message or "") if value is None else decision.text(value)

    def format_demos(self, signature: type[dspy.Signature], demos: Iterable[Mapping[str, Any]]) -> list[Message]:
        """Return each demo as a user turn and its bare label, in the order given.

        A demo may lack some of several inputs. One without any input, or whose label is missing or not in the
        label set, is left out: it would teach a wrong form.
        """
        decision = Decision.required(signature)
        messages: list[Message] = []
        for demo in demos:
            label = decision.match(self.format_assistant_message_content(signature, demo))
            text = self.format_user_message_content(signature, demo)
            if label is None or not text:
                logger.debug("A demo without input or without a known label is left out of the prompt.")
                continue
            messages += [{"role": "user", "content": text}, {"role": "assistant", "content": label}]
        return messages

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Return the output field and the label that ``completion`` means, as a value of the field's type.

        Raises:
            AdapterParseError: it means none of the labels, or more than one where one is asked for.
        """
        decision = decision_of(signature)
        if decision is None:
            outputs: dict[str, Any] = self.fallback.parse(signature, completion)
            return outputs
        label = decision.match(completion)
        if label is None:
            tried = "" if self._refused is None else ", even after one correction"
            raise AdapterParseError(
                adapter_name=type(self).__name__,
                signature=signature,
                lm_response=completion,
                message=f"The answer {completion!r} for the field {decision.field!r} is not one of "
                f"{decision.listed}{tried}. Constrain the answers (constrain=...) or use a model that keeps to "
                "the label list.",
            )
        return {decision.field: decision.value(label)}

    def _ask(self, lm: dspy.BaseLM, options: dict[str, Any], *request: Any) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]]
        try:
            answers = super().__call__(lm, dict(options), *request)
        except AdapterParseError as error:
            answers = super(LabelAdapter, self._correcting(error)).__call__(lm, dict(options), *request)
        return answers

    async def _aask(self, lm: dspy.BaseLM, options: dict[str, Any], *request: Any) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]]
        try:
            answers = await super().acall(lm, dict(options), *request)
        except AdapterParseError as error:
            answers = await super(LabelAdapter, self._correcting(error)).acall(lm, dict(options), *request)
        return answers

    def _wish(self, lm: dspy.BaseLM, lm_kwargs: dict[str, Any], decision: Decision) -> dict[str, Any]:
        """The settings that ask for log-probabilities, which a server may refuse; several labels have none."""
        if not self.logprobs or decision.several:
            return {}
        llama_cpp = self.constrain == "grammar" or isinstance(lm, LocalLM)
        return logprob_settings(lm, {**lm.kwargs, **lm_kwargs}, llama_cpp=llama_cpp)

    def _finished(
        self, answers: list[dict[str, Any]], decision: Decision, lm: dspy.BaseLM, lm_kwargs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        if not self.logprobs or decision.several:
            return answers
        wanted_by_caller = bool({**lm.kwargs, **lm_kwargs}.get("logprobs"))
        return with_label_logprobs(answers, decision, lm, keep_tokens=wanted_by_caller)

    def _correcting(self, error: AdapterParseError) -> LabelAdapter:
        """This adapter, for the one more try after the answer that ``error`` tells of."""
        logger.debug("An answer was no label and is asked for again: %r", error.lm_response)
        again = copy.copy(self)
        again._refused = error.lm_response
        return again

    def _correction(self, signature: type[dspy.Signature]) -> list[Message]:
        """The refused answer and the corrective turn. Some servers refuse an empty turn, hence the stand-in."""
        refused, decision = (self._refused or "").strip(), Decision.required(signature)
        return [
            {"role": "assistant", "content": refused if refused not in ("", "None") else "(no answer)"},
            {"role": "user", "content": f"{CORRECTION}{decision.request}{decision.listed}"},
        ]

    def _options(self, lm: dspy.BaseLM, lm_kwargs: dict[str, Any], decision: Decision) -> dict[str, Any]:
        """The LM call's settings: the caller's, a short ``max_tokens`` where none is set, and the constraint."""
        given = {**lm.kwargs, **lm_kwargs}
        options = dict(lm_kwargs)
        limited = given.get("max_tokens") is not None or given.get("max_completion_tokens") is not None
        # A reasoning model spends its completion tokens on thinking first.
        if not limited and not lm.supports_reasoning:
            options["max_tokens"] = SPARE_TOKENS + decision.longest  # a token holds at least one byte of text
        return constrained(options, lm, constrain=self.constrain, decision=decision)


def asking_for_logprobs(adapter: dspy.Adapter | None) -> dspy.Adapter | None:
    """Return ``adapter`` (the configured one where None), asking for log-probabilities where it can."""
    adapter = adapter or dspy.settings.adapter
    return adapter.asking_logprobs() if isinstance(adapter, LabelAdapter) else adapter
