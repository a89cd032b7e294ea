"""What the loaders of published data share: find the file, keep copies together, deal examples into splits."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import dspy
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import normalized

SHINGLE = 5
"""Words in a row that are compared as one: shared turns of phrase are common, shared runs of five are copied."""

NEAR = 0.5
"""Cosine of two texts' shingles over which one is taken for a copy of the other."""


def find_file(data: Path, names: Sequence[str]) -> Path:
    """Return ``data`` itself where it is a file, else the first of ``names`` in that folder.

    Raises:
        DataError: there is no such file.
    """
    if data.is_file():
        return data
    for name in names:
        if (data / name).is_file():
            return data / name
    raise DataError(f"{data} has no {' or '.join(names)}. Give the folder that holds the published file.")


def from_hub(name: str, *part: str, remedy: str, **where: str) -> Any:
    """Return a split of a data set on the public hub.

    Args:
        name: NAMESPACE/NAME.
        part: which of its parts, where it has several.
        remedy: what to do where it cannot be had, for the message.
        where: further settings of ``datasets.load_dataset``: ``split``, ``revision``.

    Raises:
        DataError: it cannot be had.
    """
    import datasets

    try:
        return datasets.load_dataset(name, *part, **where)
    except (OSError, ValueError, RuntimeError) as error:  # what the hub's client raises, ConnectionError included
        raise DataError(f"Cannot read {name!r} from the hub: {error}. {remedy}") from error


def recorded(examples: Iterable[dspy.Example], rationales: Iterable[MicroRule]) -> list[dspy.Example]:
    """Return the examples that micro-rules were recorded for, found by id; a program's training set."""
    ids = {rule.example_id for rule in rationales}
    return [example for example in examples if example.id in ids]


def families(texts: Sequence[str]) -> list[int]:
    """Number texts so that near-copies (and copies of those) have the same number.

    Args:
        texts: n texts.

    Returns:
        n numbers, in the order of ``texts``.
    """
    vectors = TfidfVectorizer(analyzer=_shingles).fit_transform(texts)
    _, numbers = connected_components(vectors @ vectors.T > NEAR, directed=False)
    return [int(number) for number in numbers]


def distinct(
    examples: Iterable[dspy.Example], key: Callable[[dspy.Example], Hashable], *, apart: Iterable[dspy.Example] = ()
) -> Iterator[dspy.Example]:
    """Yield the first of ``examples`` for each key, and none whose key one of ``apart`` has."""
    taken = {key(example) for example in apart}
    for example in examples:
        if key(example) not in taken:
            taken.add(key(example))
            yield example


def deal(examples: Iterable[dspy.Example], label: str, sizes: Sequence[int]) -> list[list[dspy.Example]]:
    """Deal examples into parts, each label's first to the first part.

    Args:
        examples: in the order they are to be dealt.
        label: name of the label field.
        sizes: examples a label in each part, at most; the last parts go short where a label is rare.

    Returns:
        One list a size, in the order of ``examples``; what is over is left out.
    """
    ends = list(accumulate(sizes))
    dealt: Counter[str] = Counter()
    parts: list[list[dspy.Example]] = [[] for _ in sizes]
    for example in examples:
        part = bisect_right(ends, dealt[example[label]])
        dealt[example[label]] += 1
        if part < len(parts):
            parts[part].append(example)
    return parts


def _shingles(text: str) -> list[str]:
    words = normalized(text).split()
    return [" ".join(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1))]
