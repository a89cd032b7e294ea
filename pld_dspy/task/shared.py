"""Examples that stand in more than one split: refused, left out or kept, as the user wishes."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Literal

import dspy

from ..errors import DataError
from .splits import Splits, near_identity
from .task import Task, example_id, inputs_key

Duplicates = Literal["refuse", "drop", "keep"]
"""What happens to examples in several splits. Dropped ones leave training first, then validation, and never test."""

Places = dict[str, list[int]]
"""Split -> rows."""


def check_disjoint(task: Task, splits: Splits) -> None:
    """Refuse splits that share an example: one that the student reads alike, whatever its ids."""
    examples = dict(splits.non_empty())
    listed = [
        f"{_rows(places)} share the same text ({task.text(examples[split][rows[0]])[:60]!r})"
        for places in _shared(splits, _key)
        for split, rows in list(places.items())[:1]
    ]
    if listed:
        raise DataError(
            f"{'; '.join(listed)}. An example in several splits makes every score too good. Remove it from all but "
            'one, or set duplicates="drop" (--duplicates drop), which leaves it out of training, then of validation; '
            '"keep" goes on with it.'
        )


def without_shared(task: Task, splits: Splits, duplicates: Duplicates) -> tuple[Splits, list[str]]:
    """Return the splits to use, and notes on what they share; DataError as for :func:`check_disjoint`.

    Texts that differ in case or signs are noted only: the student does not read them alike.
    """
    if duplicates == "refuse":
        check_disjoint(task, splits)
    found = _shared(splits, _key)
    near = [one for one in _shared(splits, lambda example: near_identity(_key(example))) if one not in found]
    notes = []
    if near:
        notes.append(
            f"{len(near)} texts in several splits differ only in case or signs, such as {_rows(near[0])}. If they mean "
            "the same, scores are too good."
        )
    if found and duplicates == "drop":
        splits, dropped = _dropped(splits)
        notes.append(f"Examples left out because a later split holds them: {dropped}.")
    elif found:
        notes.append(f"{len(found)} examples stand in several splits: scores are too good.")
    return splits, notes


def _key(example: dspy.Example) -> str:
    return inputs_key(dict(example.inputs()))


def _shared(splits: Splits, key: Callable[[dspy.Example], Hashable]) -> list[Places]:
    """Return the places of each example that stands in several splits."""
    places: dict[Hashable, Places] = {}
    for split, examples in splits.non_empty():
        for row, example in enumerate(examples):
            places.setdefault(key(example), {}).setdefault(split, []).append(row)
    return [found for found in places.values() if len(found) > 1]


def _dropped(splits: Splits) -> tuple[Splits, str]:
    """Return splits without the examples that a later split holds, and in words how many were left out of each."""
    kept: dict[str, list[dspy.Example]] = {"test": []}
    later: set[str] = set()
    told = []
    for split, examples in reversed(list(splits.non_empty())):
        keys = [_key(example) for example in examples]
        gone = [row for row, own in enumerate(keys) if own in later]
        if len(gone) == len(examples):
            raise DataError(
                f'Every {split} example stands in a later split as well, so duplicates="drop" would leave none. Give '
                'another set, or set duplicates="keep" (--duplicates keep).'
            )
        # An example without an id is known by its row: it gets that as its id before other rows go.
        named = [one.copy(id=example_id(one, row)) for row, one in enumerate(examples)] if gone else examples
        kept[split] = [example for example, own in zip(named, keys, strict=True) if own not in later]
        later.update(keys)
        told += [f"{len(gone)} of {split}"] if gone else []
    return Splits(kept["train"], kept["validation"], kept["test"]), ", ".join(told)


def _rows(places: Places) -> str:
    return " and ".join(
        f"{split} row{'s' * (len(rows) > 1)} {', '.join(map(str, rows))}" for split, rows in places.items()
    )
