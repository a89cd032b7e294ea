"""An LM that llama.cpp serves in this process."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import dspy


class LocalLM(dspy.LM):
    """A ``dspy.LM`` for a model that llama.cpp serves; a prompt and its answer may take ``context_tokens`` tokens.

    ``model`` is ``openai/NAME``; the name stands for the weights, so that DSPy's cache and history outlive the port.
    """

    def __init__(self, model: str, *, context_tokens: int, **settings: Any) -> None:
        super().__init__(model, **settings)
        self.context_tokens = context_tokens

    def count_tokens(self, text: str) -> int:
        """Return the number of the model's tokens in a text, special tokens not counted."""
        root = str(self.kwargs["api_base"]).removesuffix("/v1")
        return len(post_json(f"{root}/tokenize", {"content": text})["tokens"])

    def dump_state(self) -> dict[str, Any]:
        """Return the state as a plain ``dspy.LM`` would, so that it loads where pld_dspy is not installed."""
        return {**super().dump_state(), "_dspy_lm_class": f"{dspy.LM.__module__}.{dspy.LM.__qualname__}"}


def post_json(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post JSON to a server on this machine, past any configured proxy; return the answer."""
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request) as response:
        return dict(json.load(response))
