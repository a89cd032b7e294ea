"""Micro-rules whose groups are known: paraphrases of themes, with what makes a real collection hard to cluster.

A service desk sorts messages by department. A theme is a department, what happened, and a few ways to say it; every
micro-rule of a theme says it in its own words, among filler. On top of that: one giant theme, labels with a handful of
micro-rules, themes from frequent to rare (Zipf), micro-rules that follow from nothing, and a flood of rules about the
output's format, none of which says anything about a message.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pld_dspy.rules import MicroRule
from pld_dspy.task.task import Task

from . import words

LABELS = (*words.SUBJECTS, *words.RARE)
GIANT_SHARE, NOISE_SHARE, FORMAT_SHARE = 0.3, 0.03, 0.08
"""Of the first theme, of micro-rules that follow from nothing, of those about the output's format."""
RARE_SIZE = 6
"""Micro-rules of a rare label, whatever the size of the collection."""
NONE = -1
"""The theme of a micro-rule that has none."""


@dataclass(frozen=True)
class Collection:
    """n micro-rules and, for each, the number of its theme or ``NONE``."""

    micro_rules: list[MicroRule]
    themes: list[int]
    task: Task


def collection(n: int, *, seed: int = 0) -> Collection:
    """Draw micro-rules of 120 frequent themes and one for each rare label.

    Args:
        n: how many; at least 1,000.
        seed: of every draw.
    """
    rng = random.Random(seed)
    departments = list(words.SUBJECTS)
    frequent = [(label, event) for label in departments for event in words.EVENTS]
    rng.shuffle(frequent)
    weights = [1 / (rank + 2) for rank in range(len(frequent))]
    weights[0] = GIANT_SHARE / (1 - GIANT_SHARE) * sum(weights[1:])
    rare = enumerate(words.RARE, len(frequent))
    drawn = [(number, label, _rare(rng, label)) for number, label in rare for _ in range(RARE_SIZE)]
    drawn += [(NONE, label, _stray(rng, label)) for label in rng.choices(departments, k=round(NOISE_SHARE * n))]
    drawn += [(NONE, label, rng.choice(words.FORMATS)) for label in rng.choices(departments, k=round(FORMAT_SHARE * n))]
    numbers = rng.choices(range(len(frequent)), weights=weights, k=n - len(drawn))
    drawn += [(number, frequent[number][0], _said(rng, *frequent[number])) for number in numbers]
    rng.shuffle(drawn)
    return Collection(
        micro_rules=[
            MicroRule(example_id=f"g{row}", inputs={"text": f"message {row}"}, label=label, rationale="", rule=text)
            for row, (_, label, text) in enumerate(drawn)
        ],
        themes=[number for number, _, _ in drawn],
        task=Task(predictor="self", label_field="label", labels=LABELS, inputs=("text",)),
    )


def _said(rng: random.Random, label: str, event: str) -> str:
    return _sentence(rng, label, rng.choice(words.SUBJECTS[label]), rng.choice(words.EVENTS[event]))


def _rare(rng: random.Random, label: str) -> str:
    subject, *events = words.RARE[label]
    return _sentence(rng, label, subject, rng.choice(events))


def _stray(rng: random.Random, label: str) -> str:
    subject, one, other = (rng.choice(words.STRAY) for _ in range(3))
    return _sentence(rng, label, subject, f"mentions a {one} or a {other}")


def _sentence(rng: random.Random, label: str, subject: str, event: str) -> str:
    answer = rng.choice(words.ANSWERS)
    slots = {
        "answer": answer,
        "Answer": answer.capitalize(),
        "means": rng.choice(words.MEANINGS),
        "writer": rng.choice(words.WRITERS),
        "says": rng.choice(words.VERBS),
        "mood": rng.choice(words.MOODS),
        "thing": rng.choice(words.THINGS),
        "told": rng.choice(words.TELLINGS),
        "subject": subject,
        "event": event,
        "label": label,
        "other": rng.choice([name for name in LABELS if name != label]),
    }
    filler = rng.choice(words.FILLERS).format(**slots)
    return rng.choice(words.TEMPLATES).format(**slots, filler=filler)
