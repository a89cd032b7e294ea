"""The demo task: to which budget does the expense desk of an invented firm book a claim?

The desk follows the firm's own policy, which differs from common sense (driving and cycling belong to the office, a
present for a client is food, a drink is never the firm's), so a model has to learn it from the rules. The firm, its
people and customers, and all 240 claims were invented for this project: 96 to train on, 60 to validate, 84 to test,
each label at least 18% of them. Three training labels are wrong on purpose; their rationales begin with the mark of a
doubtful label. Every training claim has a written rationale and micro-rule, so the demo needs no teacher.
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

Budget = Literal["travel", "food", "office", "personal"]

LABELS: tuple[str, ...] = get_args(Budget)
"""The label set, in the order of the signature's type."""


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
    """Return the program that will get the rules: one predictor that does not know the policy."""
    return dspy.Predict(Claim)


def rationales_file() -> Path:
    """Return the path of the written rationales: a JSONL file with one micro-rule per training claim."""
    return _packaged("rationales.jsonl")


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Read the claims.

    Args:
        data: a JSONL file with id, split, text and label per line; the packaged claims where None.
        rationales: micro-rules that the run will use, all of training claims.
        seed: not used, since every claim has its split; all programs' ``load`` functions take a seed.

    Returns:
        The splits, in the order of the file. Examples have ``id``, the input ``text`` and the label ``budget``.

    Raises:
        DataError: the file is missing, a line is not a claim, or a rationale belongs to no training claim.
    """
    records = read_jsonl(data or _packaged("records.jsonl"), _Record)
    training = {record.id for record in records if record.split == "train"}
    strangers = [rule.example_id for rule in rationales if rule.example_id not in training]
    if strangers:
        raise DataError(
            f"{len(strangers)} rationales belong to no training claim, the first to {strangers[0]!r}. "
            "Give rationales of the training split only."
        )
    splits: dict[str, list[dspy.Example]] = {"train": [], "val": [], "test": []}
    for record in records:
        example = dspy.Example(id=record.id, text=record.text, budget=record.label)
        splits[record.split].append(example.with_inputs("text"))
    return Splits(**splits)


def _packaged(name: str) -> Path:
    return Path(str(files(__name__).joinpath(name)))
