"""Verify a bundle: its golden examples are asked again, with what its files say and plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ...errors import ModelError, without_secrets
from ...ledger.jsonl import read_jsonl
from .bundle import read_bundle
from .labels import read_answer
from .template import Golden

Ask = Callable[[Mapping[str, Any]], str]


class Verified(BaseModel):
    """One golden example, asked again."""

    id: str
    split: str
    scored: str | None
    answer: str | None
    text: str  # what the model said

    @property
    def is_same(self) -> bool:
        """Whether the answer is the one that was scored."""
        return self.scored == self.answer


def golden_of(folder: Path, n: int | None = None) -> list[Golden]:
    """Return the golden examples of a bundle, all or ``n`` at even distances; errors as for :func:`read_bundle`."""
    read_bundle(folder)
    found = read_jsonl(folder / "golden.jsonl", Golden)
    return found if n is None else found[:: max(1, len(found) // n)][:n]


def verify(folder: Path, golden: Iterable[Golden], ask: Ask, *, model: str | None = None) -> Iterator[Verified]:
    """Yield each of ``golden``, asked again; the messages are those of the bundle's own files.

    Args:
        folder: the bundle.
        golden: examples of it.
        ask: body of a request -> the answer's text, such as :func:`server` gives.
        model: in place of the one that was scored.

    Raises:
        RunError: the folder is no bundle, or damaged.
    """
    manifest, template = read_bundle(folder)
    decision, name = manifest.decision, model or manifest.model
    for one in golden:
        text = ask({"model": name, "messages": template.filled(one.inputs), **template.settings})
        answer = read_answer(text, decision)
        yield Verified(id=one.id, split=one.split, scored=one.answer, answer=answer, text=text)


def server(api_base: str, api_key: str | None = None) -> Ask:
    """Return a function that posts a body to a server's ``/chat/completions``; ModelError where that fails."""
    from openai import OpenAI, OpenAIError

    client = OpenAI(base_url=api_base, api_key=api_key or "none")

    def ask(body: Mapping[str, Any]) -> str:
        try:
            answer: Any = client.post("/chat/completions", body=dict(body), cast_to=object)
            return str(answer["choices"][0]["message"]["content"] or "")
        except (OpenAIError, LookupError, TypeError) as error:
            cause = without_secrets(str(error))
            raise ModelError(
                f"{api_base} gives no answer: {type(error).__name__}: {cause}. Check --api-base, --model and the key."
            ) from error

    return ask
