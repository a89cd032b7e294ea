"""Generalize: one cluster of micro-rules to the wordings of one rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..ledger.answer import Answer
from ..rules import MICRO_RULE, MicroRule, draw_origin
from ..task.task import CHARACTERS_PER_TOKEN, Task
from ..teacher.signatures import GeneralizeRules, is_unfilled
from ..teacher.teacher import Teacher
from .formats import about_format
from .shards import shards

NOTES = 12
"""Micro-rules that one prompt shows the teacher. A cluster with more is generalized in parts, and then the parts:
a sample of the most typical ones would lose the exceptions."""
NOTE_TOKENS = 2000
"""Tokens that they may take together, so that no prompt outgrows the context of a small teacher."""


@dataclass(frozen=True)
class Cluster:
    """Micro-rules of one kind of reasoning, the most typical first.

    Attributes:
        members: the micro-rules, those that are doubtful or suspect last.
        lesser: example ids whose support counts half.
    """

    members: list[MicroRule]
    lesser: frozenset[str] = frozenset()

    @property
    def labels(self) -> tuple[str, ...]:
        """The members' labels, the most frequent first."""
        return tuple(label for label, _ in Counter(rule.label for rule in self.members).most_common())

    @property
    def label(self) -> str:
        """The most frequent label."""
        return self.labels[0]

    @property
    def weight(self) -> float:
        """The support: one a member, half a lesser one."""
        return sum(0.5 if rule.example_id in self.lesser else 1.0 for rule in self.members)


@dataclass(frozen=True)
class Synthesis:
    """What was made of clusters, by a teacher or without one.

    Attributes:
        wordings: those of each cluster's rule.
        fallbacks: indices of the clusters whose answer was unusable, or not asked for since a cap was reached:
            those fall back on their micro-rules, since a label must not lose its rule to that.
        in_parts: how many clusters had too many notes for one prompt.
        origin: where the wordings came from, fallbacks aside.
    """

    wordings: list[tuple[str, ...]]
    fallbacks: list[int] = field(default_factory=list)
    in_parts: int = 0
    origin: str = MICRO_RULE


def extracted(cluster: Cluster, count: int | None) -> tuple[str, ...]:
    """Return the ``count`` different micro-rules nearest the centre, or all: extractive, and free."""
    return tuple(dict.fromkeys(rule.rule for rule in cluster.members))[:count]


def synthesized(
    clusters: Sequence[Cluster],
    task: Task,
    count: int,
    teacher: Teacher,
    on_answer: Callable[[], object] | None,
    *,
    draw: int = 0,
) -> Synthesis:
    """Ask the teacher for ``count`` wordings a cluster; where its notes outgrow a prompt, for one of each part first.

    Args:
        clusters: what to generalize.
        task: the labelled decision.
        count: wordings per rule.
        teacher: writes the wordings.
        on_answer: called once per answer.
        draw: how often it has been asked for them before.
    """

    def ask(wanted: Sequence[tuple[int, list[str]]], count: int) -> list[tuple[str, ...]]:
        inputs = [_inputs(clusters[index], notes, task, count) for index, notes in wanted]
        answers = teacher.ask(GeneralizeRules, inputs, stage="induce", texts=_wordings, draw=draw, on_answer=on_answer)
        return [_usable(answer, count, task.labels) for answer in answers]

    parts = {index: _parts(extracted(cluster, None)) for index, cluster in enumerate(clusters)}
    parted: set[int] = set()
    while long := {index for index, found in parts.items() if len(found) > 1}:
        parted |= long
        asked = [(index, part) for index in sorted(long) for part in parts[index]]
        told: dict[int, list[str]] = {index: [] for index in long}
        for (index, part), texts in zip(asked, ask(asked, 1), strict=True):
            told[index].append(texts[0] if texts else part[0])
        parts |= {index: _parts(said) for index, said in told.items()}
    found = ask([(index, part) for index, (part,) in parts.items()], count)
    return Synthesis(
        wordings=[texts or extracted(cluster, count) for texts, cluster in zip(found, clusters, strict=True)],
        fallbacks=[index for index, texts in enumerate(found) if not texts],
        in_parts=len(parted),
        origin=draw_origin(draw),
    )


def _parts(notes: Sequence[str]) -> list[list[str]]:
    return shards(notes, most=NOTES, characters=NOTE_TOKENS * CHARACTERS_PER_TOKEN)


def _inputs(cluster: Cluster, notes: list[str], task: Task, count: int) -> dict[str, Any]:
    return {
        "labels": ", ".join(task.labels),
        "notes": notes,
        "label": cluster.label,
        "count": count,
    }


def _wordings(answer: Answer) -> list[str]:
    return list((answer.outputs or {}).get("wordings") or [])


def _usable(answer: Answer, count: int, labels: Sequence[str]) -> tuple[str, ...]:
    filled = (" ".join(text.split()) for text in _wordings(answer) if not is_unfilled(text))
    return tuple(text for text in dict.fromkeys(filled) if text and not about_format(text, labels))[:count]
