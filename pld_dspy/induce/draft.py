"""Draft: ask the teacher for the whole list of rules at once, with all clusters in view.

A teacher that words one cluster at a time writes near copies, and nothing about two labels. What a draft leaves out is
worded cluster by cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

from ..ledger.answer import Answer
from ..task.task import Task
from ..teacher.signatures import WORDING_KINDS, WriteRules, WrittenRule
from ..teacher.teacher import Teacher
from .formats import usable_line
from .groups import Cluster, one_line

AT_ONCE = 30
"""Most clusters in one prompt."""
NOTES = 6
NOTE_CHARACTERS = 320


class DraftedRule(NamedTuple):
    """A rule of a draft."""

    covers: list[int]  # numbers of clusters, counted from 0
    wordings: dict[str, str]  # text -> kind
    reason: str


def draft(
    clusters: Sequence[Cluster],
    task: Task,
    count: int,
    teacher: Teacher,
    *,
    draw: int = 0,
    on_answer: Callable[[], object] | None = None,
) -> list[DraftedRule]:
    """Return the teacher's rules, with up to ``count`` wordings each; none where its answer is unusable or lost.

    More than ``AT_ONCE`` clusters are drafted in several prompts, label by label.
    """
    numbers = sorted(range(len(clusters)), key=lambda number: task.labels.index(clusters[number].labels[0]))
    parts = [numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE)]
    inputs = [
        {
            "labels": ", ".join(task.labels),
            "kinds": [_kind(place, clusters[number]) for place, number in enumerate(part, start=1)],
        }
        for part in parts
    ]
    answers = teacher.ask(WriteRules, inputs, stage="induce", texts=_texts, draw=draw, on_answer=on_answer)
    drafted = []
    for part, answer in zip(parts, answers, strict=True):
        for rule in _rules(answer):
            covers = [part[place - 1] for place in dict.fromkeys(rule.kinds) if 0 < place <= len(part)]
            lines = {kind: usable_line(getattr(rule, kind), task.labels) for kind in islice(WORDING_KINDS, count)}
            wordings = {text: kind for kind, text in lines.items() if text}
            drafted.append(DraftedRule(covers, wordings, one_line(usable_line(rule.reason, task.labels))))
    return [rule for rule in drafted if rule.covers and rule.wordings]


def _kind(number: int, cluster: Cluster) -> str:
    notes = "; ".join(note[:NOTE_CHARACTERS] for note in cluster.notes[:NOTES])
    return f"{number}. {cluster.labels[0]}, {len(cluster.members)} examples: {notes}"


def _rules(answer: Answer) -> list[WrittenRule]:
    """Return an answer's rules; the ledger keeps them as plain values."""
    return [WrittenRule.model_validate(one) for one in (answer.outputs or {}).get("rules") or ()]


def _texts(answer: Answer) -> list[str]:
    return [getattr(rule, kind) for rule in _rules(answer) for kind in WORDING_KINDS if getattr(rule, kind)]
