"""What is decided: the predictor and the output field that hold the label, and the label set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.content import as_json
from .answers import check_joinable, check_readable, match_label, match_labels
from .labels import (
    COLLECTIONS,
    collection_of,
    element_type,
    is_label,
    is_missing,
    join_labels,
    label_text,
    label_values,
    labels_in,
    plain_value,
)
from .program_inputs import ProgramInputs
from .splits import identity, near_identity, normalized, stratified_halves

CHARACTERS_PER_TOKEN = 4
"""English text in current tokenizers; for estimates only."""
CUT = " ..."
"""Behind a text that is not shown whole."""


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
    nullable: tuple[str, ...] = ()  # inputs that may be None
    omittable: tuple[str, ...] = ()  # inputs that a call may leave out

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
        takes = ProgramInputs.of(student)
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
            nullable=takes.nullable(inputs),
            omittable=takes.omittable(inputs),
        )

    def arguments(self, example: dspy.Example) -> dict[str, Any]:
        """Return what the program is called with for ``example``: the very objects, and None for a missing value.

        Left out is what the example does not have and the program need not be given, or has a default for.
        """
        given = example.inputs()
        names = dict.fromkeys((*self.inputs, *given.keys()))
        found = {name: None if is_missing(given.get(name)) else given[name] for name in names}
        left_out = {
            name
            for name, value in found.items()
            if value is None and name in self.omittable and not (name in given and name in self.nullable)
        }
        return {name: value for name, value in found.items() if name not in left_out}

    def gold(self, example: dspy.Example) -> str:
        """Return the example's gold label, or its labels joined in one text."""
        value = plain_value(example[self.label_field])
        return join_labels(map(label_text, value), self.labels) if self.several else label_text(value)

    def golds(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return the gold labels of ``examples``, in order."""
        return [self.gold(example) for example in examples]

    def labels_of(self, text: str) -> tuple[str, ...]:
        """Return the labels that a text of :meth:`gold` or :meth:`read` stands for."""
        return (labels_in(text, self.labels) or ()) if self.several else (text,)

    def labels_named(self, text: str) -> list[str]:
        """Return the labels that a text names, also within a word; first the one that it says to answer."""
        said = normalized(text)
        places = {
            label: (f"answer {words}" not in said, said.index(words), -len(words))
            for label in self.labels
            if (words := normalized(label)) in said
        }
        return sorted(places, key=places.__getitem__)

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
        return input_text(self.arguments(example))


def own_id(example: dspy.Example) -> str | None:
    """Return the id that the example was given, as text; None without one."""
    return None if is_missing(own := example.get("id")) else label_text(own)


def example_id(example: dspy.Example, row: int) -> str:
    """Return the example's id, or "row-N" for row N of the training set; rules list their support by it."""
    return f"row-{row}" if (own := own_id(example)) is None else own


def input_text(inputs: Mapping[str, Any]) -> str:
    """Return input values as one text: the bare value where there is one, else ``name: value`` lines; None has none."""
    texts = {name: _value_text(value) for name, value in inputs.items() if value is not None}
    if len(inputs) == 1:
        return "".join(texts.values())
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def cut(text: str, most: int) -> str:
    """Return a text on one line of at most ``most`` characters, cut behind a word if one ends in its second half."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    kept = line[: max(most - len(CUT), 0)]
    end = kept.rfind(" ")
    return f"{kept[:end] if end > most // 2 else kept}{CUT}"  # not all languages set words apart


def short_text(inputs: Mapping[str, Any], most: int) -> str:
    """Return :func:`input_text` on one line, the longest values cut to ``most`` characters in all, names apart."""
    texts = {name: " ".join(_value_text(value).split()) for name, value in inputs.items() if value is not None}
    for left, name in zip(range(len(texts), 0, -1), sorted(texts, key=lambda name: len(texts[name])), strict=True):
        texts[name] = cut(texts[name], most // left)
        most -= len(texts[name])
    return " ".join(input_text({**dict.fromkeys(inputs), **texts}).split())  # named, also if one alone is not empty


def _value_text(value: Any) -> str:
    plain = as_json(value)
    return json.dumps(plain, sort_keys=True, ensure_ascii=False) if isinstance(plain, (list, dict)) else str(plain)


def inputs_key(inputs: Mapping[str, Any]) -> str:
    """Return a key of inputs that a student reads alike, whatever the order of their fields."""
    return identity(input_text(dict(sorted(inputs.items()))))


def set_aside(task: Task, train: Sequence[dspy.Example], seed: int) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Split a validation set off the training examples: 40%, with the copies of a text on one side."""
    texts = [near_identity(task.text(example)) for example in train]
    return stratified_halves(train, task.strata(train), texts, share=0.4, seed=seed)


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
    """Return the label texts found in the data, in alphabetical order; DataError if there are none."""
    golds = [plain_value(gold) for one in examples if not is_missing(gold := one.get(field))]
    listed = [gold for gold in golds if isinstance(gold, COLLECTIONS)]
    found = [plain_value(label) for gold in listed for label in gold] if several else golds
    usable = {label_text(one) for one in found if is_label(one)}
    if usable:
        return tuple(sorted(usable))
    if not golds or (several and listed and not found):
        raise DataError(f"No example has a label in {field!r}. Label the rows.")
    odd = (found or golds)[0]
    wanted = "list of labels" if several else "label"
    raise DataError(
        f"{field!r} holds {cut(repr(odd), 60)}, a {type(odd).__name__}, which is no {wanted}. Give texts, whole "
        "numbers, bools or members of an Enum, or declare the labels in the output field's type."
    )
