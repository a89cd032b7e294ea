"""What is being decided: the predictor and output field that hold the label, its label set, and data that fits."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import dspy

from ..errors import DataError
from .label_sets import check_joinable, joined, labels_in, match_labels
from .labels import COLLECTIONS, check_label_texts, element_type, is_collection, label_text, label_texts, match_label

logger = logging.getLogger(__name__)

CHARACTERS_PER_TOKEN = 4
"""English text in current tokenizers; used only to refuse texts that cannot fit the context."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The labelled decision inside a program.

    Attributes:
        predictor: name of the deciding predictor, as ``named_predictors()`` gives it.
        label_field: the output field that holds the label; examples carry the gold label under this name.
        labels: the label set, fixed before the first call.
        inputs: names of the example's input fields.
        untouched: names of the program's other predictors, which PLD leaves as they are.
    """

    predictor: str
    label_field: str
    labels: tuple[str, ...]
    inputs: tuple[str, ...]
    untouched: tuple[str, ...] = ()

    @classmethod
    def of(cls, student: dspy.Module, examples: Sequence[dspy.Example], *, target: str | None = None) -> Task:
        """Find the labelled decision of ``student``.

        Args:
            student: the program to instruct.
            examples: labelled examples (all splits), with their inputs marked by ``with_inputs``.
            target: name of the predictor or of the output field, where more than one would do.

        Raises:
            DataError: there is no labelled decision, or more than one; or the examples have no label, or are no
                examples with marked inputs.
        """
        if not examples:
            raise DataError("The training set is empty. Give at least two labelled examples.")
        inputs, marked = _field_names(examples)
        name, field = _single(_label_fields(student, marked, target), target)
        predictors = dict(student.named_predictors())
        annotation = predictors[name].signature.output_fields[field].annotation
        element = element_type(annotation)
        if is_collection(annotation) and element is None:
            raise DataError(
                f"The output field {field!r} is of type {annotation}, a fixed number of values. Give it a list of "
                "labels, such as list[Literal['a', 'b']], or one label."
            )
        untouched = tuple(other for other in predictors if other != name)
        found: dict[str, Any] = {"predictor": name, "label_field": field, "inputs": inputs, "untouched": untouched}
        kind, golds = (annotation, _gold_labels) if element is None else (element, _gold_label_sets)
        labels = label_texts(kind) or golds(examples, field)
        check_label_texts(kind, labels, field=field)
        if element is None:
            return cls(labels=labels, **found)
        check_joinable(labels)
        return MultiLabelTask(labels=labels, answers="several", **found)

    @property
    def several(self) -> bool:
        """Whether an answer may hold several labels at once, or none."""
        return False

    def gold(self, example: dspy.Example) -> str:
        """Return the example's gold label as text of the label set."""
        return label_text(example[self.label_field])

    def labels_of(self, text: str) -> tuple[str, ...]:
        """Return the labels that a gold or answered text stands for."""
        return (text,)

    def strata(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return one label an example, by which to draw examples in proportion."""
        return self.golds(examples)

    def golds(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return the gold labels of ``examples``, in order."""
        return [self.gold(example) for example in examples]

    def read(self, outputs: dict[str, Any] | None) -> str | None:
        """Return the label that ``outputs`` give; None for a failed, missing or unknown answer."""
        value = (outputs or {}).get(self.label_field)
        return None if value is None else match_label(label_text(value), self.labels)

    def text(self, example: dspy.Example) -> str:
        """Return the example's inputs as one text: the bare value, or ``name: value`` lines."""
        return input_text(example.inputs().toDict())


@dataclass(frozen=True, kw_only=True)
class MultiLabelTask(Task):
    """A decision for any number of labels at once, each of the label set.

    An answer is one text here as well: its labels joined in the order of the label set, as of
    :func:`~pld_dspy.label_sets.joined`.

    Attributes:
        answers: tells such a task from others where it is stored.
    """

    answers: Literal["several"]

    @property
    def several(self) -> bool:
        """Whether an answer may hold several labels at once, or none."""
        return True

    def gold(self, example: dspy.Example) -> str:
        """Return the example's gold labels as one text."""
        return joined(map(label_text, example[self.label_field]), self.labels)

    def labels_of(self, text: str) -> tuple[str, ...]:
        """Return the labels that a gold or answered text stands for."""
        return labels_in(text, self.labels) or ()

    def strata(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return each example's rarest label: many sets of labels stand once, and cannot be in proportion."""
        golds = self.golds(examples)
        counts = Counter(label for gold in golds for label in self.labels_of(gold))
        return [min(self.labels_of(gold), key=lambda label: counts[label], default=gold) for gold in golds]

    def read(self, outputs: dict[str, Any] | None) -> str | None:
        """Return the labels that ``outputs`` give as one text; None where one is unknown, or for no answer."""
        return match_labels((outputs or {}).get(self.label_field), self.labels)


def example_id(example: dspy.Example, row: int) -> str:
    """Return the example's id, or one made from its row in the training set; rules name their support by it."""
    return str(f"row-{row}" if (own := example.get("id")) is None else own)


def input_text(inputs: dict[str, Any]) -> str:
    """Return input values as one text: the bare value where there is one, else ``name: value`` lines."""
    if len(inputs) == 1:
        return str(next(iter(inputs.values())))
    return "\n".join(f"{name}: {value}" for name, value in inputs.items())


def check_examples(
    task: Task,
    examples: Sequence[dspy.Example],
    *,
    split: str,
    context_tokens: int | None = None,
    text: Callable[[dspy.Example], str] | None = None,
) -> None:
    """Refuse examples that cannot be used, naming the row and the remedy.

    Args:
        task: the labelled decision.
        examples: one split.
        split: its name, for messages.
        context_tokens: the student's context in tokens, where known.
        text: gives what of an example stands in that context; all its inputs where None.

    Raises:
        DataError: an empty split, a missing field, a label outside the set, a value of the wrong type, a text that
            cannot be encoded, an id used twice, or a text longer than the context.
    """
    if not examples:
        raise DataError(f"The {split} set is empty. Give at least one labelled example.")
    seen: dict[str, int] = {}
    for row, example in enumerate(examples):
        identifier = example.get("id")
        named = f"{split} row {row}" + (f" (id {identifier!r})" if identifier is not None else "")
        _check_row(task, example, named)
        if context_tokens is not None:
            _check_length((text or task.text)(example), named, context_tokens)
        if identifier is None:
            continue
        if str(identifier) in seen:
            raise DataError(
                f"{split} rows {seen[str(identifier)]} and {row} have the same id {identifier!r}. "
                "Give every example its own id, or leave ids out."
            )
        seen[str(identifier)] = row


def check_training_labels(task: Task, trainset: Sequence[dspy.Example]) -> None:
    """Refuse a training set with one label; warn of labels that it never shows.

    Raises:
        DataError: every training example has the same label.
    """
    counts = Counter(task.golds(trainset))
    if len(counts) < 2:
        only = next(iter(counts))
        raise DataError(
            f"Every training example has the label {only!r}. There is nothing to decide: add examples of another label."
        )
    shown = {label for gold in counts for label in task.labels_of(gold)}
    absent = [label for label in task.labels if label not in shown]
    if absent:
        logger.warning("No training example has the label %s: no rule can be learned for it.", absent)


def check_calibratable(task: Task, *, calibrate: bool) -> None:
    """Refuse to calibrate answers that may hold several labels.

    Raises:
        DataError: ``calibrate`` is wanted for such answers.
    """
    if calibrate and task.several:
        raise DataError(
            f"calibrate=True moves a choice between labels, and the output field {task.label_field!r} may hold several "
            "at once. Leave it out."
        )


def _field_names(examples: Sequence[dspy.Example]) -> tuple[tuple[str, ...], set[str]]:
    """Return the input and the other fields of all examples: one row may lack what the others have."""
    inputs: dict[str, None] = {}
    marked: set[str] = set()
    for number, example in enumerate(examples):
        if not isinstance(example, dspy.Example):
            raise DataError(
                f"Example {number} is a {type(example).__name__}. Give dspy.Example(...).with_inputs(...) only."
            )
        try:
            inputs |= dict.fromkeys(example.inputs().keys())
        except ValueError as error:
            raise DataError(f"Example {number} has no marked inputs. Call with_inputs(...) on it.") from error
        marked |= set(example.labels().keys())
    return tuple(inputs), marked - {"id"}


def _label_fields(student: dspy.Module, marked: set[str], target: str | None) -> list[tuple[str, str]]:
    """List (predictor, output field) pairs that could hold the label, typed ones alone where there are any."""
    pairs = [
        (name, field, info)
        for name, predictor in student.named_predictors()
        for field, info in predictor.signature.output_fields.items()
        if field in marked and target in (None, name, field)
    ]
    single = [(name, field) for name, field, info in pairs if label_texts(info.annotation)]
    several = [(name, field) for name, field, info in pairs if label_texts(element_type(info.annotation))]
    if single or several:
        return single or several
    found = [(name, field) for name, field, _ in pairs]
    if not found:
        outputs = {name: list(p.signature.output_fields) for name, p in student.named_predictors()}
        wanted = f" under target={target!r}" if target else ""
        seen = {id(predictor) for predictor in student.predictors()}
        hidden = [name for name, one in student.named_sub_modules(dspy.Predict) if id(one) not in seen]
        also = f" Parts marked as compiled are not seen: set _compiled = False to have {hidden} seen." if hidden else ""
        raise DataError(
            f"No output field{wanted} is named like a label field of the examples: predictors give {outputs}, "
            f"examples are labelled with {sorted(marked)}. Rename one, or mark the inputs with with_inputs().{also}"
        )
    return found


def _single(fields: list[tuple[str, str]], target: str | None) -> tuple[str, str]:
    if len(fields) > 1:
        choices = ", ".join(f"{name} ({field})" for name, field in fields)
        also = f" under target={target!r}" if target else ""
        raise DataError(f"Several predictors could hold the label{also}: {choices}. Name one with target='PREDICTOR'.")
    return fields[0]


def _gold_labels(examples: Sequence[dspy.Example], field: str) -> tuple[str, ...]:
    golds = [example.get(field) for example in examples]
    return tuple(sorted({label_text(gold) for gold in golds if isinstance(gold, (str, int, Enum))}))


def _gold_label_sets(examples: Sequence[dspy.Example], field: str) -> tuple[str, ...]:
    golds = [gold for example in examples if isinstance(gold := example.get(field), COLLECTIONS)]
    return tuple(sorted({label_text(label) for gold in golds for label in gold}))


def _check_row(task: Task, example: dspy.Example, named: str) -> None:
    for field in task.inputs:
        if example.get(field) is None:
            raise DataError(f"{named} has no value for the input field {field!r}. Fill it in or drop the row.")
        if isinstance(example[field], float) and example[field] != example[field]:
            raise DataError(f"{named}: the input field {field!r} is NaN. Fill it in or drop the row.")
    for field in ("id", *task.inputs, task.label_field):
        _check_encodable(example.get(field), f"{named}: the field {field!r}")
    gold = example.get(task.label_field)
    if _is_blank(gold):
        raise DataError(f"{named} has no value for the label field {task.label_field!r}. Label or drop the row.")
    if task.several:
        _check_labels(task, gold, named)
        return
    if isinstance(gold, (list, tuple, dict, set, float)) and label_text(gold) not in task.labels:
        raise DataError(
            f"{named}: the label field {task.label_field!r} is a {type(gold).__name__}, not a single label. "
            f"Give one of {', '.join(task.labels)}."
        )
    _check_label(task, gold, named)


def _check_labels(task: Task, gold: Any, named: str) -> None:
    if not isinstance(gold, COLLECTIONS):
        raise DataError(
            f"{named}: the label field {task.label_field!r} is a {type(gold).__name__}, not a list of labels. "
            f"Give a list, which may be empty, of {', '.join(task.labels)}."
        )
    for label in gold:
        _check_label(task, label, named)


def _check_label(task: Task, label: Any, named: str) -> None:
    if _is_blank(label):
        raise DataError(f"{named}: a label in the field {task.label_field!r} is empty. Fill it in or remove it.")
    if label_text(label) not in task.labels:
        raise DataError(
            f"{named}: the label {label_text(label)!r} is not in the label set ({', '.join(task.labels)}). "
            "Correct the row, or add the label to the output field's type."
        )


def _is_blank(label: Any) -> bool:
    return label is None or (isinstance(label, str) and not label.strip())


def _check_encodable(value: Any, named: str) -> None:
    """Refuse half of a surrogate pair, as JSON may hold it: no file and no server takes it."""
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{named} is no Unicode text at character {error.start}. Correct or drop the row.") from error


def _check_length(text: str, named: str, context_tokens: int) -> None:
    tokens = len(text) // CHARACTERS_PER_TOKEN
    if tokens > context_tokens:
        raise DataError(
            f"{named} is about {tokens} tokens long, more than the student's context of {context_tokens}. "
            "Shorten it, drop the row, or serve the student with a larger context."
        )
