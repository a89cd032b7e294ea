"""Groups: clusters of similar micro-rules of one label; where these are unsound, the label is clustered again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.cluster import KMeans

from ..errors import DataError
from ..rules import MicroRule
from ..task.task import Task, cut
from .cluster import Floats, Ints, average_linkage, condense
from .induce_config import InduceConfig

ENOUGH = 100
"""Labels with fewer micro-rules are not checked: a poor clustering costs them a few rules, and the search finds out."""
MOST_SHARE = 0.5
"""A cluster with more than this share of its label swallows the others."""
MOST_NOISE = 0.2
"""A clustering with more than this share of noise is not sound."""
SMALL = 8
"""Clusters of so few micro-rules are not split: a teacher can read them all."""
REASON_CHARACTERS = 240


def one_line(reason: str) -> str:
    """Return a reason in one line of at most ``REASON_CHARACTERS``, cut behind a sentence if one ends within."""
    line = " ".join(reason.split())
    if len(line) <= REASON_CHARACTERS:
        return line
    end = max(line.rfind(f"{mark} ", 0, REASON_CHARACTERS + 1) for mark in ".!?")
    return line[: end + 1] if end > 0 else cut(line, REASON_CHARACTERS)


@dataclass(frozen=True)
class Cluster:
    """Micro-rules with one kind of reasoning, the most typical first, those with a doubtful or suspect label last."""

    members: list[MicroRule]

    @property
    def labels(self) -> tuple[str, ...]:
        """The members' labels, the most frequent first."""
        return tuple(label for label, _ in Counter(rule.label for rule in self.members).most_common())

    @property
    def texts(self) -> tuple[str, ...]:
        """The different texts of the members, the most typical first."""
        return tuple(dict.fromkeys(rule.rule for rule in self.members))

    @property
    def notes(self) -> tuple[str, ...]:
        """The same, each with the rationale that it was drawn from."""
        why = {rule.rule: rule.rationale for rule in reversed(self.members)}
        return tuple(f"{text} (Why: {why[text]})" if why[text] else text for text in self.texts)

    @property
    def reason(self) -> str:
        """Why the most typical member that nobody doubts has its label, in one line."""
        return one_line(next((rule.rationale for rule in self.members if rule.rationale and not rule.doubtful), ""))


@dataclass
class ClusterCheck:
    """Cluster each label; cluster again if the result is unsound."""

    config: InduceConfig
    findings: dict[str, list[str]] = field(default_factory=dict)  # key of ``induce.FINDINGS`` -> labels

    def cluster(self, label: str, vectors: Floats) -> Ints:
        """Return the cluster numbers of a label's n vectors, -1 for noise, by the clusterer if these are sound."""
        points, weights, owners = condense(vectors)
        if len(points) < len(vectors):
            self.note("compacted", f"{label} ({len(vectors)} as {len(points)})")
        numbers = np.asarray(self.config.clusterer(points))
        if numbers.shape != weights.shape:
            raise DataError(
                f"The clusterer gave an array of shape {numbers.shape} for {len(points)} vectors of the label "
                f"{label!r}. It must give one cluster number per vector, -1 for noise."
            )
        if self.config.band is not None and len(vectors) >= ENOUGH:
            band = cluster_band(len(vectors), self.config.band)
            most_share = max(MOST_SHARE, self.config.max_share)
            if problem := clustering_problem(numbers, weights, band=band, most_share=most_share):
                numbers = average_linkage(points, weights, band)
                self.note("regrouped", f"{label} ({problem})")
        return numbers[owners]

    def note(self, finding: str, details: str) -> None:
        """Add a label with details to a finding."""
        self.findings.setdefault(finding, []).append(details)


