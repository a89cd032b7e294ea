"""Offsets of labels as a bias on tokens, where every label begins with a token of its own."""

from __future__ import annotations

from urllib.error import URLError

import dspy

from ...local.lm import LocalLM, post_json
from ...scoring.offsets import Offsets


def logit_bias(offsets: Offsets, lm: dspy.BaseLM) -> tuple[dict[str, float], str]:
    """Return token id -> bias, by the tokenizer of the student's own llama.cpp server; empty, and why, if none fits.

    Biased is every token that begins one label and no other: a grammar lets "f" and "ood" stand for "food".
    """
    if not isinstance(lm, LocalLM):
        return {}, "the tokenizer of the student's model is not known"
    root = str(lm.kwargs["api_base"]).removesuffix("/v1")

    def tokens(text: str) -> list[int]:
        return list(post_json(f"{root}/tokenize", {"content": text})["tokens"])

    begins: dict[int, set[float]] = {}
    try:
        first = [tokens(label)[0] for label in offsets.labels]
        if len(set(first)) < len(first):
            return {}, "labels begin with the same token"
        for label, value in zip(offsets.labels, offsets.values, strict=True):
            for spelled in (label, f" {label}", label.capitalize()):
                for end in range(1, len(spelled) + 1):
                    token, *more = tokens(spelled[:end])
                    if not more:
                        begins.setdefault(token, set()).add(value)
    except (URLError, LookupError, ValueError) as error:
        return {}, f"the student's server does not tokenize: {error}"
    own = {token: value for token, (value, *others) in begins.items() if not others}
    return {str(token): value for token, value in (own | dict(zip(first, offsets.values, strict=True))).items()}, ""
