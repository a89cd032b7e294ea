"""Again: a teacher's answer that came and cannot be used is asked for once more, with the reason, then counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ..ledger.answer import Answer
from .signatures import REFUSED, is_unfilled

Ask: TypeAlias = Callable[[list[dict[str, Any]]], list[Answer]]
"""Inputs, with a field ``task`` -> answers."""


def asked_again(
    ask: Ask,
    inputs: Sequence[dict[str, Any]],
    answers: Sequence[Answer],
    texts: Callable[[Answer], Sequence[str]],
    *,
    unsaid: str = "it was empty",
) -> list[Answer]:
    """Return the answers, each that says nothing usable replaced by a second one that does, where there is one.

    Calls that were lost, capped or gave nothing to read are left as they are: the ledger has tried those again.

    Args:
        ask: asks the teacher.
        inputs: n inputs.
        answers: n answers to them.
        texts: what of an answer is to be used; one of these must say something, and not repeat the form it was given.
        unsaid: why an answer is refused of which there is nothing to use.
    """
    refused = {
        place: reason
        for place, answer in enumerate(answers)
        if answer.outputs is not None and (reason := _reason(texts(answer), unsaid))
    }
    found = list(answers)
    if refused:
        corrected = [
            {**inputs[place], "task": REFUSED.format(task=inputs[place]["task"], reason=reason)}
            for place, reason in refused.items()
        ]
        for place, second in zip(refused, ask(corrected), strict=True):
            if second.outputs is not None and not _reason(texts(second), unsaid):
                found[place] = second
    return found


def _reason(texts: Sequence[str], unsaid: str) -> str | None:
    """Return why none of the texts can be used; None where one can."""
    said = [text for text in texts if text.strip()]
    if not said:
        return unsaid
    return "it repeated the form and filled nothing in" if all(map(is_unfilled, said)) else None
