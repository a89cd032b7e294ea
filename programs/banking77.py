"""BANKING77: what does a customer of an online bank want?

Source: Casanueva et al. 2020, "Efficient intent detection with dual sentence encoders", CC BY 4.0; the published
training messages, each with one of 77 intents. Training, validation and test sets are all drawn from these; the
published test messages are not used. Prompt-Level Distillation (arXiv 2602.21103) reports no result on this set.

By default the program decides among the twelve intents of ``SUBSET``, which are easily confused (a card that is
late, or not yet due; a transfer that is pending, failed, or lost). With recorded rationales, only messages of the
intents in these are loaded. For all 77 intents, write a program file that names them::

    from functools import partial
    from pathlib import Path

    from programs import banking77

    labels = banking77.intents(Path("FOLDER"))
    student = partial(banking77.student, labels)
    load = partial(banking77.load, labels=labels)

and give it to ``pld-dspy compile --program FILE.py --data FOLDER``.

Splits: the messages of recorded rationales are training data. Of the other messages, copies (the same text but for
case, spacing and punctuation) of each other or of training messages are left out; the rest is dealt out by intent.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import dspy
from pydantic import TypeAdapter, ValidationError

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits, normalized
from pld_dspy.task.tables import read_rows
from programs.published import deal, distinct, find_file, recorded

ConfusedIntent = Literal[
    "card_arrival",
    "card_delivery_estimate",
    "card_not_working",
    "declined_card_payment",
    "declined_cash_withdrawal",
    "failed_transfer",
    "lost_or_stolen_card",
    "pending_card_payment",
    "pending_top_up",
    "pending_transfer",
    "top_up_failed",
    "transfer_not_received_by_recipient",
]
SUBSET: tuple[str, ...] = get_args(ConfusedIntent)

FILES = ("banking77_train.csv", "train.csv")
INTENT_FILES = ("banking77_categories.json", "categories.json")
HUB = "legacy-datasets/banking77"  # PolyAI/banking77 is a loading script, which datasets 4 and later refuse
TRAIN, VAL, TEST = 10, 10, 25
"""Most messages per intent."""


class Intent(dspy.Signature):
    """Name the intent of a customer's message to the bank."""

    text: str = dspy.InputField()
    intent: ConfusedIntent = dspy.OutputField()


def student(labels: Sequence[str] = SUBSET) -> dspy.Module:
    """Return the program that will get the rules: one bare predictor that chooses among ``labels``."""
    return dspy.Predict(Intent.with_updated_fields("intent", type_=Literal.__getitem__(tuple(labels))))


def intents(data: Path) -> tuple[str, ...]:
    """Return all intents, read from ``banking77_categories.json`` (or ``categories.json``) in the folder.

    Raises:
        DataError: the file is missing or no list of names.
    """
    path = find_file(data, INTENT_FILES)
    try:
        return tuple(TypeAdapter(list[str]).validate_json(path.read_bytes()))
    except ValidationError as error:
        raise DataError(f"{path}: {error.errors()[0]['msg']}. Give the published JSON list of intents.") from error


def load(
    data: Path | None = None,
    *,
    rationales: Sequence[MicroRule] = (),
    seed: int = 0,
    labels: Sequence[str] | None = None,
) -> Splits:
    """Load the messages and split them by intent.

    Args:
        data: a folder with ``banking77_train.csv`` (or ``train.csv``), or that file; None loads the public hub's copy.
        rationales: recorded micro-rules; their messages are the training set. For intents without any, training
            messages are drawn like the others.
        seed: of the draw.
        labels: the intents to load; where None, the labels of ``rationales``, or ``SUBSET`` if there are none.

    Returns:
        The training set (10 messages per intent if drawn), validation set (10) and test set (up to 25).

    Raises:
        DataError: the file is missing or not in its published form, or holds no message of one of ``labels``.
    """
    wanted = dict.fromkeys(labels or [rule.label for rule in rationales] or SUBSET)
    messages = [message for message in _messages(data) if message.intent in wanted]
    absent = set(wanted) - {message.intent for message in messages}
    if absent:
        raise DataError(f"No message has the intent {min(absent)!r}. Give BANKING77, and names of its intents.")
    train = recorded(messages, rationales)
    rest = list(distinct(messages, lambda message: normalized(message.text), apart=train))
    random.Random(seed).shuffle(rest)
    covered = {message.intent for message in train}
    val, test = deal((message for message in rest if message.intent in covered), "intent", (VAL, TEST))
    others = (message for message in rest if message.intent not in covered)
    drawn, more_val, more_test = deal(others, "intent", (TRAIN, VAL, TEST))
    return Splits([*train, *drawn], [*val, *more_val], [*test, *more_test])


def _messages(data: Path | None) -> Iterator[dspy.Example]:
    """Yield all messages; their ids hold their rows, counted from 0."""
    source = HUB if data is None else str(find_file(data, FILES))
    label = "label" if data is None else "category"
    for number, row in enumerate(read_rows(source, "train")):
        for column in ("text", label):
            if row.get(column) is None:
                raise DataError(
                    f"{source} row {number}, counted from 0, has no {column}. Give BANKING77 in its published form: "
                    "text and category."
                )
        fields = {"id": f"banking77-train-{number}", "text": row["text"], "intent": row[label]}
        yield dspy.Example(fields).with_inputs("text")
