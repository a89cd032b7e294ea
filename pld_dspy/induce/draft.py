"""Draft: ask the teacher for the whole list of rules at once, with all clusters in view.

A teacher that words one cluster at a time writes near copies, and nothing about two labels. What a draft leaves out is
worded cluster by cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from ..ledger.answer import Answer
from ..local.embedding import Embedder, embed
from ..rules import MicroRule
from ..task.task import Task, cut
from ..teacher.brief import NOTE_CHARACTERS
from ..teacher.signatures import WORDING_KINDS, WriteRules, WrittenRule
from ..teacher.teacher import Teacher
from .formats import usable_line
from .groups import Cluster, one_line

AT_ONCE = 30
"""Most clusters in one prompt."""
NOTES = 6
LATER_CHARACTERS = 160
"""Of a note that another prompt shows in full."""


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

    More than ``AT_ONCE`` clusters are drafted in several prompts of like size, label by label; each shows the clusters
    of the later ones in a line, for the pairs of labels.
    """
    numbers = sorted(range(len(clusters)), key=lambda number: task.labels.index(clusters[number].labels[0]))
    many = -(-len(numbers) // AT_ONCE)
    ends = [len(numbers) * part // max(many, 1) for part in range(many + 1)]
    inputs = [
        {
            "labels": ", ".join(task.labels),
            "kinds": [
                _kind(place, clusters[number], later=place > end)
                for place, number in enumerate(numbers[start:], start=start + 1)
            ],
        }
        for start, end in pairwise(ends)
    ]
    answers = teacher.ask(WriteRules, inputs, stage="induce", texts=_texts, draw=draw, on_answer=on_answer)
    drafted = []
    for (start, end), answer in zip(pairwise(ends), answers, strict=True):
        for rule in _rules(answer):
            places = [place for place in dict.fromkeys(rule.kinds) if start < place <= len(numbers)]
            covers = [numbers[place - 1] for place in places] if any(place <= end for place in places) else []
            lines = {kind: usable_line(getattr(rule, kind), task.labels) for kind in islice(WORDING_KINDS, count)}
            wordings = {text: kind for kind, text in lines.items() if text}
            drafted.append(DraftedRule(covers, wordings, one_line(usable_line(rule.reason, task.labels))))
    return [rule for rule in drafted if rule.covers and rule.wordings]


def behind(drafted: Sequence[DraftedRule], clusters: Sequence[Cluster], embedder: Embedder) -> list[list[MicroRule]]:
    """Return the micro-rules behind each rule of a draft: those of the clusters that it covers.

    A cluster may mix several reasons. Where several rules about its label cover it, each of its micro-rules is behind
    the nearest of them, and a rule that is the nearest to none has the one that is nearest to it. Rules about several
    labels have all.
    """
    covered = [[(number, note) for number in rule.covers for note in clusters[number].members] for rule in drafted]
    rivals: dict[int, list[int]] = {}  # cluster -> rules that are about its label alone
    for place, rule in enumerate(drafted):
        if len({clusters[number].labels for number in rule.covers}) == 1:
            for number in rule.covers:
                rivals.setdefault(number, []).append(place)
    if all(len(among) == 1 for among in rivals.values()):  # nothing is shared, so there is nothing to compare
        return [[note for _, note in own] for own in covered]
    notes = [note for cluster in clusters for note in cluster.members]
    vectors = embed([*(" ".join(rule.wordings) for rule in drafted), *(note.rule for note in notes)], embedder)
    nearness, row_of = (
        vectors[: len(drafted)] @ vectors[len(drafted) :].T,
        {id(note): n for n, note in enumerate(notes)},
    )

    def is_behind(place: int, number: int, note: MicroRule) -> bool:
        among = rivals.get(number, ())
        return place not in among or place == max(among, key=lambda one: nearness[one, row_of[id(note)]])

    return [
        [note for number, note in own if is_behind(place, number, note)]
        or [max((note for _, note in own), key=lambda note: nearness[place, row_of[id(note)]])]
        for place, own in enumerate(covered)
    ]


def _kind(number: int, cluster: Cluster, *, later: bool) -> str:
    if later:
        said = cut(cluster.texts[0], LATER_CHARACTERS)
        return f"{number}. {cluster.labels[0]} (gets its own rule in a later request; for pairs of labels here): {said}"
    notes = "; ".join(cut(note, NOTE_CHARACTERS) for note in cluster.notes[:NOTES])
    return f"{number}. {cluster.labels[0]}, {len(cluster.members)} examples: {notes}"


def _rules(answer: Answer) -> list[WrittenRule]:
    """Return an answer's rules; the ledger keeps them as plain values."""
    return [WrittenRule.model_validate(one) for one in (answer.outputs or {}).get("rules") or ()]


def _texts(answer: Answer) -> list[str]:
    return [getattr(rule, kind) for rule in _rules(answer) for kind in WORDING_KINDS if getattr(rule, kind)]
