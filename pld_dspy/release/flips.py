"""Validation examples that the rules turned right or wrong, each at the rule that it is nearest to; no call is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..compile.context import CompileContext
from ..local.embedding import Embedder, embed
from ..rules import Rule, RuleSet
from .recheck import Flip

Flips: TypeAlias = dict[str | None, list[Flip]]
"""Rule id -> flips; None for those that are near no rule."""


def find_flips(context: CompileContext, rules: RuleSet) -> Flips | None:
    """Return what ``rules`` turned on validation, from answers in the ledger; None where some are missing.

    ``context`` is an opened one, under the run's model and adapter; the model is not called.
    """
    evaluator, examples, students = context.evaluator, context.splits.val, (None, rules or None)
    if any(evaluator.unanswered(one, examples) for one in students):
        return None
    before, after = (evaluator.labels(one, examples, stage="review") for one in students)
    rows = zip(context.texts(examples), context.task.golds(examples), before, after, strict=True)
    return _by_nearest_rule(context, rules, [Flip(*row) for row in rows if (row[1] == row[2]) != (row[1] == row[3])])


def _by_nearest_rule(context: CompileContext, rules: RuleSet, flips: Sequence[Flip]) -> Flips:
    """Give each flip to the rule for its old or new label whose supporting examples are nearest to its text."""
    found: Flips = defaultdict(list)
    if not flips or not rules.rules:
        return found
    texts = [flip.example for flip in flips]
    near = _nearness(rules.rules, context.texts_by_id, texts, context.plain_embedder)
    labels_of = context.task.labels_of
    for flip, row in zip(flips, near, strict=True):
        labels = {label for answer in (flip.before, flip.after) if answer is not None for label in labels_of(answer)}
        nearness = [value if labels & set(rule.labels) else 0.0 for value, rule in zip(row, rules.rules, strict=True)]
        best = max(range(len(nearness)), key=nearness.__getitem__)
        found[rules.rules[best].id if nearness[best] > 0 else None].append(flip)
    return found


def _nearness(
    rules: Sequence[Rule], texts_by_id: Mapping[str, str], texts: Sequence[str], embedder: Embedder
) -> NDArray[np.float64]:
    """Return n x K cosine similarities in [0, 1] of n texts to the nearest example that supports each of K rules."""
    vectors = embed([*texts_by_id.values(), *texts], embedder)
    near = np.clip(vectors[len(texts_by_id) :] @ vectors[: len(texts_by_id)].T, 0.0, 1.0)
    row_of = {example_id: row for row, example_id in enumerate(texts_by_id)}
    columns = []
    for rule in rules:
        rows = [row_of[example_id] for example_id in rule.support if example_id in row_of]
        columns.append(near[:, rows].max(axis=1) if rows else np.zeros(len(texts)))
    return np.stack(columns, axis=1)
