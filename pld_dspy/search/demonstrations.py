"""Fixed demonstrations to choose from: labelled training examples that stand below the rules in every call.

They are part of the prompt's beginning, which a server with a prompt cache reads once, so they cost next to nothing
per call. Which ones are best cannot be told from the examples: the search tries several draws.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..rules import Demonstration
from ..task.task import CHARACTERS_PER_TOKEN, input_text

DRAWS = 3
MOST_TOKENS = 1500
"""Of one draw, estimated: longer prompts make a small student worse, and each candidate's is read at least once."""


def draw_demonstrations(
    reads: Mapping[str, Mapping[str, Any]],
    golds: Sequence[str],
    *,
    most: int,
    doubted: Collection[str] = (),
    seed: int = 0,
) -> tuple[tuple[Demonstration, ...], ...]:
    """Return the choices: none, then three random draws, each as a whole and its first half.

    Args:
        reads: training example id -> what the deciding predictor reads, by field.
        golds: their gold labels, in the same order.
        most: examples per draw; 0 for none. Labels take turns, so that all are shown equally often.
        doubted: ids of examples whose label is in doubt; they are not drawn.
        seed: of the draws.
    """
    known = [
        Demonstration(example_id=name, inputs=dict(read), label=gold)
        for (name, read), gold in zip(reads.items(), golds, strict=True)
        if name not in doubted
    ]
    choices: list[tuple[Demonstration, ...]] = [()]
    for draw in range(DRAWS if most else 0):
        shuffled = np.random.default_rng([seed, draw]).permutation(len(known))
        turns: dict[str, int] = {}
        order: list[tuple[int, int, Demonstration]] = []
        for place in shuffled:
            turns[known[place].label] = turn = turns.get(known[place].label, -1) + 1
            order.append((turn, len(order), known[place]))
        shown = _short_enough([demo for _, _, demo in sorted(order, key=lambda one: one[:2])][:most])
        choices += [shown[: len(shown) // 2], shown]
    return tuple({tuple(demo.example_id for demo in choice): choice for choice in choices}.values())


def _short_enough(demos: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
    tokens = np.cumsum([len(input_text(demo.inputs)) / CHARACTERS_PER_TOKEN for demo in demos])
    return tuple(demos[: int(np.searchsorted(tokens, MOST_TOKENS, side="right"))])
