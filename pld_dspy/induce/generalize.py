"""Generalize: ask the teacher to word each cluster of micro-rules as one rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..ledger.answer import Answer
from ..task.task import CHARACTERS_PER_TOKEN, Task
from ..teacher.signatures import GeneralizeRules, is_unfilled
from ..teacher.teacher import Teacher
from .formats import about_format
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
    draw: int = 0,
    on_answer: Callable[[], object] | None = None,
) -> list[tuple[str, ...]]:
    """Return up to ``count`` wordings per cluster; none where the answer is unusable, lost, or beyond a cap.

    If a cluster's notes do not fit one prompt, the teacher first gives one wording per part; these are then the notes.
    """

    def ask(parts: Sequence[tuple[int, list[str]]], count: int) -> list[tuple[str, ...]]:
        listed = ", ".join(task.labels)
        inputs = [
            {"labels": listed, "notes": notes, "label": clusters[index].labels[0], "count": count}
            for index, notes in parts
        ]
        answers = teacher.ask(GeneralizeRules, inputs, stage="induce", texts=_texts, draw=draw, on_answer=on_answer)
        return [_usable(answer, task.labels)[:count] for answer in answers]

    parts = {index: note_parts(cluster.texts) for index, cluster in enumerate(clusters)}
    while long := sorted(index for index, own in parts.items() if len(own) > 1):
        asked = [(index, part) for index in long for part in parts[index]]
        notes: dict[int, list[str]] = {index: [] for index in long}
        for (index, part), wordings in zip(asked, ask(asked, 1), strict=True):
            notes[index].append(wordings[0] if wordings else part[0])
        parts |= {index: note_parts(own) for index, own in notes.items()}
    return ask([(index, part) for index, (part,) in parts.items()], count)


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


def _usable(answer: Answer, labels: Sequence[str]) -> tuple[str, ...]:
    filled = (" ".join(text.split()) for text in _texts(answer) if not is_unfilled(text))
    return tuple(text for text in dict.fromkeys(filled) if text and not about_format(text, labels))