def clusters_of(
    micro_rules: Sequence[MicroRule],
    vectors: Floats,
    task: Task,
    check: ClusterCheck,
    down_weighted: frozenset[str],
) -> list[Cluster]:
    """Cluster n micro-rules label by label, so that a rare label is not lost in a frequent one; most support first.

    ``vectors`` are n x d, of unit length. The micro-rules of the ``down_weighted`` example ids come last in their
    cluster, and count half.
    """

    def support(cluster: Cluster) -> float:
        return sum(0.5 if rule.example_id in down_weighted else 1.0 for rule in cluster.members)

    clusters = []
    for label in task.labels:
        rows = [row for row, rule in enumerate(micro_rules) if rule.label == label]
        if not rows:
            continue
        groups = groups_of_label(vectors[rows], check.cluster(label, vectors[rows]), check, label=label)
        for group in merge_groups(vectors[rows], groups, similarity=check.config.merge):
            members = [rows[index] for index in group]
            nearness = vectors[members] @ vectors[members].mean(axis=0)
            ranked = [micro_rules[members[i]] for i in np.argsort(-nearness, kind="stable")]
            ranked.sort(key=lambda rule: rule.doubtful or rule.example_id in down_weighted)
            clusters.append(Cluster(ranked))
    return sorted(clusters, key=lambda cluster: (-support(cluster), cluster.members[0].example_id))


def groups_of_label(vectors: Floats, numbers: Ints, check: ClusterCheck, *, label: str) -> list[list[int]]:
    """Turn the numbers of a label's n vectors into groups of indices: big clusters are split, noise joins the nearest.

    There is at least one group, even if all is noise.
    """
    clusters = [np.flatnonzero(numbers == number) for number in sorted(set(numbers.tolist()) - {-1})]
    noise = np.flatnonzero(numbers == -1)
    if not clusters:
        check.note("rescued", f"{label} ({len(noise)})")
        clusters, noise = [noise], noise[:0]
    groups, split = [], 0
    for cluster in clusters:
        parts = _parts(vectors[cluster], len(numbers), check.config.max_share)
        if parts == 1:
            groups.append(cluster.tolist())
            continue
        split = max(split, len(cluster))
        found = KMeans(parts, n_init=4, random_state=0).fit_predict(vectors[cluster])
        groups += [cluster[found == part].tolist() for part in sorted(set(found.tolist()))]
    if split and (numbers >= 0).any():  # what is all noise is reported as such
        check.note("split", f"{label} ({split} of {len(numbers)})")
    centres = _unit(np.array([vectors[group].mean(axis=0) for group in groups]))
    for row in noise.tolist():
        nearness = centres @ vectors[row]
        if nearness.max() >= check.config.attach:
            groups[int(nearness.argmax())].append(row)
    return groups


def merge_groups(vectors: Floats, groups: Sequence[list[int]], *, similarity: float) -> list[list[int]]:
    """Join groups whose centres have at least this cosine similarity: they say the same."""
    result: list[list[int]] = []
    sums = np.zeros((len(groups), vectors.shape[1]))
    for group in groups:
        total = vectors[group].sum(axis=0)
        nearness = _unit(sums[: len(result)]) @ _unit(total)
        nearest = int(nearness.argmax()) if result else 0
        if result and nearness[nearest] >= similarity:
            result[nearest] += group
        else:
            nearest = len(result)
            result.append(list(group))
        sums[nearest] += total
    return result


def cluster_band(n: int, band: tuple[float, float]) -> tuple[int, int]:
    """Return the fewest and the most clusters wanted for ``n`` micro-rules; at least 1."""
    low, high = (max(1, round(multiple * float(np.sqrt(n)))) for multiple in band)
    return low, high


def clustering_problem(numbers: Ints, weights: Ints, *, band: tuple[int, int], most_share: float) -> str | None:
    """Return what is wrong with m cluster numbers (-1: noise) of points that stand for ``weights`` micro-rules each."""
    n = int(weights.sum())
    sizes = np.bincount(numbers[numbers >= 0], weights=weights[numbers >= 0])
    sizes = sizes[sizes > 0]
    if sizes.sum() < (1 - MOST_NOISE) * n:
        return f"{1 - sizes.sum() / n:.0%} noise"
    if sizes.max() > most_share * n:
        return f"one cluster of {sizes.max() / n:.0%}"
    if len(sizes) > band[1]:
        return f"{len(sizes)} fragments"
    return f"{len(sizes)} clusters" if len(sizes) < band[0] else None


def _parts(cluster: Floats, n: int, max_share: float) -> int:
    """Return how many parts to split a cluster of a label's ``n`` micro-rules into; equal vectors stay together."""
    limit = max(int(max_share * n), SMALL)
    if len(cluster) <= limit:
        return 1
    return min(int(np.ceil(len(cluster) / limit)), len(np.unique(cluster.round(6), axis=0)))


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12))
