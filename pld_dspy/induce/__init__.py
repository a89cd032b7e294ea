"""Induce: embed the micro-rules, cluster them label by label, generalize each cluster into one rule."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dspy
import numpy as np

from ..embedding import Embedder, embed, tfidf_svd
from ..errors import DataError
from ..ledger import Ledger
from ..rules import MicroRule, Rule
from ..task import Task
from .cluster import Clusterer, Floats, groups_of_label, hdbscan, merged
from .generalize import Cluster, extracted, synthesized

__all__ = ["Clusterer", "Embedder", "InduceConfig", "Induction", "induce"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InduceConfig:
    """How micro-rules become rules.

    Attributes:
        embedder: texts -> vectors; any ``dspy.Embedder`` or callable. Default: TF-IDF and SVD, offline.
        clusterer: vectors of one label -> cluster numbers, -1 for noise.
        wordings: wordings a rule, at most.
        max_share: a cluster with more than this share of its label's micro-rules is split.
        attach: noise joins the nearest cluster of its label from this cosine similarity on.
        merge: clusters of one label whose centres are at least this similar become one rule.
    """

    embedder: Embedder = tfidf_svd
    clusterer: Clusterer = hdbscan
    wordings: int = 3
    max_share: float = 0.25
    attach: float = 0.2
    merge: float = 0.95

    def __post_init__(self) -> None:
        if self.wordings < 1:
            raise DataError(f"InduceConfig.wordings is {self.wordings}; a rule needs at least 1.")
        if not 0 < self.max_share <= 1:
            raise DataError(f"InduceConfig.max_share is {self.max_share}; give a share above 0 and up to 1.")


@dataclass(frozen=True)
class Induction:
    """The rules, in PLD order (most support first), and what happened on the way.

    Attributes:
        rules: one a cluster, wording 0 in use.
        noise: ids of examples whose micro-rule joined no cluster.
        fallbacks: rules whose teacher synthesis failed and that use their micro-rules instead.
    """

    rules: list[Rule]
    noise: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)


def induce(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    instructions: str,
    config: InduceConfig | None = None,
    teacher: dspy.Module | None = None,
    ledger: Ledger,
    lm: dspy.BaseLM | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Induction:
    """Generalize micro-rules into rules.

    Args:
        micro_rules: n micro-rules; equal texts count once in a rule's wordings, and always in its support.
        task: the labelled decision; every label that has a micro-rule keeps at least one rule.
        instructions: the student's own instructions, which tell the teacher what the task is.
        config: embedder, clusterer, sizes.
        teacher: takes task, labels, notes, label and count; gives wordings. None: the micro-rules nearest a
            cluster's centre are its wordings.
        ledger: keeps and counts the teacher's answers.
        lm: the teacher's LM, where its predictors are bound to none.
        on_answer: called once a rule that the teacher writes.

    Raises:
        DataError: there is no micro-rule.
    """
    config = config or InduceConfig()
    if not micro_rules:
        raise DataError("There is no micro-rule to induce rules from. Give rationales or a teacher.")
    vectors = embed([rule.rule for rule in micro_rules], config.embedder)
    groups = _groups(micro_rules, vectors, task, config)
    clusters = [_cluster(micro_rules, vectors, rows) for rows in groups]
    clusters.sort(key=lambda cluster: (-len(cluster.members), cluster.members[0].example_id))

    fallbacks: list[int] = []
    if teacher is None:
        wordings = [extracted(cluster, config.wordings) for cluster in clusters]
    else:
        wordings, fallbacks = synthesized(clusters, task, instructions, config.wordings, teacher, ledger, lm, on_answer)
    rules = _named(clusters, wordings)
    placed = {rule.example_id for cluster in clusters for rule in cluster.members}
    noise = [rule.example_id for rule in micro_rules if rule.example_id not in placed]
    logger.info("%d micro-rules gave %d rules; %d joined no cluster.", len(micro_rules), len(rules), len(noise))
    return Induction(rules, noise, [rules[index].id for index in fallbacks])


def _groups(micro_rules: Sequence[MicroRule], vectors: Floats, task: Task, config: InduceConfig) -> list[list[int]]:
    """Cluster and merge label by label: a rare label is neither noise beside a frequent one nor merged into it."""
    groups: list[list[int]] = []
    for label in task.labels:
        rows = [row for row, rule in enumerate(micro_rules) if rule.label == label]
        if rows:
            parts = groups_of_label(
                vectors, rows, clusterer=config.clusterer, max_share=config.max_share, attach=config.attach
            )
            groups += merged(vectors, parts, similarity=config.merge)
    return groups


def _cluster(micro_rules: Sequence[MicroRule], vectors: Floats, rows: list[int]) -> Cluster:
    """Order a group's members by nearness to its centre; sound labels come before doubtful ones."""
    centre = vectors[rows].mean(axis=0)
    nearness = vectors[rows] @ centre
    ranked = [rows[i] for i in np.argsort(-nearness, kind="stable")]
    members = sorted((micro_rules[row] for row in ranked), key=lambda rule: rule.doubtful)
    return Cluster(members)


def _named(clusters: Sequence[Cluster], wordings: Sequence[tuple[str, ...]]) -> list[Rule]:
    """Name rules by label and rank, as ``religion-2``: short enough to read in a table of trials."""
    ranks: Counter[str] = Counter()
    rules = []
    for cluster, texts in zip(clusters, wordings, strict=True):
        slug = re.sub(r"\W+", "_", cluster.label).strip("_").lower() or "label"
        ranks[slug] += 1
        rules.append(
            Rule(
                id=f"{slug}-{ranks[slug]}",
                wordings=texts,
                labels=cluster.labels,
                support=tuple(rule.example_id for rule in cluster.members),
            )
        )
    return rules
