"""Offsets of labels as a bias on tokens, where every label begins with a token of its own."""

from __future__ import annotations

from urllib.error import URLError

import dspy

from ...local.lm import LocalLM, post_json
from ...scoring.offsets import Offsets


def logit_bias(offsets: Offsets, lm: dspy.BaseLM) -> tuple[dict[str, float], str]:
    """Return token id -> bias, by the tokenizer of the student's own llama.cpp server; empty, and why, if none fits."""
    if not isinstance(lm, LocalLM):
        return {}, "the tokenizer of the student's model is not known"
    root = str(lm.kwargs["api_base"]).removesuffix("/v1")
    try:
        first = [post_json(f"{root}/tokenize", {"content": label})["tokens"][0] for label in offsets.labels]
    except (URLError, LookupError) as error:
        return {}, f"the student's server does not tokenize: {error}"
    if len(set(first)) < len(first):
        return {}, "labels begin with the same token"
    return {str(token): value for token, value in zip(first, offsets.values, strict=True)}, ""
