"""Induce: micro-rules are clustered label by label, and clusters become rules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

from ..errors import DataError
from ..local.embedding import Embedder, embed, tfidf_svd
from ..rules import TEACHER, MicroRule, Rule, label_slug, teacher_origin
from ..task.task import Task
from ..teacher.teacher import Teacher
from .cluster import Floats
from .draft import behind, draft
from .extend import apart, joining
from .formats import about_format
from .generalize import generalize, note_parts
from .groups import Cluster, ClusterCheck, clusters_of
from .induce_config import InduceConfig, SuspectPolicy
from .whole_task import brief_of, nearest_notes
from .wordings import rule_wordings

logger = logging.getLogger(__name__)

LISTED = 3
"""Most labels listed per finding; the others are counted."""

LOSSES = {
    "about_format": "about the answer's format dropped",
    "suspects_dropped": "with a suspect label dropped",
    "suspects_down_weighted": "with a suspect label put last",
    "noise": "joined no rule",
    "joined": "joined a rule of the run",
}
"""Counts of micro-rules -> how the diagnosis says it."""

FINDINGS = {
    "rescued": "all noise, yet kept as rules:",
    "regrouped": "clustered again:",
    "split": "too big a cluster, split:",
    "compacted": "clustered by neighbourhoods:",
}
"""Findings of ``ClusterCheck`` -> how the diagnosis says it."""


@dataclass(frozen=True)
class Induction:
    """One rule per cluster, those with the most support first, and what was left out."""

    rules: list[Rule]
    noise: list[str]  # ids of the examples whose micro-rule joined no cluster
    fallbacks: list[str]  # ids of rules for which no draw of the teacher was usable: their micro-rules stand in
    dropped: list[str]  # ids of the examples of whose micro-rules none was used, since their labels are doubted
    brief: str | None  # what a teacher read first; None without a teacher
    counts: dict[str, int]  # of micro-rules, of rules and of labels, by the names that ``diagnosis`` reads
    diagnosis: str  # the same in one line
    joined: dict[str, list[str]] = field(default_factory=dict)  # id of an earlier rule -> new examples behind it
    extracted: list[Rule] = field(default_factory=list)  # to compete with a teacher's: one per cluster


def induce(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    doubted: Collection[tuple[str, str]] = (),
    reads: Mapping[str, Mapping[str, Any]] | None = None,
    confusions: Mapping[tuple[str, str], int] | None = None,
    config: InduceConfig | None = None,
    embedder: Embedder = tfidf_svd,
    teacher: Teacher | None = None,
    on_answer: Callable[[], object] | None = None,
    earlier: Sequence[Rule] = (),
    new: Collection[str] = (),
) -> Induction:
    """Generalize micro-rules into rules.

    Args:
        micro_rules: n micro-rules. Equal texts count once among a rule's wordings, and always in its support. Those
            about the answer's format are dropped.
        task: the labelled decision; every label that has another micro-rule keeps at least one rule.
        doubted: example id and label of each label in doubt, to which ``config.suspects`` is applied.
        reads: example id -> what the student reads of it, by field, where that is not what its micro-rule holds.
        confusions: gold label and the unchanged student's wrong answer -> how often, for the teacher to know.
        config: how to cluster, and how many wordings.
        embedder: micro-rules -> vectors to cluster.
        teacher: writes the wordings. None: the micro-rules nearest a cluster's centre, and its cue words alone.
        on_answer: called once per answer of the teacher.
        earlier: rules of an earlier induction. All micro-rules are clustered together, and the new ones that are near
            to those of an earlier rule join it; only the others are generalized.
        new: ids of the examples that are new since then.
    """
    config = config or InduceConfig()
    decisive = _about_decision(micro_rules, task)
    usable, down_weighted = _apply_policy(decisive, doubted, config.suspects)
    check = ClusterCheck(config)
    vectors = embed([rule.rule for rule in usable], embedder)
    grouped = partial(clusters_of, task=task, check=check, down_weighted=down_weighted)
    whole, clusters, joined = _apart(usable, vectors, grouped, earlier, new)
    if teacher is not None:
        teacher = replace(teacher, task=brief_of(whole, task, teacher.task, reads or {}, confusions or {}))
    near = partial(nearest_notes, micro_rules=usable, vectors=vectors)
    clusters, written, reasons, single = _written(clusters, task, config, teacher, embedder, near, on_answer)
    wordings = _worded(clusters, written, whole if earlier else [], task, config, reads or {})
    rules = _rules(clusters, wordings, reasons, task, taken={rule.id for rule in earlier})
    noise = _noise(usable, [*whole, *clusters])
    without_rule = sorted(set(task.labels) - {label for rule in (*earlier, *rules) for label in rule.labels})
    counts = _sizes(micro_rules, decisive, usable, rules, single) | _places(micro_rules, new, joined, noise)
    counts |= {"suspects_down_weighted": len(down_weighted), "labels_without_rule": len(without_rule)}
    logger.info("%s", said := diagnosis(counts, check.findings, without_rule))
    return Induction(
        rules=rules,
        noise=noise,
        fallbacks=[rule.id for rule, texts in zip(rules, written, strict=True) if teacher is not None and not texts],
        dropped=_unused(decisive, usable),
        brief=None if teacher is None else teacher.task,
        counts=counts,
        diagnosis=said,
        joined={name: list(dict.fromkeys(one.example_id for one in members)) for name, members in joined.items()},
        extracted=[] if teacher is None or earlier else _extracted(whole, rules, task, config, reads or {}),
    )


def _apart(
    usable: Sequence[MicroRule],
    vectors: Floats,
    grouped: Callable[[Sequence[MicroRule], Floats], list[Cluster]],
    earlier: Sequence[Rule],
    new: Collection[str],
) -> tuple[list[Cluster], list[Cluster], dict[str, list[MicroRule]]]:
    """Return all clusters, those to generalize, and id of an ``earlier`` rule -> what is ``new`` and joins it."""
    whole = grouped(usable, vectors)
    if not earlier:
        return whole, whole, {}
    joined = joining(earlier, usable, vectors, whole, new)
    parts, rows = apart(usable, whole, new, joined)
    return whole, [*parts, *grouped([usable[row] for row in rows], vectors[rows])], joined


def _sizes(
    micro_rules: Sequence[MicroRule],
    decisive: Sequence[MicroRule],
    usable: Sequence[MicroRule],
    rules: Sequence[Rule],
    single: Sequence[Cluster],
) -> dict[str, int]:
    """Return how many micro-rules there were, how many were dropped and why, and how many rules came of the others.

    ``single`` are the clusters that were worded by themselves; of these, how many in parts.
    """
    return {
        "micro_rules": len(micro_rules),
        "about_format": len(micro_rules) - len(decisive),
        "suspects_dropped": len(decisive) - len(usable),
        "rules": len(rules),
        "largest": max((len(rule.support) for rule in rules), default=0),
        "in_parts": sum(len(note_parts(cluster.notes)) > 1 for cluster in single),
    }


def _places(
    micro_rules: Sequence[MicroRule], new: Collection[str], joined: Mapping[str, Sequence[MicroRule]], noise: list[str]
) -> dict[str, int]:
    """Return how many micro-rules are of ``new`` examples, joined an earlier rule, or (of the new, if any) no rule."""
    return {
        "new": sum(one.example_id in new for one in micro_rules),
        "joined": sum(map(len, joined.values())),
        "noise": sum(not new or name in new for name in noise),
    }


def _written(
    clusters: list[Cluster],
    task: Task,
    config: InduceConfig,
    teacher: Teacher | None,
    embedder: Embedder,
    near: Callable[[list[Cluster]], list[list[str]]],
    on_answer: Callable[[], object] | None,
) -> tuple[list[Cluster], list[dict[str, str]], list[str], list[Cluster]]:
    """Return what each rule covers, its wordings by the teacher, text -> origin, and its reason: first those of drafts.

    A cluster is worded by itself if no rule of a draft is about its label and covers it; these are returned last.
    """
    if teacher is None:
        return clusters, [{} for _ in clusters], [cluster.reason for cluster in clusters], []
    count, covered = config.teacher_wordings, set[int]()
    rules: list[tuple[Cluster, dict[str, str], str]] = []
    for draw in range(config.drafts):
        drafted = draft(clusters, task, count, teacher, draw=draw, on_answer=on_answer)
        for (covers, wordings, reason), members in zip(drafted, behind(drafted, clusters, embedder), strict=True):
            cluster = Cluster(members)
            named = {text: teacher_origin(kind, draw) for text, kind in wordings.items()}
            rules.append((cluster, named, reason or cluster.reason))
            if len(cluster.labels) == 1:
                covered.update(covers)
    single = [cluster for number, cluster in enumerate(clusters) if number not in covered]
    worded = generalize(single, task, count, teacher, near=near(single), on_answer=on_answer)
    for cluster, texts in zip(single, worded, strict=True):
        rules.append((cluster, {text: teacher_origin(kind) for text, kind in texts.items()}, cluster.reason))
    return [one for one, _, _ in rules], [texts for _, texts, _ in rules], [reason for _, _, reason in rules], single


def _worded(
    clusters: Sequence[Cluster],
    written: Sequence[Mapping[str, str]],
    beside: Sequence[Cluster],
    task: Task,
    config: InduceConfig,
    reads: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, str]]:
    """Return each rule's wordings, text -> origin; words that all labels have in clusters ``beside`` it are no cues."""
    found = rule_wordings([*clusters, *beside], [*written, *({} for _ in beside)], task, config, reads)
    return found[: len(clusters)]


