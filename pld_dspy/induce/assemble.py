"""Assemble: from micro-rules to clusters of one label each, and from clusters with wordings to named rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ..local.embedding import embed
from ..rules import MicroRule, Rule, label_slug
from ..task.task import Task
from .cluster import Floats, groups_of_label, merged
from .config import InduceConfig
from .doctor import Doctor
from .generalize import Cluster


def clusters_of(
    micro_rules: Sequence[MicroRule], task: Task, config: InduceConfig, doctor: Doctor, lesser: frozenset[str]
) -> list[Cluster]:
    """Cluster micro-rules, the cluster with most support first.

    Args:
        micro_rules: n micro-rules.
        task: the labelled decision.
        config: embedder, clusterer, sizes.
        doctor: looks at the clusters of each label.
        lesser: example ids whose micro-rules come last and count half.
    """
    vectors = embed([rule.rule for rule in micro_rules], config.embedder)
    groups = _groups(micro_rules, vectors, task, config, doctor)
    clusters = [_cluster(micro_rules, vectors, rows, lesser) for rows in groups]
    return sorted(clusters, key=lambda cluster: (-cluster.weight, cluster.members[0].example_id))


def named(clusters: Sequence[Cluster], wordings: Sequence[Mapping[str, str]]) -> list[Rule]:
    """Name rules by label and rank, as ``religion-2``: short enough to read in a table of trials.

    Args:
        clusters: one a rule.
        wordings: for each, its texts in order -> where they came from.
    """
    ranks: Counter[str] = Counter()
    rules = []
    for cluster, texts in zip(clusters, wordings, strict=True):
        slug = label_slug(cluster.label)
        ranks[slug] += 1
        rules.append(
            Rule(
                id=f"{slug}-{ranks[slug]}",
                wordings=tuple(texts),
                origins=tuple(texts.values()),
                labels=cluster.labels,
                support=tuple(rule.example_id for rule in cluster.members),
            )
        )
    return rules


def _groups(
    micro_rules: Sequence[MicroRule], vectors: Floats, task: Task, config: InduceConfig, doctor: Doctor
) -> list[list[int]]:
    """Cluster and merge label by label: a rare label is neither noise beside a frequent one nor merged into it."""
    rows_of: dict[str, list[int]] = {label: [] for label in task.labels}
    for row, rule in enumerate(micro_rules):
        if rule.label in rows_of:
            rows_of[rule.label].append(row)
    groups: list[list[int]] = []
    for label, rows in rows_of.items():
        if rows:
            clusterer = doctor.clusterer(label, config.clusterer)
            parts = groups_of_label(
                vectors, rows, clusterer=clusterer, max_share=config.max_share, attach=config.attach
            )
            groups += merged(vectors, parts, similarity=config.merge)
    return groups


def _cluster(micro_rules: Sequence[MicroRule], vectors: Floats, rows: list[int], lesser: frozenset[str]) -> Cluster:
    """Order a group's members by nearness to its centre; sound labels come before doubtful ones."""
    centre = vectors[rows].mean(axis=0)
    nearness = vectors[rows] @ centre
    ranked = [micro_rules[rows[i]] for i in np.argsort(-nearness, kind="stable")]
    return Cluster(sorted(ranked, key=lambda rule: rule.doubtful or rule.example_id in lesser), lesser)
