"""The labelled decision of a signature: its output field, and the label texts with the values they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dspy

from ..errors import DataError
from ..ledger.completion import MISSING, answer_part, json_field
from ..ledger.dspy_names import infer_prefix
from ..task.answers import check_joinable, match_label, match_labels, match_truth
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
    """The labelled output of a signature: one label, or any number of them joined in one text."""

    field: str
    values: dict[str, Any]  # label text -> value of its type
    collection: Callable[[Iterable[Any]], Any] | None = None  # such as list; None for a field of one label

    @classmethod
    def of(cls, signature: type[dspy.Signature]) -> Decision | None:
        """Return the decision of ``signature``; None if it has other outputs than labels, or takes a history."""
        return _found(signature)

    @classmethod
    def required(cls, signature: type[dspy.Signature]) -> Decision:
        """Return the decision of ``signature``; raise DataError if it has none, or its labels cannot be joined."""
        decision = cls.of(signature)
        if decision is None:
            raise DataError(
                f"{signature.__name__} does not ask for labels alone. Give it one output field of type Literal, "
                "Enum or bool, or a list of these, or use another adapter."
            )
        if decision.several:
            check_joinable(decision.labels)
        return decision

    @property
    def several(self) -> bool:
        """Whether an answer may hold several labels at once, or none."""
        return self.collection is not None

    @property
    def labels(self) -> tuple[str, ...]:
        """The label texts, in the order declared."""
        return tuple(self.values)

    @property
    def listed(self) -> str:
        """The label texts, as prompts and errors list them."""
        return " | ".join(self.values)

    @property
    def request(self) -> str:
        """The line of a prompt that asks for the answer and lists the labels."""
        if self.several:
            wanted = f"Answer with all labels that apply, joined by commas, or with {NO_LABEL!r} if none does"
        else:
            wanted = "Answer with exactly one label"
        return f"{wanted}: {self.listed}"

    def match(self, completion: str, *, cut: bool = False) -> str | None:
        """Return the text of the labels that a model's text means, bare or as JSON; None if one is unknown.

        Thoughts are no answers; of a text that was ``cut`` at a limit, only what the missing end could not change is.
        """
        value = json_field(answer_part(completion), self.field)
        if value is MISSING or value is None:
            value = completion
        else:
            cut = False
        if self.several:
            listed = value if isinstance(value, (str, list)) else completion
            return None if cut else match_labels(listed, self.labels)
        text = label_text(value) if isinstance(value, (str, int, float)) else completion
        found = match_label(text, self.labels, names=(self.field,), cut=cut)
        if found is None:
            with suppress(ValueError):  # 1.0 is the label 1
                found = match_label(label_text(float(text)), self.labels)
        if found is None and tuple(self.values.values()) == (True, False):
            return match_truth(text, names=(self.field,), cut=cut)
        return found

    def text(self, value: Any) -> str:
        """Return a value of the field as text."""
        if self.several and isinstance(value, COLLECTIONS):
            return SEPARATOR.join(map(label_text, value)) or NO_LABEL
        return label_text(value)

    def value(self, text: str) -> Any:
        """Return the value of the field that a text of :meth:`match` stands for."""
        if self.collection is None:
            return self.values[text]
        return self.collection(self.values[label] for label in labels_in(text, self.labels) or ())


def set_prefix(signature: type[dspy.Signature], field: str) -> str:
    """Return the prefix of a field; empty where it is only the one that DSPy infers from the field's name."""
    prefix = str((signature.fields[field].json_schema_extra or {}).get("prefix") or "")
    return "" if prefix == f"{infer_prefix(field)}:" else prefix


def _decision(signature: Any) -> Decision | None:
    takes_history = any(field.annotation is dspy.History for field in signature.input_fields.values())
    if len(signature.output_fields) != 1 or takes_history:
        return None
    [(name, field)] = signature.output_fields.items()
    if (values := label_values(field.annotation)) is not None:
        return Decision(name, values)
    values = label_values(element_type(field.annotation))
    return None if values is None else Decision(name, values, collection_of(field.annotation))


_found: Callable[[Any], Decision | None] = lru_cache(maxsize=128)(_decision)
"""Each call of a program asks for it many times."""
