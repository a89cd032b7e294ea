"""Budgets by one word, as DSPy's own optimizers have them: light, medium or heavy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import dspy

from ..induce.cluster import FEW
from ..resolve.resolve_config import ResolveConfig
from ..search.search_config import SearchConfig
from ..task.task import Task

Auto = Literal["light", "medium", "heavy"]


class _Level(NamedTuple):
    """What a word stands for; each rule is in half of the screened sets, so half of its calls tell about it."""

    screen_calls: int  # per rule
    trials: int
    rounds: int  # of resolving, where there is a teacher


LEVELS = {"light": _Level(8, 4, 0), "medium": _Level(24, 10, 0), "heavy": _Level(48, 20, 2)}


def expected_rules(task: Task, examples: Sequence[dspy.Example]) -> int:
    """Return about how many rules induction makes: the square root of a label's examples, or as many if a ``FEW``."""
    sizes = Counter(label for gold in task.golds(examples) for label in task.labels_of(gold))
    return sum(size if size <= FEW else math.ceil(math.sqrt(size)) for size in sizes.values())


def settle(
    auto: Auto | None, search: SearchConfig, resolve: ResolveConfig | None, *, rules: int, has_teacher: bool
) -> tuple[SearchConfig, ResolveConfig | None]:
    """Return the settings that ``auto`` stands for where about so many ``rules`` are expected; what is set stays."""
    if resolve is not None and not resolve.max_rounds:
        return settle(auto, search, None, rules=rules, has_teacher=False)
    if auto is None:
        return search, resolve
    level = LEVELS[auto]
    given = {name: getattr(search, name) for name in search.model_fields_set}
    slices = math.ceil(level.screen_calls * rules / search.block)
    if resolve is None and level.rounds and has_teacher:
        resolve = ResolveConfig(max_rounds=level.rounds)
    return SearchConfig(**{"screen_calls": slices * search.block, "trials": level.trials, **given}), resolve
