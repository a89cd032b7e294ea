"""The labelled decision of a signature: its output field, and the label texts with the values they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dspy

from ..errors import DataError
from ..task.answers import check_joinable, match_label, match_labels
from ..task.labels import (
    COLLECTIONS,
    NO_LABEL,
    SEPARATOR,
    collection_of,
    element_type,
    label_text,
    label_values,
    labels_in,
)


@dataclass(frozen=True)
class Decision:
    """The labelled output of a signature: its field, and label text -> value."""

    field: str
    values: dict[str, Any]

    @property
    def several(self) -> bool:
        """Whether an answer may hold several labels at once, or none."""
        return False

    @property
    def labels(self) -> tuple[str, ...]:
        """The label texts, in the order declared."""
        return tuple(self.values)

    @property
    def listed(self) -> str:
        """The label texts, as a prompt lists them."""
        return " | ".join(self.values)

    @property
    def request(self) -> str:
        """What a prompt asks for, up to the list of labels."""
        return "Answer with exactly one label: "

    @property
    def longest(self) -> int:
        """Bytes of the longest answer, as JSON."""
        return max(len(json.dumps({self.field: label}).encode()) for label in self.labels)

    def match(self, completion: str) -> str | None:
        """Return the text of the label that a model's text means, bare or as JSON; None if it means none."""
        value = _within_json(completion, self.field)
        return match_label(value if isinstance(value, str) else completion, self.labels)

    def text(self, value: Any) -> str:
        """Return a value of the field as text."""
        return label_text(value)

    def value(self, text: str) -> Any:
        """Return the value of the field that a text of :meth:`match` stands for."""
        return self.values[text]

    @classmethod
    def of(cls, signature: type[dspy.Signature]) -> Decision | None:
        """Return the decision of ``signature`` for one label; None if it asks for anything else or takes a history."""
        if (output := _only_output(signature)) is None:
            return None
        name, annotation = output
        values = label_values(annotation)
        return None if values is None else cls(name, values)

    @classmethod
    def required(cls, signature: type[dspy.Signature]) -> Decision:
        """Return the decision of ``signature``, for one label or for several.

        Raises:
            DataError: it has none.
        """
        decision = decision_of(signature)
        if decision is None:
            raise DataError(
                f"{signature.__name__} does not ask for labels alone. Give it one output field of type Literal, "
                "Enum or bool, or a list of these, or use another adapter."
            )
        return decision


@dataclass(frozen=True)
class SeveralDecision(Decision):
    """The labelled output of a signature that may hold several labels, as text joined by ``task.labels.join_labels``.

    Attributes:
        made_of: makes the field's value of label values: ``list``, ``set``, ``frozenset`` or ``tuple``.
    """

    made_of: Callable[[Iterable[Any]], Any]

    @property
    def several(self) -> bool:
        """Whether an answer may hold several labels at once, or none."""
        return True

    @property
    def request(self) -> str:
        """What a prompt asks for, up to the list of labels."""
        return f"Answer with all labels that apply, joined by commas, or with {NO_LABEL!r} if none does: "

    @property
    def longest(self) -> int:
        """Bytes of the longest answer, as JSON."""
        return len(json.dumps({self.field: [*self.labels, NO_LABEL]}).encode())

    def match(self, completion: str) -> str | None:
        """Return the joined labels that a model's text means, bare or as JSON; None if one of them is unknown."""
        value = _within_json(completion, self.field)
        return match_labels(value if isinstance(value, (str, list)) else completion, self.labels)

    def text(self, value: Any) -> str:
        """Return a value of the field as text."""
        if isinstance(value, COLLECTIONS):
            return SEPARATOR.join(map(label_text, value)) or NO_LABEL
        return label_text(value)

    def value(self, text: str) -> Any:
        """Return the value of the field that a text of :meth:`match` stands for."""
        return self.made_of(self.values[label] for label in labels_in(text, self.labels) or ())

    @classmethod
    def of(cls, signature: type[dspy.Signature]) -> SeveralDecision | None:
        """Return the decision of ``signature`` for several labels; None if it asks for anything else.

        Raises:
            DataError: the labels could not be told apart in one text.
        """
        if (output := _only_output(signature)) is None:
            return None
        name, annotation = output
        values = label_values(element_type(annotation))
        if values is None:
            return None
        check_joinable(tuple(values))
        return cls(name, values, collection_of(annotation))


def decision_of(signature: type[dspy.Signature]) -> Decision | None:
    """Return the decision of ``signature``, for one label or for several; None if it asks for anything else."""
    return Decision.of(signature) or SeveralDecision.of(signature)


def _only_output(signature: type[dspy.Signature]) -> tuple[str, Any] | None:
    """Name and type of the only output; None where there are others, or where a history goes in."""
    if len(signature.output_fields) != 1:
        return None
    if any(field.annotation is dspy.History for field in signature.input_fields.values()):
        return None
    name, field = next(iter(signature.output_fields.items()))
    return name, field.annotation


def _within_json(completion: str, field: str) -> Any:
    """The value that a JSON answer gives ``field``, or the JSON value itself; any other answer as it is."""
    try:
        value = json.loads(completion)
    except ValueError:
        return completion
    return value[field] if isinstance(value, dict) and field in value else value