def _extracted(
    clusters: Sequence[Cluster],
    beside: Sequence[Rule],
    task: Task,
    config: InduceConfig,
    reads: Mapping[str, Mapping[str, Any]],
) -> list[Rule]:
    """Return one rule per cluster, worded without a teacher, but for those that stand in for the teacher's already."""
    wordings = rule_wordings(clusters, [{} for _ in clusters], task, config, reads)
    rules = _rules(clusters, wordings, [one.reason for one in clusters], task, taken={rule.id for rule in beside})
    known = {rule.wordings for rule in beside}
    return [rule for rule in rules if rule.wordings not in known]


def _noise(micro_rules: Sequence[MicroRule], clusters: Sequence[Cluster]) -> list[str]:
    """Return the example ids of micro-rules that are in no cluster; an example has a micro-rule per label."""
    placed = {id(rule) for cluster in clusters for rule in cluster.members}
    return [rule.example_id for rule in micro_rules if id(rule) not in placed]


def _unused(micro_rules: Sequence[MicroRule], usable: Sequence[MicroRule]) -> list[str]:
    """Return the ids of the examples of whose micro-rules none is usable."""
    used = {rule.example_id for rule in usable}
    return [name for name in dict.fromkeys(rule.example_id for rule in micro_rules) if name not in used]


