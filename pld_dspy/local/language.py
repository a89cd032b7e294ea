"""Language: whether texts are English, the only language whose stop words are at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

LEAST_SHARE = 0.2
"""Least share of stop words in English texts: recorded English sets have 0.40 to 0.59, German and Spanish ones 0.05."""
_ELSEWHERE = {"con", "de", "me", "no", "un"}  # on the list, and frequent in Romance languages
_STOP_WORDS = ENGLISH_STOP_WORDS - _ELSEWHERE
_WORD = re.compile(r"[^\W\d_]{2,}")


def is_english(texts: Iterable[str]) -> bool:
    """Return whether a fifth of all words are English stop words; also True for texts without words."""
    words = [word for text in texts for word in _WORD.findall(text.lower())]
    return sum(word in _STOP_WORDS for word in words) >= LEAST_SHARE * len(words)
