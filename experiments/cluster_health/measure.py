"""Measure one way of clustering on one collection, in a process of its own so that its peak memory is its own."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from pld_dspy.induce.cluster import dbscan
from pld_dspy.induce.induce import induce
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.local.embedding import Embedder, EmbedderChoice, embed, embedder_of
from pld_dspy.rules import MicroRule
from pld_dspy.task.task import Task

from .generator import NONE, Collection, collection

DBSCAN_UP_TO = 20_000
"""Micro-rules that plain DBSCAN is run on by default: it compares all pairs."""


@dataclass(frozen=True)
class Health:
    """What came out of one collection.

    Attributes:
        groups: how many.
        largest: micro-rules in the largest.
        unplaced: micro-rules in none, those dropped included.
        themes: themes of the collection; 0 where none are known.
        recovered: themes that are the majority of some group.
        rand: adjusted Rand index over the micro-rules with a theme, each unplaced one a group of its own.
        labels_lost: labels that are the majority of no group.
        seconds: CPU time, embedding included.
        peak: MiB that the process grew by at most.
        note: the diagnosis.
    """

    groups: int = 0
    largest: int = 0
    unplaced: int = 0
    themes: int = 0
    recovered: int = 0
    rand: float = 0.0
    labels_lost: int = 0
    seconds: float = 0.0
    peak: float = 0.0
    note: str = ""


Method = Callable[[Collection, Embedder], tuple[list[list[int]], str]]
"""A collection and what compares its texts -> groups of its rows, and what there is to say."""


def plain_dbscan(given: Collection, embedder: Embedder) -> tuple[list[list[int]], str]:
    """Cluster all labels together by DBSCAN as in PLD (arXiv 2602.21103), on the embedding that the others use."""
    numbers = dbscan()(embed([rule.rule for rule in given.micro_rules], embedder))
    return [np.flatnonzero(numbers == number).tolist() for number in range(numbers.max() + 1)], ""


def _induced(given: Collection, embedder: Embedder, *, config: InduceConfig) -> tuple[list[list[int]], str]:
    rows = {rule.example_id: row for row, rule in enumerate(given.micro_rules)}
    found = induce(given.micro_rules, given.task, config=config, embedder=embedder)
    return [[rows[example_id] for example_id in rule.support] for rule in found.rules], found.diagnosis


METHODS: dict[str, Method] = {
    "checked": partial(_induced, config=InduceConfig()),  # as PLD does by default
    "unchecked": partial(_induced, config=InduceConfig(band=None)),  # clusters stay as HDBSCAN finds them
    "DBSCAN": plain_dbscan,
}


def measured(method: str, source: int | Path, seed: int, embedder: EmbedderChoice = "tfidf") -> Health:
    """Measure a method on a collection, in a process of its own; forked, since its imports take longer than its work.

    Args:
        method: a key of ``METHODS``.
        source: how many micro-rules to generate, or a file of recorded ones.
        seed: of the generator.
        embedder: what compares micro-rules.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return pool.submit(measure, method, source, seed, embedder).result()


def measure(method: str, source: int | Path, seed: int, embedder: EmbedderChoice = "tfidf") -> Health:
    """Measure in this process; arguments as for :func:`measured`."""
    given = collection(source, seed=seed) if isinstance(source, int) else recorded(source)
    before, started = _peak(), time.process_time()
    groups, note = METHODS[method](given, embedder_of(embedder))
    seconds, peak = time.process_time() - started, _peak() - before
    return replace(_quality(given, groups), seconds=seconds, peak=peak, note=note)


def recorded(path: Path) -> Collection:
    """Read recorded micro-rules; their themes are not known."""
    micro_rules = read_jsonl(path, MicroRule)
    labels = tuple(sorted({rule.label for rule in micro_rules}))
    task = Task(predictor="self", label_field="label", labels=labels, inputs=tuple(micro_rules[0].inputs))
    return Collection(micro_rules, [NONE] * len(micro_rules), task)


def _quality(given: Collection, groups: Sequence[list[int]]) -> Health:
    themes, labels = np.array(given.themes), [rule.label for rule in given.micro_rules]
    group_of = -1 - np.arange(len(themes))  # a group of its own for each that is in none
    for number, rows in enumerate(groups):
        group_of[rows] = number
    with_theme = themes != NONE
    majorities = {_majority(themes[rows].tolist()) for rows in groups} - {None, NONE}
    answered = {Counter(labels[row] for row in rows).most_common(1)[0][0] for rows in groups}
    return Health(
        groups=len(groups),
        largest=max(map(len, groups), default=0),
        unplaced=int((group_of < 0).sum()),
        themes=len(set(themes[with_theme].tolist())),
        recovered=len(majorities),
        rand=float(adjusted_rand_score(themes[with_theme], group_of[with_theme])),
        labels_lost=len(set(labels) - answered),
    )


def _majority(numbers: Sequence[int]) -> int | None:
    number, count = Counter(numbers).most_common(1)[0]
    return number if count > len(numbers) / 2 else None


def _peak() -> float:
    """Return the process's peak memory so far, MiB; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
