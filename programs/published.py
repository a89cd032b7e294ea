"""What the loaders of published data share: read files, keep copies together, deal examples into splits."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import dspy
from pydantic import BaseModel, ValidationError
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import normalized

Model = TypeVar("Model", bound=BaseModel)

SHINGLE = 5
"""Words per shingle: five words in a row that two texts share are most likely copied."""

NEAR = 0.5
"""Texts whose shingles have a larger cosine than this count as near-copies."""


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


def read_published(path: Path, model: type[Model], page: str) -> Model:
    """Read a published JSON file.

    Args:
        path: the file.
        model: its published form.
        page: where it is published, for the message.

    Raises:
        DataError: the file has another form; the message names the field.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {field}: {first['msg']}. Give the file as published at {page}.") from error


def from_hub(name: str, *config: str, remedy: str, **settings: str) -> Any:
    """Return a split of a data set on the public hub.

    Args:
        name: NAMESPACE/NAME.
        config: the data set's configuration, where it has several.
        remedy: what to do if the hub cannot be read, for the message.
        settings: of ``datasets.load_dataset``: ``split``, ``revision``.

    Raises:
        DataError: the data set cannot be read.
    """
    import datasets

    try:
        return datasets.load_dataset(name, *config, **settings)
    except (OSError, ValueError, RuntimeError) as error:  # what the hub's client raises, ConnectionError included
        raise DataError(f"Cannot read {name!r} from the hub: {error}. {remedy}") from error


def recorded(examples: Iterable[dspy.Example], rationales: Iterable[MicroRule]) -> list[dspy.Example]:
    """Return the examples whose ids have a recorded micro-rule: the training set, where there are any."""
    ids = {rule.example_id for rule in rationales}
    return [example for example in examples if example.id in ids]


def families(texts: Sequence[str]) -> list[int]:
    """Return one number per text; near-copies, and near-copies of those, have the same number."""
    vectors = TfidfVectorizer(analyzer=_shingles).fit_transform(texts)
    _, numbers = connected_components(vectors @ vectors.T > NEAR, directed=False)
    return [int(number) for number in numbers]


def distinct(
    examples: Iterable[dspy.Example], key: Callable[[dspy.Example], Hashable], *, apart: Iterable[dspy.Example] = ()
) -> Iterator[dspy.Example]:
    """Yield the first of ``examples`` with each key, but none with the key of an example in ``apart``."""
    taken = {key(example) for example in apart}
    for example in examples:
        if key(example) not in taken:
            taken.add(key(example))
            yield example


def deal(examples: Iterable[dspy.Example], label: str, sizes: Sequence[int]) -> list[list[dspy.Example]]:
    """Deal the examples of each label into parts: the first examples to the first part, and so on.

    Args:
        examples: examples in a fixed or random order.
        label: name of the label field.
        sizes: most examples per label in each part; of a rare label, the last parts get fewer.

    Returns:
        One list per size, in the order of ``examples``; the rest is left out.
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
