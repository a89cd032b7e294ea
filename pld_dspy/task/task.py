"""What is decided: the predictor and the output field that hold the label, and the label set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.keys import value_text
from .answers import check_joinable, check_readable, match_label, match_labels
from .labels import COLLECTIONS, collection_of, element_type, join_labels, label_text, label_values, labels_in
from .splits import identity

CHARACTERS_PER_TOKEN = 4
"""English text in current tokenizers; for estimates only."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """The labelled decision inside a program.

    Where an answer may hold several labels, it is still one text: its labels, joined in the order of the label set.
    """

    predictor: str  # the deciding one's name in ``named_predictors()``
    label_field: str  # the output field that holds the label; examples have the gold label under this name
    labels: tuple[str, ...]  # fixed before the first call
    inputs: tuple[str, ...]  # names of the example's input fields, in the predictor's order and then the alphabet's
    untouched: tuple[str, ...] = ()  # the program's other predictors, which PLD does not change
    several: bool = False  # whether an answer may hold several labels at once, or none

    @classmethod
    def of(cls, student: dspy.Module, examples: Sequence[dspy.Example], *, target: str | None = None) -> Task:
        """Find the labelled decision of ``student`` from examples of all splits; DataError if it is not the only one.

        ``target`` names the predictor or the output field, where there are several candidates.
        """
        if not examples:
            raise DataError("The training set is empty. Give at least two labelled examples.")
        inputs, others = _field_names(examples)
        predictor, field = _label_field(student, others, target)
        predictors = dict(student.named_predictors())
        signature = predictors[predictor].signature
        annotation = signature.output_fields[field].annotation
        element = element_type(annotation)
        if collection_of(annotation) and element is None:
            raise DataError(
                f"The output field {field!r} is of type {annotation}, a fixed number of values. Give it a list of "
                "labels, such as list[Literal['a', 'b']], or one label."
            )
        several = element is not None
        kind = element if several else annotation
        labels = tuple(label_values(kind) or _gold_labels(examples, field, several=several))
        check_readable(kind, labels, field=field)
        if several:
            check_joinable(labels)
        return cls(
            predictor=predictor,
            label_field=field,
            labels=labels,
            inputs=(
                *(name for name in signature.input_fields if name in inputs),
                *sorted(inputs - set(signature.input_fields)),
            ),
            untouched=tuple(name for name in predictors if name != predictor),
            several=several,
        )

    def gold(self, example: dspy.Example) -> str:
        """Return the example's gold label, or its labels joined in one text."""
        value = example[self.label_field]
        return join_labels(map(label_text, value), self.labels) if self.several else label_text(value)

    def golds(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return the gold labels of ``examples``, in order."""
        return [self.gold(example) for example in examples]

    def labels_of(self, text: str) -> tuple[str, ...]:
        """Return the labels that a text of :meth:`gold` or :meth:`read` stands for."""
        return (labels_in(text, self.labels) or ()) if self.several else (text,)

    def strata(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return one label per example, for stratified draws: its gold label, or the rarest of several.

        Many combinations of labels occur only once, and cannot be drawn in proportion.
        """
        golds = self.golds(examples)
        counts = Counter(label for gold in golds for label in self.labels_of(gold))
        return [min(self.labels_of(gold), key=lambda label: counts[label], default=gold) for gold in golds]

    def read(self, outputs: dict[str, Any] | None) -> str | None:
        """Return the label or labels in ``outputs`` as one text; None for a failed, missing or unknown answer."""
        value = (outputs or {}).get(self.label_field)
        if self.several:
            return match_labels(value, self.labels)
        return None if value is None else match_label(label_text(value), self.labels)

    def text(self, example: dspy.Example) -> str:
        """Return the example's inputs as one text: the bare value, or ``name: value`` lines."""
        return input_text(self.given(example))

    def given(self, example: dspy.Example) -> dict[str, Any]:
        """Return the example's inputs by name, in the order of ``inputs``, whatever the example's own."""
        own: dict[str, Any] = example.inputs().toDict()
        return {name: own[name] for name in self.inputs if name in own} | own


def example_id(example: dspy.Example, row: int) -> str:
    """Return the example's id, or "row-N" for row N of the training set; rules list their support by it."""
    return str(f"row-{row}" if (own := example.get("id")) is None else own)


def input_text(inputs: dict[str, Any]) -> str:
    """Return input values as one text: the bare value where there is one, else ``name: value`` lines."""
    if len(inputs) == 1:
        return value_text(next(iter(inputs.values())))
    return "\n".join(f"{name}: {value_text(value)}" for name, value in inputs.items())


def inputs_key(inputs: dict[str, Any]) -> str:
    """Return a key of inputs that a student reads alike, whatever the order of their fields."""
    return identity(input_text(dict(sorted(inputs.items()))))


def _field_names(examples: Sequence[dspy.Example]) -> tuple[set[str], set[str]]:
    """Return the names of the input fields and of the others, over all examples: a row may lack a field."""
    inputs: set[str] = set()
    others: set[str] = set()
    for number, example in enumerate(examples):
        if not isinstance(example, dspy.Example):
            raise DataError(
                f"Example {number} is a {type(example).__name__}. Give dspy.Example(...).with_inputs(...) only."
            )
        try:
            inputs |= set(example.inputs().keys())
        except ValueError as error:
            raise DataError(f"Example {number} has no marked inputs. Call with_inputs(...) on it.") from error
        others |= set(example.labels().keys())
    return inputs, others - {"id"}


def _label_field(student: dspy.Module, names: set[str], target: str | None) -> tuple[str, str]:
    """Return the predictor and output field that hold the label; a field with a label type wins over the others."""
    fields = [
        (predictor, field, info.annotation)
        for predictor, module in student.named_predictors()
        for field, info in module.signature.output_fields.items()
        if field in names and target in (None, predictor, field)
    ]
    one_label = [field for field in fields if label_values(field[2])]
    several_labels = [field for field in fields if label_values(element_type(field[2]))]
    candidates = one_label or several_labels or fields
    under = f" under target={target!r}" if target else ""
    if not candidates:
        outputs = {name: list(module.signature.output_fields) for name, module in student.named_predictors()}
        known = {id(predictor) for predictor in student.predictors()}
        frozen = [name for name, module in student.named_sub_modules(dspy.Predict) if id(module) not in known]
        also = f" DSPy hides parts marked as compiled: set _compiled = False to use {frozen}." if frozen else ""
        raise DataError(
            f"No output field{under} has the name of a label field of the examples: predictors give {outputs}, "
            f"examples are labelled with {sorted(names)}. Rename one, or mark the inputs with with_inputs().{also}"
        )
    if len(candidates) > 1:
        choices = ", ".join(f"{predictor} ({field})" for predictor, field, _ in candidates)
        raise DataError(f"Several predictors could hold the label{under}: {choices}. Name one with target='PREDICTOR'.")
    return candidates[0][:2]


def _gold_labels(examples: Sequence[dspy.Example], field: str, *, several: bool) -> tuple[str, ...]:
    """Return the label texts found in the data, in alphabetical order; values of other types are no labels."""
    golds = [example.get(field) for example in examples]
    if several:
        golds = [label for gold in golds if isinstance(gold, COLLECTIONS) for label in gold]
    else:
        golds = [gold for gold in golds if isinstance(gold, (str, int, Enum))]
    return tuple(sorted({label_text(gold) for gold in golds}))
