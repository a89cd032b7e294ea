"""Checks of the data before the first call: every row can be used."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.content import as_json
from .labels import COLLECTIONS, is_missing, label_text, plain_value
from .task import CHARACTERS_PER_TOKEN, Task, own_id

logger = logging.getLogger(__name__)


def check_examples(
    task: Task,
    examples: Sequence[dspy.Example],
    *,
    split: str,
    context_tokens: int | None = None,
    text: Callable[[dspy.Example], str] | None = None,
    labelled: bool = True,
) -> None:
    """Refuse examples that cannot be used, or whose ``text`` (all inputs where None) is longer than the context.

    Labels are looked at where ``labelled``.
    """
    if not examples:
        raise DataError(f"The {split} set is empty. Give at least one labelled example.")
    read = text or task.text
    row_of: dict[str, int] = {}
    for row, example in enumerate(examples):
        identifier = own_id(example)
        where = f"{split} row {row}" + (f" (id {identifier!r})" if identifier is not None else "")
        _check_inputs(task, example, where)
        if labelled:
            _check_label(task, example, where)
        if context_tokens is not None and (tokens := len(read(example)) // CHARACTERS_PER_TOKEN) > context_tokens:
            raise DataError(
                f"{where} is about {tokens} tokens long, more than the student's context of {context_tokens}. "
                "Shorten it, drop the row, or serve the student with a larger context."
            )
        if identifier is not None and row_of.setdefault(identifier, row) != row:
            raise DataError(
                f"{split} rows {row_of[identifier]} and {row} have the same id {identifier!r}. "
                "Give every example its own id, or leave ids out."
            )


def check_training_labels(task: Task, trainset: Sequence[dspy.Example]) -> None:
    """Refuse a training set with one label; warn about labels that it never shows."""
    counts = Counter(task.golds(trainset))
    if len(counts) < 2:
        raise DataError(
            f"Every training example has the label {next(iter(counts))!r}. There is nothing to decide: add examples "
            "with another label."
        )
    shown = {label for gold in counts for label in task.labels_of(gold)}
    absent = [label for label in task.labels if label not in shown]
    if absent:
        logger.warning("No training example has the label %s: no rule can be learned for it.", absent)


def _check_inputs(task: Task, example: dspy.Example, where: str) -> None:
    given = example.inputs()
    empty = [field for field in task.inputs if is_missing(given.get(field))]
    for field in empty:
        if field not in (*task.nullable, *task.omittable) or len(empty) == len(task.inputs):
            raise DataError(
                f"{where} has no value for the input field {field!r}. Fill it in, drop the row, or let the program do "
                "without it (Optional[...] or a default)."
            )
    try:
        for field in ("id", *task.inputs, task.label_field):
            json.dumps(as_json(example.get(field)), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair: JSON may hold one, but no file or server can
        raise DataError(
            f"{where}: the field {field!r} is no Unicode text at character {error.start}. Correct or drop the row."
        ) from error


def _check_label(task: Task, example: dspy.Example, where: str) -> None:
    gold, field = plain_value(example.get(task.label_field)), f"the label field {task.label_field!r}"
    choices = ", ".join(task.labels)
    if _is_blank(gold):
        raise DataError(f"{where} has no value for {field}. Label or drop the row.")
    if task.several and not isinstance(gold, COLLECTIONS):
        raise DataError(
            f"{where}: {field} is a {type(gold).__name__}, not a list of labels. "
            f"Give a list, which may be empty, of {choices}."
        )
    if not task.several and isinstance(gold, (list, tuple, dict, set, float)) and label_text(gold) not in task.labels:
        raise DataError(f"{where}: {field} is a {type(gold).__name__}, not a single label. Give one of {choices}.")
    for label in gold if task.several else [gold]:
        if _is_blank(label):
            raise DataError(
                f"{where}: a label in the field {task.label_field!r} is empty. Fill it in or remove the label."
            )
        if label_text(label) not in task.labels:
            raise DataError(
                f"{where}: the label {label_text(label)!r} is not in the label set ({choices}). "
                "Correct the row, or add the label to the output field's type."
            )


def _is_blank(label: Any) -> bool:
    return is_missing(label) or (isinstance(label, str) and not label.strip())
