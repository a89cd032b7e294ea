"""Wordings: the texts in which a rule may stand: a teacher's, its cue words, and its most typical micro-rules."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..local.language import is_english
from ..rules import CUES, MICRO_RULE, MicroRule
from ..task.task import Task
from .groups import Cluster
from .induce_config import InduceConfig

CUE_WORDING = "If the {subject} is about {cues}, answer {label}."
MOST_CUES = 6
"""Most cue words in a wording: more would be a list to search, not a rule to follow."""
PURITY = 0.75
"""Least share of the micro-rules with a cue word that are for the label."""
COMMON = 0.05
"""Where a language's stop words are unknown, a word in this share of other labels' micro-rules and examples is no cue.
On the demo and three recorded sets without the English list, that takes stop words from 18% of the cues to 8%."""
_WORD = re.compile(r"[^\W\d_][\w'-]+")


def rule_wordings(
    clusters: Sequence[Cluster],
    written: Sequence[Mapping[str, str]],
    task: Task,
    config: InduceConfig,
    reads: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return each rule's wordings in order, with their origins: text -> origin.

    A teacher's come first, then the cue words and the most typical micro-rule, since a small student may follow these
    better, above all if the teacher is small too. Where a teacher wrote none, micro-rules replace them. A rule about
    several labels has no cue words, nor has one that was made from a single example: they would be of that
    example alone. ``written`` holds, per cluster, the teacher's text -> origin; ``reads`` is as for ``induce``.
    """
    cues: list[str | None] = [None] * len(clusters)
    if config.cues:
        fields = {name for read in reads.values() for name in read} or set(task.inputs)
        subject = fields.pop() if len(fields) == 1 else "example"
        alone = [place for place, cluster in enumerate(clusters) if len(cluster.labels) == 1]
        found = cue_wordings([clusters[place] for place in alone], task.labels, subject=subject, reads=reads)
        for place, cue in zip(alone, found, strict=True):
            cues[place] = cue
    count = config.teacher_wordings if any(written) else config.wordings
    rules = []
    for cluster, cue, texts in zip(clusters, cues, written, strict=True):
        own = {cue: CUES} if cue and len(cluster.members) > 1 else {}
        typical = dict.fromkeys(cluster.texts[:count], MICRO_RULE)
        if not texts:
            ranked = {cluster.texts[0]: MICRO_RULE, **own, **typical}
        elif config.cues and len(cluster.labels) == 1:
            ranked = {**texts, **own, cluster.texts[0]: MICRO_RULE, **texts}  # a text that both give is the teacher's
        else:
            ranked = dict(texts)
        rules.append(dict(islice(ranked.items(), config.wordings)))
    return rules


def cue_wordings(
    clusters: Sequence[Cluster], labels: Sequence[str], *, subject: str, reads: Mapping[str, Mapping[str, Any]]
) -> list[str | None]:
    """Return one wording per cluster, such as "If the text is about a, b or c, answer LABEL."; None without cues.

    A micro-rule says in general what its author saw in one example, so the words that both share decided. Those that
    speak for one label across all examples are its cues: a small model follows them more readily than a sentence.
    Where ``reads`` lacks an example, its micro-rule's inputs count. ``subject`` is what to call an example.
    """
    label_words = {stem for label in labels for stem in _stems(label)}
    members = [rule for cluster in clusters for rule in cluster.members]
    texts = {id(rule): _text(reads.get(rule.example_id, rule.inputs)) for rule in members}
    common: Mapping[str, set[str]] = {}
    if not is_english([*texts.values(), *(rule.rule for rule in members)]):
        common = _common_words(members, texts)
    shared = [
        [_shared_words(rule, texts[id(rule)], label_words | common.get(rule.label, set())) for rule in cluster.members]
        for cluster in clusters
    ]
    by_label: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cluster, words_of_members in zip(clusters, shared, strict=True):
        for rule, words in zip(cluster.members, words_of_members, strict=True):
            for stem in words:
                by_label[stem][rule.label] += 1
    wordings: list[str | None] = []
    for cluster, words_of_members in zip(clusters, shared, strict=True):
        label = cluster.labels[0]
        *firsts, last = _cues(words_of_members, by_label, label) or [""]
        listed = f"{', '.join(firsts)} or {last}" if firsts else last
        wordings.append(CUE_WORDING.format(subject=subject, cues=listed, label=label) if last else None)
    return wordings


def _cues(shared: Sequence[Mapping[str, str]], by_label: Mapping[str, Counter[str]], label: str) -> list[str]:
    """Rank a cluster's shared words by how many members have them and how much they speak for the label."""
    counts = Counter(stem for words in shared for stem in words)
    spelling = {stem: word for words in reversed(shared) for stem, word in words.items()}
    ranked = sorted(
        (stem for stem in counts if by_label[stem][label] / by_label[stem].total() >= PURITY),
        key=lambda stem: (-counts[stem] * (by_label[stem][label] + 0.1) / (by_label[stem].total() + 0.5), stem),
    )
    return [spelling[stem] for stem in ranked[:MOST_CUES]]


def _common_words(members: Sequence[MicroRule], texts: Mapping[int, str]) -> dict[str, set[str]]:
    """Return, per label, the stems that are common in micro-rules of other labels or in their examples' texts."""
    having: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for rule in members:
        for stem in _stems(f"{texts[id(rule)]} {rule.rule}"):
            having[stem][rule.label] += 1
    sizes = Counter(rule.label for rule in members)
    return {
        label: {
            stem
            for stem, counts in having.items()
            if counts.total() > counts[label]
            and counts.total() - counts[label] >= COMMON * (len(members) - sizes[label])
        }
        for label in sizes
    }


def _shared_words(rule: MicroRule, text: str, excluded: Collection[str]) -> dict[str, str]:
    """Return the words that a micro-rule shares with its example's text: stem -> spelling in the example."""
    words = _stems(text)
    return {
        stem: words[stem]
        for stem in _stems(rule.rule)
        if stem in words and stem not in excluded and words[stem] not in ENGLISH_STOP_WORDS
    }


def _text(read: Mapping[str, Any]) -> str:
    return " ".join(str(value) for value in read.values())


def _stems(text: str) -> dict[str, str]:
    """Return the words of a text in order, stem -> last spelling."""
    return {_stem(word): word for word in _WORD.findall(text.lower())}


def _stem(word: str) -> str:
    """Take off a plural's s only: what a real stemmer leaves of a word is hard to read."""
    return word[:-1] if len(word) > 4 and word.endswith("s") and not word.endswith("ss") else word
