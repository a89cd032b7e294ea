"""The brief: what every prompt to the teacher begins with, so that each answer is given with the whole task in view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..task.task import CHARACTERS_PER_TOKEN, Task, short_text

TOKENS = 3000
"""About the most tokens of a brief: with a request behind it, it should fit a context of 8,192."""
INPUT_CHARACTERS = 160
"""Of an input that stands for others of its kind; of several fields, the longest are cut."""
NOTE_CHARACTERS = 320
"""Of a note about an example."""

MOST_CONFUSIONS = 12

USE = (
    "How the instructions are used: all stand, in order, in one system prompt of a small model, which answers for each "
    "input {answers}. Where several fit, {several}. It follows short ones with literal signs; of long lists and fine "
    "distinctions, much is lost on it."
)


@dataclass(frozen=True)
class Kind:
    """Training examples of one label with one kind of reasoning."""

    note: str  # the most typical micro-rule
    size: int  # number of examples
    inputs: tuple[Mapping[str, Any], ...]  # what the student reads of some of them, by field


def brief(
    task: Task,
    instructions: str,
    sizes: Mapping[str, int],
    *,
    kinds: Mapping[str, Sequence[Kind]] | None = None,
    confusions: Mapping[tuple[str, str], int] | None = None,
) -> str:
    """Return the task, the use of the instructions, the labels with their kinds of examples, and what is confused.

    Args:
        task: the labelled decision.
        instructions: the student's own.
        sizes: label -> number of its training examples.
        kinds: label -> its kinds, the largest first; what does not fit ``TOKENS`` is counted, not shown.
        confusions: gold label and the unchanged student's wrong answer -> number of examples that it was asked.
    """
    use = USE.format(
        answers="all labels that fit" if task.several else "one label",
        several="all of them count" if task.several else "the earlier one decides",
    )
    room = TOKENS * CHARACTERS_PER_TOKEN // max(len(sizes), 1)
    lines = [instructions, "", use, "", "Labels, and how many examples of each kind there are:" if kinds else "Labels:"]
    for label, size in sizes.items():
        lines += [f"{label} ({size} examples)", *_shown((kinds or {}).get(label, ()), room)]
    if confusions:
        ranked = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))
        shown = ranked[:MOST_CONFUSIONS]
        wrong = "; ".join(f"{answer} where {gold} is right, {count} times" for (gold, answer), count in shown)
        lines += ["", f"Without instructions the small model answers {wrong}."]
    return "\n".join(lines)


def _shown(kinds: Sequence[Kind], room: int) -> list[str]:
    """Return a line per kind, as many as fit ``room`` characters, and how many are left out."""
    lines: list[str] = []
    for kind in kinds:
        inputs = "".join(f' | "{short_text(one, INPUT_CHARACTERS)}"' for one in kind.inputs)
        line = f"- {kind.size}: {short_text({'note': kind.note}, NOTE_CHARACTERS)}{inputs}"
        if lines and len(line) > room:
            return [*lines, f"- and {len(kinds) - len(lines)} smaller kinds"]
        lines.append(line)
        room -= len(line)
    return lines
