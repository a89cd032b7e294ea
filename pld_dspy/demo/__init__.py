"""The demo task: the budget that the expense desk of an invented firm books a claim to.

The desk books by a policy of the firm's own, which common sense often gets wrong (driving and cycling are an office
matter, a present for a client is food, a drink is never the firm's), so a model has to be told it. The firm, its
people and customers, and all 240 records were invented for this project and written one by one: 96 to train on, 60
to validate, 84 to test, no label below 18%.
Three training labels are wrong on purpose; their rationales begin with the mark of a doubtful label. Each training
record has a written rationale and micro-rule, so the demo needs no teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

import dspy
from pydantic import BaseModel

from ..errors import DataError
from ..ledger.jsonl import read_jsonl
from ..rules import MicroRule
from ..task.splits import Splits

__all__ = ["LABELS", "Claim", "load", "rationales_file", "student"]

Budget = Literal["travel", "food", "office", "personal"]

LABELS: tuple[str, ...] = get_args(Budget)
"""The label set, in the order of the signature."""


class Claim(dspy.Signature):
    """Name the budget that an employee's expense claim is booked to."""

    text: str = dspy.InputField(desc="the claimant's note")
    budget: Budget = dspy.OutputField()


class _Record(BaseModel):
    """One line of the records file."""

    id: str
    split: Literal["train", "val", "test"]
    text: str
    label: Budget


def student() -> dspy.Module:
    """Return the program to instruct: one predictor, without any policy."""
    return dspy.Predict(Claim)


def rationales_file() -> Path:
    """Return the path of the written rationales: one micro-rule for each training record, one a line."""
    return _packaged("rationales.jsonl")


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Read the claims.

    Args:
        data: a JSON-lines file in the form of the packaged records (id, split, text, label); None reads those.
        rationales: micro-rules that the run will use; each must belong to a training record.
        seed: has no effect, since every record names its split; every program's ``load`` takes one.

    Returns:
        The splits, in the order of the file. Examples have ``id``, the input ``text`` and the label ``budget``.

    Raises:
        DataError: the file is missing, a line is not a record, or a rationale is of no training record.
    """
    records = read_jsonl(data or _packaged("records.jsonl"), _Record)
    training = {record.id for record in records if record.split == "train"}
    strangers = [rule.example_id for rule in rationales if rule.example_id not in training]
    if strangers:
        raise DataError(
            f"{len(strangers)} rationales are of no training record, the first of {strangers[0]!r}. "
            "Give rationales of the training split only."
        )
    return Splits(**{split: _examples(records, split) for split in ("train", "val", "test")})


def _packaged(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))


def _examples(records: Sequence[_Record], split: str) -> list[dspy.Example]:
    return [
        dspy.Example(id=record.id, text=record.text, budget=record.label).with_inputs("text")
        for record in records
        if record.split == split
    ]
