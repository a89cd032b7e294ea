"""Train, validation and test: drawn in proportion to the labels, and whole where the data has groups."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import dspy
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from ..errors import DataError


@dataclass(frozen=True)
class Splits:
    """The examples of a run. ``test`` may be empty: then nothing is reported on unseen data."""

    train: list[dspy.Example]
    val: list[dspy.Example]
    test: list[dspy.Example] = field(default_factory=list)

    def non_empty(self) -> Iterator[tuple[str, list[dspy.Example]]]:
        """Yield (name, examples) of each split that holds any: "train", "validation", "test"."""
        for name, examples in (("train", self.train), ("validation", self.val), ("test", self.test)):
            if examples:
                yield name, examples


def stratified_halves(
    examples: Sequence[dspy.Example],
    labels: Sequence[str],
    groups: Sequence[Hashable],
    *,
    share: float,
    seed: int,
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Split n examples in two, in proportion to their n labels; each part keeps the order of ``examples``.

    Examples with equal ``groups`` stay together; so the second part's ``share`` (0 to 1) is met only as nearly as they
    allow. DataError where one part would be empty.
    """
    order = {key: number for number, key in enumerate(dict.fromkeys(groups))}
    # The share is taken as whole folds, of 5% where there are enough examples.
    folds = min(20, len(order), max(Counter(labels).values(), default=0))
    taken = round(share * folds)
    if not 0 < taken < folds:
        raise DataError(
            f"Cannot take a share of {share:g} out of {len(examples)} examples in {len(order)} groups. "
            "Give more examples, or the splits themselves."
        )
    # Groups are shuffled here: scikit-learn before 1.8 does not keep labels in proportion when it shuffles them itself.
    number = np.random.default_rng(seed).permutation(len(order))
    codes = number[[order[key] for key in groups]]
    with warnings.catch_warnings():  # a rare label cannot be in every fold; no caller can do anything about it
        warnings.filterwarnings("ignore", message="The least populated class")
        splitter = StratifiedGroupKFold(n_splits=folds)
        tests = [test for _, test in splitter.split(np.zeros(len(examples)), np.array(labels), codes)]
    second = set(np.concatenate(tests[:taken]).tolist())
    return (
        [example for row, example in enumerate(examples) if row not in second],
        [example for row, example in enumerate(examples) if row in second],
    )


def stratified_order(labels: Sequence[str], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the row numbers of n labels in a random order: any k in a row are a stratified draw of k rows."""
    place = np.empty(len(labels))
    column = np.array(labels)
    for label in sorted(set(labels)):
        rows = np.flatnonzero(column == label)
        place[rng.permutation(rows)] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def stratified(labels: Sequence[str], size: int, rng: np.random.Generator) -> list[int]:
    """Sample ``size`` row numbers of n labels, stratified by label, in ascending order; all if there are no more."""
    return sorted(stratified_order(labels, rng)[:size].tolist())


def normalized(text: str) -> str:
    """Return ``text`` in lower case (casefolded), with everything but letters and digits turned into single spaces."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def identity(text: str) -> str:
    """Return a key of texts that a student reads alike: they differ in spacing or Unicode composition only."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def near_identity(text: str) -> str:
    """Return a key that near copies of a text share: the normalized text, or its identity where that is empty."""
    return normalized(text) or identity(text)
