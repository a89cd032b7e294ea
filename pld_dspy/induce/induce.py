"""Induce: micro-rules are clustered label by label, and each cluster becomes one rule."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors import DataError
from ..rules import MicroRule, Rule, label_slug
from ..task.task import Task
from ..teacher.teacher import Teacher
from .check import ClusterCheck
from .formats import about_format
from .generalize import generalize, note_parts
from .groups import Cluster, clusters_of
from .induce_config import InduceConfig, SuspectPolicy
from .induction import Induction, diagnosis
from .wordings import rule_wordings

logger = logging.getLogger(__name__)


def induce(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    doubted: Collection[tuple[str, str]] = (),
    reads: Mapping[str, Mapping[str, Any]] | None = None,
    config: InduceConfig | None = None,
    teacher: Teacher | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Induction:
    """Generalize micro-rules into rules.

    Args:
        micro_rules: n micro-rules. Equal texts count once among a rule's wordings, and always in its support. Those
            about the answer's format are dropped.
        task: the labelled decision; every label that has another micro-rule keeps at least one rule.
        doubted: example id and label of each label in doubt, to which ``config.suspects`` is applied.
        reads: example id -> what the student reads of it, by field, where that is not what its micro-rule holds.
        config: how to cluster, and how many wordings.
        teacher: writes the wordings. None: the micro-rules nearest a cluster's centre, and its cue words.
        on_answer: called once per answer of the teacher.

    Raises:
        DataError: there is no micro-rule, or none that is about the decision.
    """
    config = config or InduceConfig()
    decisive, format_ids = _about_decision(micro_rules, task)
    usable, down_weighted = _apply_policy(decisive, doubted, config.suspects)
    check = ClusterCheck(config)
    clusters = clusters_of(usable, task, check, down_weighted)
    draws = [
        generalize(clusters, task, config.teacher_wordings, teacher, draw=number, on_answer=on_answer)
        for number in range(config.draws)
        if teacher is not None
    ]
    rules = _rules(clusters, rule_wordings(clusters, draws, task, config, reads or {}))
    placed = {id(rule) for cluster in clusters for rule in cluster.members}  # an example has one per label
    noise = [rule.example_id for rule in usable if id(rule) not in placed]
    without_rule = sorted(set(task.labels) - {label for rule in rules for label in rule.labels})
    counts = {
        "micro_rules": len(micro_rules),
        "about_format": len(format_ids),
        "suspects_dropped": len(decisive) - len(usable),
        "suspects_down_weighted": len(down_weighted),
        "noise": len(noise),
        "in_parts": sum(len(note_parts(cluster.texts)) > 1 for cluster in clusters) if teacher else 0,
        "rules": len(rules),
        "largest": max(len(rule.support) for rule in rules),
        "labels_without_rule": len(without_rule),
    }
    used = {rule.example_id for rule in usable}
    return Induction(
        rules=rules,
        noise=noise,
        fallbacks=[rule.id for i, rule in enumerate(rules) if draws and not any(draw[i] for draw in draws)],
        about_format=format_ids,
        dropped=list(dict.fromkeys(rule.example_id for rule in decisive if rule.example_id not in used)),
        counts=counts,
        diagnosis=_logged(diagnosis(counts, check.findings, without_rule)),
    )


def _logged(line: str) -> str:
    logger.info("%s", line)
    return line


def _about_decision(micro_rules: Sequence[MicroRule], task: Task) -> tuple[list[MicroRule], list[str]]:
    """Return the micro-rules about the decision, and the example ids of those about the answer's format."""
    if not micro_rules:
        raise DataError("There is no micro-rule to induce rules from. Give rationales or a teacher.")
    formats = [about_format(rule.rule, task.labels) for rule in micro_rules]
    if all(formats):
        raise DataError(
            f"All {len(micro_rules)} micro-rules are about the answer's format, the first: {micro_rules[0].rule!r}. "
            "Give some that name a sign and a label."
        )
    return (
        [rule for rule, format_only in zip(micro_rules, formats, strict=True) if not format_only],
        [rule.example_id for rule, format_only in zip(micro_rules, formats, strict=True) if format_only],
    )


def _apply_policy(
    micro_rules: list[MicroRule], doubted: Collection[tuple[str, str]], policy: SuspectPolicy
) -> tuple[list[MicroRule], frozenset[str]]:
    """Return the micro-rules to use, and the example ids of those that count half; no label is dropped whole."""
    if policy == "keep":
        return micro_rules, frozenset()
    if policy == "down-weight":
        return micro_rules, frozenset(name for name, _ in doubted) & {rule.example_id for rule in micro_rules}
    pairs = set(doubted)  # of example and label: an example may have several labels
    sound = {rule.label for rule in micro_rules if (rule.example_id, rule.label) not in pairs}
    return [
        rule for rule in micro_rules if (rule.example_id, rule.label) not in pairs or rule.label not in sound
    ], frozenset()


def _rules(clusters: Sequence[Cluster], wordings: Sequence[Mapping[str, str]]) -> list[Rule]:
    """Return one rule per cluster; ids are label and rank, as ``religion-2``, short enough for a table of trials."""
    ranks: Counter[str] = Counter()
    rules = []
    for cluster, origins in zip(clusters, wordings, strict=True):
        slug = label_slug(cluster.labels[0])
        ranks[slug] += 1
        rules.append(
            Rule(
                id=f"{slug}-{ranks[slug]}",
                wordings=tuple(origins),
                origins=tuple(origins.values()),
                labels=cluster.labels,
                support=tuple(rule.example_id for rule in cluster.members),
            )
        )
    return rules
