"""What a teacher that words one cluster is told of all the others: a brief, and the nearest notes of other labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..rules import MicroRule
from ..task.task import Task
from ..teacher.brief import Kind, brief
from .cluster import Floats
from .groups import Cluster

INPUTS = 2
"""Inputs shown per cluster."""
NEAR = 4
"""Notes of other labels shown beside a cluster's own."""


def brief_of(
    clusters: Sequence[Cluster],
    task: Task,
    instructions: str,
    reads: Mapping[str, Mapping[str, Any]],
    confusions: Mapping[tuple[str, str], int],
) -> str:
    """Return the brief with a line per cluster; ``reads`` and ``confusions`` are as for ``induce``."""
    kinds: dict[str, list[Kind]] = {label: [] for label in task.labels}
    for cluster in clusters:
        inputs = tuple(reads.get(rule.example_id, rule.inputs) for rule in cluster.members[:INPUTS])
        kinds[cluster.labels[0]].append(Kind(cluster.texts[0], len(cluster.members), inputs))
    sizes = Counter(rule.label for cluster in clusters for rule in cluster.members)
    known = {label: sizes[label] for label in task.labels}
    return brief(task, instructions, known, kinds=kinds, confusions=confusions)


def nearest_notes(clusters: Sequence[Cluster], micro_rules: Sequence[MicroRule], vectors: Floats) -> list[list[str]]:
    """Return, per cluster, the different notes of other labels that are nearest to its centre, as ``label: note``.

    ``vectors`` are those of the n ``micro_rules`` that were clustered, n x d.
    """
    labels, row_of = np.array([rule.label for rule in micro_rules]), {id(rule): n for n, rule in enumerate(micro_rules)}
    found = []
    for cluster in clusters:
        others = np.flatnonzero(labels != cluster.labels[0])
        nearness = vectors[others] @ vectors[[row_of[id(rule)] for rule in cluster.members]].mean(axis=0)
        ranked = [micro_rules[others[row]] for row in np.argsort(-nearness, kind="stable")[: NEAR * NEAR]]
        found.append(list(dict.fromkeys(f"{rule.label}: {rule.rule}" for rule in ranked))[:NEAR])
    return found
