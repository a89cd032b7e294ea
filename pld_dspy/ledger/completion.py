"""A completion: what of a model's text is thought, what is its answer, and where the answer states something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_THOUGHT = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|analysis|reflection|scratchpad)"
# As DeepSeek, Qwen, Phi and others write a thought; then Mistral, Kimi, Sky-T1 and Cohere, gpt-oss, Gemma.
_OPEN = (
    rf"<(?:[a-z]+:)?{_THOUGHT}(?:\s[^<>]*)?>|(?-i:\[THINK\])|◁think▷|<\|(?:begin_of_|start_){_THOUGHT}\|>"
    rf"|<\|channel\|?>\s*(?:{_THOUGHT}|commentary)\b|<unused94>|(?-i:\A\s*analysis(?=[A-Z]))"
)
_CLOSE = (
    rf"</(?:[a-z]+:)?{_THOUGHT}\s*>|(?-i:\[/THINK\])|◁/think▷|<\|end_(?:of_)?{_THOUGHT}\|>"
    r"|<\|channel\|?>\s*final\b|<channel\|>|<unused95>|(?-i:assistantfinal)"
)
_OPENING = re.compile(_OPEN, re.IGNORECASE)
_CLOSING = re.compile(_CLOSE, re.IGNORECASE)
_CLOSING_BYTES = re.compile(_CLOSE.encode(), re.IGNORECASE)
_CLOSED = re.compile(rf"(?:{_OPEN}).*?(?:{_CLOSE})", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"<\|\w+\|>|</?answer>", re.IGNORECASE)
_FENCED = re.compile(r"\A```\w*\n(.*?)\s*(?:```)?\Z", re.DOTALL)
_NAMES = ("answer", "label", "category", "class", "classification")

MISSING = object()


def answer_part(text: str) -> str:
    """Return a model's text without its thoughts, of which one may lack its beginning or its end, and without a fence.

    Empty where there is nothing but thought.
    """
    text = _CLOSED.sub("", text)
    text = _CLOSING.split(text)[-1]  # a template may have opened the thought in the prompt
    text = _TOKEN.sub(" ", _OPENING.split(text, maxsplit=1)[0]).strip()
    fenced = _FENCED.match(text)
    return fenced[1] if fenced else text


def holds_thought(text: str) -> bool:
    """Return whether a model's text holds a thought, or a part of one, that is marked as such."""
    return bool(_OPENING.search(text) or _CLOSING.search(text))


def thought_end(text: bytes) -> int:
    """Return where in a model's text, as UTF-8, its last thought ends; 0 without one."""
    return max((end.end() for end in _CLOSING_BYTES.finditer(text)), default=0)


def json_field(text: str, name: str) -> Any:
    """Return the value of ``name`` in the first complete JSON object that has it; ``MISSING`` if none does."""
    decoder = json.JSONDecoder()
    for brace in re.finditer(r"\{", text):
        try:
            found, _ = decoder.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if name in found:
            return found[name]
    return MISSING


def statements(text: str, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield what follows "label:", "The answer is" and the like, to the text's end; ``names`` are further nouns."""
    nouns = "|".join(re.escape(name).replace("_", "[ _]") for name in (*names, *_NAMES))
    for stated in re.finditer(rf"(?<!\w)(?:{nouns})[\"'`*]*\s*(?:[:=]|\bis\b:?)", text, re.IGNORECASE):
        yield text[stated.end() :]
