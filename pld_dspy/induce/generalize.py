"""Generalize: one cluster of micro-rules to the wordings of one rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dspy

from ..ledger import Ledger
from ..rules import MicroRule
from ..signatures import GeneralizeRules
from ..task import Task

NOTES = 12
"""Micro-rules shown to the teacher a cluster: the most typical ones, so that no prompt outgrows its context."""


@dataclass(frozen=True)
class Cluster:
    """Micro-rules of one kind of reasoning, the most typical first."""

    members: list[MicroRule]

    @property
    def labels(self) -> tuple[str, ...]:
        """The members' labels, the most frequent first."""
        return tuple(label for label, _ in Counter(rule.label for rule in self.members).most_common())

    @property
    def label(self) -> str:
        """The most frequent label."""
        return self.labels[0]


class Generalizer(dspy.Module):
    """The teacher program: notes of one cluster in, wordings of one rule out."""

    def __init__(self) -> None:
        super().__init__()
        self.generalize = dspy.Predict(GeneralizeRules)

    def forward(self, task: str, labels: str, notes: list[str], label: str, count: int) -> dspy.Prediction:
        """Return a prediction with ``wordings``."""
        return self.generalize(task=task, labels=labels, notes=notes, label=label, count=count)


def extracted(cluster: Cluster, count: int) -> tuple[str, ...]:
    """Return the ``count`` different micro-rules nearest the centre: extractive, and free."""
    return tuple(dict.fromkeys(rule.rule for rule in cluster.members))[:count]


def synthesized(
    clusters: Sequence[Cluster],
    task: Task,
    instructions: str,
    count: int,
    teacher: dspy.Module,
    ledger: Ledger,
    lm: dspy.BaseLM | None,
    on_answer: Callable[[], object] | None,
) -> tuple[list[tuple[str, ...]], list[int]]:
    """Ask the teacher for ``count`` wordings a cluster.

    Returns:
        The wordings of each cluster, and the indices of the clusters whose answer was unusable, or not asked for
        since a cap was reached: those fall back on their micro-rules, since a label must not lose its rule to that.
    """
    inputs = [
        {
            "task": instructions,
            "labels": ", ".join(task.labels),
            "notes": list(extracted(cluster, NOTES)),
            "label": cluster.label,
            "count": count,
        }
        for cluster in clusters
    ]
    answers = ledger.ask(teacher, inputs, role="teacher", stage="induce", lm=lm, on_answer=on_answer, to_the_cap=True)
    wordings, fallbacks = [], []
    for index, (cluster, answer) in enumerate(zip(clusters, answers, strict=True)):
        texts = (answer.outputs or {}).get("wordings") or []
        usable = tuple(dict.fromkeys(" ".join(text.split()) for text in texts if text.strip()))[:count]
        if not usable:
            fallbacks.append(index)
        wordings.append(usable or extracted(cluster, count))
    return wordings, fallbacks
