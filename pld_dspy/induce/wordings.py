"""Wordings: in which texts each rule may stand, in which order they are tried, and where each of them came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

from ..rules import CUES, MICRO_RULE, ORIGIN_SEPARATOR
from ..task.task import Task
from .config import InduceConfig
from .cues import cue_wordings
from .generalize import Cluster, Synthesis, extracted

Sourced: TypeAlias = tuple[str, str]
"""A text and where it came from."""


def worded(
    clusters: Sequence[Cluster],
    draws: Sequence[Synthesis],
    task: Task,
    config: InduceConfig,
    reads: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return each rule's wordings with their origins, in order.

    First come the ways to word a rule, one text of each: what the teacher gave first, the cluster's cues, its most
    typical micro-rule, and what further draws of the teacher gave first; then the others. A small student may follow
    cues or a micro-rule better than what a teacher writes, a small teacher above all.

    Args:
        clusters: one a rule.
        draws: at least one synthesis of all clusters.
        task: the labelled decision.
        config: whether cues are wanted, and how many wordings. Where there are several draws, a wording of each is
            kept, even if these are more.
        reads: example id -> what the student reads of it, by field.
    """
    cues = _cues(clusters, task, reads) if config.cues else None
    most = max(config.wordings, len(draws) + 2 * config.cues) if len(draws) > 1 else config.wordings
    found = []
    for index, cluster in enumerate(clusters):
        own = [] if cues is None else [*_named(CUES, filter(None, [cues[index]])), *_typical(cluster)]
        first, *further = [_told(draw, index, again=number > 0) for number, draw in enumerate(draws)]
        leading = [*first[:1], *own, *chain.from_iterable(told[:1] for told in further)]
        others = chain.from_iterable(told[1:] for told in (first, *further))
        found.append(dict(list(_merged(leading, others).items())[:most]))
    return found


def _told(synthesis: Synthesis, index: int, *, again: bool) -> list[Sourced]:
    """What one draw gave for a cluster; micro-rules stand in for the first draw only."""
    if index not in synthesis.fallbacks:
        return _named(synthesis.origin, synthesis.wordings[index])
    return [] if again else _named(MICRO_RULE, synthesis.wordings[index])


def _typical(cluster: Cluster) -> list[Sourced]:
    return _named(MICRO_RULE, extracted(cluster, 1))


def _named(origin: str, texts: Iterable[str]) -> list[Sourced]:
    return [(text, origin) for text in texts]


def _merged(leading: Iterable[Sourced], others: Iterable[Sourced]) -> dict[str, str]:
    """Return text -> origins; a text that leads in several ways names all of them."""
    found: dict[str, dict[str, None]] = {}
    for text, origin in leading:
        found.setdefault(text, {})[origin] = None
    for text, origin in others:
        found.setdefault(text, {origin: None})
    return {text: ORIGIN_SEPARATOR.join(origins) for text, origins in found.items()}


def _cues(clusters: Sequence[Cluster], task: Task, reads: Mapping[str, Mapping[str, Any]]) -> list[str | None]:
    fields = {name for read in reads.values() for name in read} or set(task.inputs)
    subject = fields.pop() if len(fields) == 1 else "example"
    return cue_wordings(clusters, task.labels, subject=subject, reads=reads)
