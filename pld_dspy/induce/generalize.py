"""Generalize: ask the teacher to word each cluster of micro-rules as one rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from ..ledger.answer import Answer
from ..task.task import CHARACTERS_PER_TOKEN, Task
from ..teacher.signatures import WORDING_KINDS, GeneralizeRules
from ..teacher.teacher import Teacher
from .formats import usable_line
from .groups import Cluster

NOTES = 12
"""Most micro-rules in one prompt. A cluster with more is generalized in parts, and then the parts are: a sample of the
most typical ones would lose the exceptions."""
NOTE_TOKENS = 2000
"""Most tokens that these may take together, so that the prompt fits the context of a small teacher."""


def generalize(
    clusters: Sequence[Cluster],
    task: Task,
    count: int,
    teacher: Teacher,
    *,
    near: Sequence[list[str]],
    on_answer: Callable[[], object] | None = None,
) -> list[dict[str, str]]:
    """Return up to ``count`` wordings per cluster, text -> kind; none where the answer is unusable, lost or not paid.

    If a cluster's notes do not fit one prompt, the teacher first gives one wording per part: these are then the notes.
    ``near`` holds, per cluster, the nearest notes of other labels.
    """

    def ask(parts: Sequence[tuple[int, list[str]]], kinds: Mapping[str, str]) -> list[dict[str, str]]:
        shared = {"labels": ", ".join(task.labels), "kinds": [f"{name}: {like}" for name, like in kinds.items()]}
        inputs = [
            {**shared, "notes": notes, "near": near[index], "label": clusters[index].labels[0]}
            for index, notes in parts
        ]
        answers = teacher.ask(GeneralizeRules, inputs, stage="induce", texts=_texts, on_answer=on_answer)
        lines = [[usable_line(text, task.labels) for text in _texts(answer)] for answer in answers]
        return [dict(zip(dict.fromkeys(filter(None, own)), kinds, strict=False)) for own in lines]

    parts = {index: note_parts(cluster.notes) for index, cluster in enumerate(clusters)}
    first = dict(islice(WORDING_KINDS.items(), 1))
    while long := sorted(index for index, own in parts.items() if len(own) > 1):
        asked = [(index, part) for index in long for part in parts[index]]
        notes: dict[int, list[str]] = {index: [] for index in long}
        for (index, part), wordings in zip(asked, ask(asked, first), strict=True):
            notes[index].append(next(iter(wordings), part[0]))
        parts |= {index: note_parts(own) for index, own in notes.items()}
    return ask([(index, part) for index, (part,) in parts.items()], dict(islice(WORDING_KINDS.items(), count)))


def note_parts(
    notes: Sequence[str], *, most: int = NOTES, characters: int = NOTE_TOKENS * CHARACTERS_PER_TOKEN
) -> list[list[str]]:
    """Deal notes, the most typical first, out to as few parts of similar size as fit a prompt.

    A part has ``most`` notes, but at least 2 (with 1, the number of parts would never fall), typical ones first, and
    this many ``characters``; a note longer than half of that is cut.
    """
    cut = [note[: characters // 2] for note in notes]
    size = max(2, min(most, characters // max(1, *map(len, cut))))
    count = -(-len(cut) // size)
    return [cut[start::count] for start in range(count)]


def _texts(answer: Answer) -> list[str]:
    return list((answer.outputs or {}).get("wordings") or [])