def _about_decision(micro_rules: Sequence[MicroRule], task: Task) -> list[MicroRule]:
    """Return the micro-rules that are not about the answer's format."""
    if not micro_rules:
        raise DataError("There is no micro-rule to induce rules from. Give rationales or a teacher.")
    decisive = [rule for rule in micro_rules if not about_format(rule.rule, task.labels)]
    if not decisive:
        raise DataError(
            f"All {len(micro_rules)} micro-rules are about the answer's format, the first: {micro_rules[0].rule!r}. "
            "Give some that name a sign and a label."
        )
    return decisive


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


def _rules(
    clusters: Sequence[Cluster],
    wordings: Sequence[Mapping[str, str]],
    reasons: Sequence[str],
    task: Task,
    taken: Collection[str] = (),
) -> list[Rule]:
    """Return one rule per cluster; ids are label and rank, as ``religion-2``, short enough for a table of trials.

    The first label of a rule is the one that it says to answer; a teacher's may be one that its examples do not have.
    """
    rules: list[Rule] = []
    used = {*taken}
    for cluster, origins, reason in zip(clusters, wordings, reasons, strict=True):
        said = task.labels_named(next(iter(origins)))[:1]
        if not next(iter(origins.values())).startswith(TEACHER):
            said = [label for label in said if label in cluster.labels]
        labels = tuple(dict.fromkeys((*said, *cluster.labels)))
        slug = label_slug(labels[0])
        used.add(name := next(name for rank in count(1) if (name := f"{slug}-{rank}") not in used))
        rules.append(
            Rule(
                id=name,
                wordings=tuple(origins),
                origins=tuple(origins.values()),
                labels=labels,
                support=tuple(rule.example_id for rule in cluster.members),
                reason=reason,
            )
        )
    return rules


def diagnosis(counts: Mapping[str, int], findings: Mapping[str, Sequence[str]], without_rule: Sequence[str]) -> str:
    """Return the counts, the findings of ``ClusterCheck`` and the labels without a rule as one line."""
    said = [f"{counts[name]} {text}" for name, text in LOSSES.items() if counts[name]]
    said += [f"{text} {_listed(findings[name])}" for name, text in FINDINGS.items() if name in findings]
    if counts["in_parts"]:
        said.append(f"{counts['in_parts']} rules generalized in parts")
    if without_rule:
        said.append(f"no rule for {_listed(without_rule)}")
    old = counts["micro_rules"] - counts["new"]
    beside = f"{counts['new']} new micro-rules, clustered with the {old} of the run, gave {counts['rules']} new rules"
    given = beside if counts["new"] else f"{old} micro-rules gave {counts['rules']} rules"
    size = f"{given}, the largest from {counts['largest']}"
    return f"{size}; {'; '.join(said) or 'no problem found'}."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
