"""Cues: what a cluster's micro-rules point to in their examples, as one short wording that needs no teacher.

A micro-rule says in general what its author saw in one example, so the words that it shares with the example are what
decided. Those that speak for one label across all examples make a wording that a small model follows more readily than
a long sentence about one case.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..rules import MicroRule
from ..teacher.signatures import CUE_WORDING
from .generalize import Cluster

CUES = 6
"""Cues in a wording, at most: more would be a list to search, not a rule to follow."""
PURITY = 0.75
"""Least share of a cue's micro-rules that are for the label."""
_WORD = re.compile(r"[^\W\d_][\w'-]+")


def cue_wordings(
    clusters: Sequence[Cluster],
    labels: Sequence[str],
    *,
    subject: str,
    reads: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[str | None]:
    """Return one wording a cluster, such as "If the text is about a, b or c, answer LABEL."; None without cues.

    Args:
        clusters: of all labels, since a cue is what other labels' examples lack.
        labels: the label set; a label's own words are no cue.
        subject: what to call an example.
        reads: example id -> what the student reads of it, by field; a micro-rule's own inputs where there is none.
    """
    reads = reads or {}
    known = {_stem(word) for label in labels for word in _WORD.findall(label.lower())}
    shared = {
        id(rule): _shared(rule, reads.get(rule.example_id, rule.inputs), known)
        for cluster in clusters
        for rule in cluster.members
    }
    by_label: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cluster in clusters:
        for rule in cluster.members:
            for stem in shared[id(rule)]:
                by_label[stem][rule.label] += 1
    wordings = []
    for cluster in clusters:
        cues = _cues([shared[id(rule)] for rule in cluster.members], by_label, cluster.label)
        listed = " or ".join(filter(None, (", ".join(cues[:-1]), *cues[-1:])))
        wordings.append(CUE_WORDING.format(subject=subject, cues=listed, label=cluster.label) if cues else None)
    return wordings


def _cues(found: Sequence[Mapping[str, str]], by_label: Mapping[str, Counter[str]], label: str) -> list[str]:
    """Rank a cluster's shared words by how many members point to them and how much they speak for the label."""
    counts = Counter(stem for words in found for stem in words)
    surface = {stem: word for words in reversed(found) for stem, word in words.items()}
    purity = {stem: by_label[stem][label] / by_label[stem].total() for stem in counts}
    ranked = sorted(
        (stem for stem in counts if purity[stem] >= PURITY),
        key=lambda stem: (-counts[stem] * (by_label[stem][label] + 0.1) / (by_label[stem].total() + 0.5), stem),
    )
    return [surface[stem] for stem in ranked[:CUES]]


def _shared(rule: MicroRule, read: Mapping[str, Any], known: set[str]) -> dict[str, str]:
    """Return the words that a micro-rule shares with its example: stem -> as the example has it."""
    text = " ".join(str(value) for value in read.values())
    words = {_stem(word): word for word in _WORD.findall(text.lower())}
    return {
        stem: words[stem]
        for stem in dict.fromkeys(_stem(word) for word in _WORD.findall(rule.rule.lower()))
        if stem in words and stem not in known and words[stem] not in ENGLISH_STOP_WORDS
    }


def _stem(word: str) -> str:
    """Take a plural's s off; a stemmer's mutilated words would have to be turned back for readers."""
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word
