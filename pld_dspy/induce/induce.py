"""Induce: embed the micro-rules, cluster them label by label, generalize each cluster into one rule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..audit import Suspect, suspects
from ..errors import DataError
from ..local.embedding import Embedder
from ..rules import MicroRule, Rule
from ..task.task import Task, input_text
from ..teacher.teacher import Teacher
from .assemble import clusters_of, named
from .cluster import Clusterer
from .config import UNSAID, InduceConfig, SuspectPolicy
from .diagnosis import one_line
from .doctor import Doctor
from .formats import without_format
from .generalize import Cluster, Synthesis, extracted, synthesized
from .wordings import worded

__all__ = ["UNSAID", "Clusterer", "Embedder", "InduceConfig", "Induction", "SuspectPolicy", "induce"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Induction:
    """The rules, in PLD order (most support first), and what happened on the way.

    Attributes:
        rules: one a cluster, wording 0 in use.
        noise: ids of examples whose micro-rule joined no cluster.
        fallbacks: rules whose teacher synthesis failed, in every draw, and that use their micro-rules instead.
        about_format: ids of examples whose micro-rule was about the answer's format, and was dropped.
        suspects: examples whose label is doubted, the most doubtful first, whatever the policy made of them; empty
            where nobody asked.
        dropped: ids of examples of whose doubted micro-rules none was used.
        counts: what happened, in numbers: of micro-rules (``micro_rules`` given, ``about_format``, ``noise``,
            ``suspects_dropped``, ``suspects_down_weighted``), of rules (``rules``, ``in_parts``), of the micro-rules
            behind the ``largest`` rule, and of labels (``labels_without_rule``, ``labels_split`` and the like).
        diagnosis: the same in one line.
    """

    rules: list[Rule]
    noise: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    about_format: list[str] = field(default_factory=list)
    suspects: list[Suspect] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    diagnosis: str = ""


def induce(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    reads: Mapping[str, Mapping[str, Any]] | None = None,
    config: InduceConfig | None = None,
    teacher: Teacher | None = None,
    on_answer: Callable[[], object] | None = None,
    doubted: Sequence[Suspect] | None = None,
) -> Induction:
    """Generalize micro-rules into rules.

    Args:
        micro_rules: n micro-rules; equal texts count once in a rule's wordings, and always in its support. Those
            about the answer's format are dropped.
        task: the labelled decision; every label that has another micro-rule keeps at least one rule.
        reads: example id -> what the student reads of it, by field, where that is not what its micro-rule holds.
        config: embedder, clusterer, sizes.
        teacher: writes the wordings. None: the micro-rules nearest a cluster's centre and its cue words are its
            wordings.
        on_answer: called once per answer of the teacher.
        doubted: what ``config.suspects`` is applied to; where None, what the audit of the data finds.

    Raises:
        DataError: there is no micro-rule, or none that is about the decision.
    """
    config = config or InduceConfig()
    decisive, about_format = _decisive(micro_rules, task)
    if doubted is None:
        texts = {name: input_text(dict(read)) for name, read in (reads or {}).items()}
        doubted = suspects(decisive, task, texts=texts)
    usable, lesser = _under_policy(decisive, doubted, config.suspects)
    doctor = Doctor(config.band, config.max_share)
    clusters = clusters_of(usable, task, config, doctor, lesser)
    draws = _draws(clusters, task, config, teacher, on_answer)
    rules = named(clusters, worded(clusters, draws, task, config, reads or {}))
    placed = {id(rule) for cluster in clusters for rule in cluster.members}  # an example has one for each label
    noise = [rule.example_id for rule in usable if id(rule) not in placed]
    without_rule = sorted(set(task.labels) - {label for rule in rules for label in rule.labels})
    counts = {
        "micro_rules": len(micro_rules),
        "about_format": len(about_format),
        "suspects_dropped": len(decisive) - len(usable),
        "suspects_down_weighted": len(lesser),
        "noise": len(noise),
        **_rule_counts(rules, draws[0], without_rule, doctor),
    }
    diagnosis = one_line(counts, doctor.findings, without_rule)
    logger.info("%s", diagnosis)
    unusable = set.intersection(*(set(draw.fallbacks) for draw in draws))
    fallbacks = [rules[index].id for index in sorted(unusable)]
    used = {rule.example_id for rule in usable}
    dropped = list(dict.fromkeys(rule.example_id for rule in decisive if rule.example_id not in used))
    return Induction(rules, noise, fallbacks, about_format, list(doubted), dropped, counts, diagnosis)


def _draws(
    clusters: Sequence[Cluster],
    task: Task,
    config: InduceConfig,
    teacher: Teacher | None,
    on_answer: Callable[[], object] | None,
) -> list[Synthesis]:
    """Have all clusters worded, by the teacher as often as wanted; by their micro-rules where there is none."""
    if teacher is None:
        return [Synthesis([extracted(cluster, config.wordings) for cluster in clusters])]
    count = max(config.wordings - 2, 1) if config.cues else config.wordings
    return [synthesized(clusters, task, count, teacher, on_answer, draw=number) for number in range(config.draws)]


def _rule_counts(
    rules: Sequence[Rule], synthesis: Synthesis, without_rule: Sequence[str], doctor: Doctor
) -> dict[str, int]:
    return {
        "rules": len(rules),
        "largest": max(len(rule.support) for rule in rules),
        "in_parts": synthesis.in_parts,
        "labels_without_rule": len(without_rule),
        **{f"labels_{what}": len(labels) for what, labels in doctor.findings.items()},
    }


def _decisive(micro_rules: Sequence[MicroRule], task: Task) -> tuple[list[MicroRule], list[str]]:
    """Drop the micro-rules that are about the answer's format; return the others, and the dropped ones' ids."""
    if not micro_rules:
        raise DataError("There is no micro-rule to induce rules from. Give rationales or a teacher.")
    decisive, about_format = without_format(micro_rules, task.labels)
    if not decisive:
        raise DataError(
            f"All {len(micro_rules)} micro-rules are about the answer's format, the first: {micro_rules[0].rule!r}. "
            "Give some that name a sign and a label."
        )
    return decisive, about_format


def _under_policy(
    micro_rules: list[MicroRule], doubted: Sequence[Suspect], policy: SuspectPolicy
) -> tuple[list[MicroRule], frozenset[str]]:
    """Return the micro-rules to use, and the example ids of those that count less; no label is dropped whole."""
    ids = frozenset(suspect.example_id for suspect in doubted)
    ids &= {rule.example_id for rule in micro_rules}
    if policy == "down-weight":
        return micro_rules, ids
    if policy == "keep":
        return micro_rules, frozenset()
    pairs = {(suspect.example_id, suspect.label) for suspect in doubted}  # an example may have several labels
    sound = {rule.label for rule in micro_rules if (rule.example_id, rule.label) not in pairs}
    return [
        rule for rule in micro_rules if (rule.example_id, rule.label) not in pairs or rule.label not in sound
    ], frozenset()
