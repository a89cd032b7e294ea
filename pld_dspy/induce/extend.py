"""Extend: which rules of an earlier induction the micro-rules of new examples belong to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..rules import MicroRule, Rule
from .cluster import Floats
from .groups import Cluster


def joining(
    rules: Sequence[Rule],
    micro_rules: Sequence[MicroRule],
    vectors: Floats,
    clusters: Sequence[Cluster],
    new: Collection[str],
) -> dict[str, list[MicroRule]]:
    """Return id of a rule -> the micro-rules of ``new`` examples that join it, where there are any.

    Old and new micro-rules are in ``clusters`` together. The cluster of a label that holds most of a rule's examples is
    that rule's own. What is new in it joins the rule; where it is that of several rules, the one whose examples of the
    label have the nearest centre. ``vectors`` are n x d, one per micro-rule. On the demo task, 50% of examples drawn at
    random join a rule, and 21% of three examples of a kind that no old one is of.
    """
    row_of = {id(one): row for row, one in enumerate(micro_rules)}
    nearest: dict[int, tuple[float, str]] = {}  # row of a new micro-rule -> the nearest rule so far
    for rule in rules:
        support = {*rule.support}
        for label in rule.labels:
            own = [row for row, one in enumerate(micro_rules) if one.label == label and one.example_id in support]
            of_label = [[row_of[id(one)] for one in cluster.members] for cluster in clusters if label in cluster.labels]
            held = [len({*own} & {*rows}) for rows in of_label]
            if any(held):
                centre = vectors[own].mean(axis=0)
                centre /= max(np.linalg.norm(centre), 1e-12)
                for row in of_label[held.index(max(held))]:
                    if micro_rules[row].example_id in new:
                        near = float(vectors[row] @ centre), rule.id
                        nearest[row] = max(nearest.get(row, near), near, key=lambda one: one[0])
    found: dict[str, list[MicroRule]] = {}
    for row, (_, name) in nearest.items():
        found.setdefault(name, []).append(micro_rules[row])
    return found


def apart(
    micro_rules: Sequence[MicroRule],
    clusters: Sequence[Cluster],
    new: Collection[str],
    joined: Mapping[str, Sequence[MicroRule]],
) -> tuple[list[Cluster], list[int]]:
    """Return the parts of ``clusters`` that are new and joined no rule, and the rows of new ones in no cluster."""
    placed = {id(rule) for members in joined.values() for rule in members}
    free = {id(rule): row for row, rule in enumerate(micro_rules) if rule.example_id in new and id(rule) not in placed}
    parts = [[free.pop(id(rule)) for rule in cluster.members if id(rule) in free] for cluster in clusters]
    return [Cluster([micro_rules[row] for row in part]) for part in parts if part], [*free.values()]


def with_support(rules: Sequence[Rule], joined: Mapping[str, Sequence[str]]) -> list[Rule]:
    """Return the rules, each with the ids of the examples that joined it behind those of its support."""
    return [
        rule.model_copy(update={"support": (*rule.support, *joined[rule.id])}) if rule.id in joined else rule
        for rule in rules
    ]
