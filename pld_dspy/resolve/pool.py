"""The pool: the examples that errors are found among and patches are judged on, and how near their texts are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dspy
import numpy as np
from numpy.typing import NDArray

from ..local.embedding import embed, tfidf_svd
from ..task.splits import stratified_order
from ..task.task import Task, example_id


@dataclass(frozen=True)
class Pool:
    """A draw of the training examples, then all validation examples.

    Attributes:
        examples: n examples; a row is an index into them.
        golds: their labels.
        texts: what the student reads of them.
        train: training example id -> row.
        vectors: n x d unit vectors of the texts.
        task: the labelled decision, which tells of texts what labels they stand for.
    """

    examples: list[dspy.Example]
    golds: list[str]
    texts: list[str]
    train: dict[str, int]
    vectors: NDArray[np.float64]
    task: Task

    @classmethod
    def of(
        cls,
        train: Sequence[dspy.Example],
        val: Sequence[dspy.Example],
        task: Task,
        *,
        texts: Sequence[str] | None = None,
        sample: int,
        seed: int,
    ) -> Pool:
        """Draw at most ``sample`` training examples, labels in proportion; ``texts`` are as for ``resolve``."""
        drawn = stratified(task.strata(train), range(len(train)), sample, np.random.default_rng(seed))
        examples = [*(train[row] for row in drawn), *val]
        if texts is None:
            texts = [task.text(example) for example in (*train, *val)]
        read = [*(texts[row] for row in drawn), *texts[len(train) :]]
        return cls(
            examples=examples,
            golds=task.golds(examples),
            texts=read,
            train={example_id(train[row], row): place for place, row in enumerate(drawn)},
            vectors=embed(read, tfidf_svd),
            task=task,
        )

    def take(self, rows: Iterable[int]) -> list[dspy.Example]:
        """Return the examples at ``rows``."""
        return [self.examples[row] for row in rows]

    def rows_of(self, example_ids: Iterable[str]) -> list[int]:
        """Return the rows of the training examples with these ids, as far as they were drawn."""
        return [self.train[example_id] for example_id in example_ids if example_id in self.train]

    def nearest(self, about: Sequence[int], among: Sequence[int], count: int) -> list[int]:
        """Return the ``count`` rows of ``among`` whose texts are nearest (cosine) to one of ``about``."""
        if not about:
            return []
        near = (self.vectors[list(among)] @ self.vectors[list(about)].T).max(axis=1)
        return [among[place] for place in np.argsort(-near, kind="stable")[:count]]

    def closeness(self, rows: Sequence[int], others: Sequence[int]) -> float:
        """Return the highest cosine between a text of ``rows`` and one of ``others``; 0 where there is none."""
        if not rows or not others:
            return 0.0
        return float((self.vectors[list(rows)] @ self.vectors[list(others)].T).max())


def stratified(labels: Sequence[str], rows: Iterable[int], size: int, rng: np.random.Generator) -> list[int]:
    """Draw ``size`` of ``rows`` with each label in proportion, in ascending order; all of them where they are fewer."""
    listed = list(rows)
    if len(listed) <= size:
        return listed
    order = stratified_order([labels[row] for row in listed], rng)
    return sorted(listed[place] for place in order[:size])
