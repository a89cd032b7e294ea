"""LogiQA: which of four options answers a question of logical reasoning about a short text?

Source: Liu et al. 2020, "LogiQA: A Challenge Dataset for Machine Reading Comprehension with Logical Reasoning", for
research use; the 651 published evaluation questions, translated from Chinese civil-service examinations, with all
errors of the translation. Prompt-Level Distillation (arXiv 2602.21103) reports accuracy 0.67 -> 0.70 with Gemma-3 4B,
the smallest gain among its tasks. Compile with ``--objective accuracy``.

Several questions may share a context. Splits are made by context, near-copies of a context counting as the same one.
The questions of recorded rationales are training data, and no question about their contexts is in another split; of
every other context, one question is drawn. The options keep their published order, in which D is right for 270 of 651
questions: always answering D has an accuracy of about 0.41.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import dspy

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits
from programs.published import distinct, families, find_file, from_hub, recorded

Letter = Literal["A", "B", "C", "D"]
LABELS: tuple[str, ...] = get_args(Letter)

FILES = ("logiqa_eval.txt", "Eval.txt")
PAGE = "https://github.com/lgw863/LogiQA-dataset"
HUB, HUB_REVISION = "lucasmccabe/logiqa", "refs/convert/parquet"
"""The hub's own copy in Parquet: the main branch is a loading script, which datasets 4 and later refuse."""

BLOCK = 8
"""Lines per question: a blank one, the answer's letter, the context, the question, and four options."""

TRAIN, VAL, TEST = 64, 80, 150


class Question(dspy.Signature):
    """Choose the option that answers the question about the context."""

    context: str = dspy.InputField()
    question: str = dspy.InputField()
    options: str = dspy.InputField()
    answer: Letter = dspy.OutputField()


def student() -> dspy.Module:
    """Return the program that will get the rules: one bare predictor."""
    return dspy.Predict(Question)


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Load the questions and split them by context.

    Args:
        data: a folder with ``logiqa_eval.txt`` (or ``Eval.txt``), or that file; None loads the public hub's copy.
        rationales: recorded micro-rules with ids ``logiqa-eval-N`` (N counts questions from 0); their questions are
            the training set. Where there are none, the training set is drawn like the others.
        seed: of the draw.

    Returns:
        The training set (64 questions if drawn), the validation set (80) and the test set (up to 150).

    Raises:
        DataError: the file is missing or not in its published form.
    """
    questions = list(_hub_questions() if data is None else _questions(find_file(data, FILES)))
    numbers = families([question.context for question in questions])
    family = dict(zip((question.id for question in questions), numbers, strict=True))
    train = recorded(questions, rationales)
    rest = list(distinct(questions, lambda question: family[question.id], apart=train))
    random.Random(seed).shuffle(rest)
    drawn = 0 if train else TRAIN
    end = drawn + VAL
    return Splits(train or rest[:drawn], rest[drawn:end], rest[end : end + TEST])


def _questions(path: Path) -> Iterator[dspy.Example]:
    try:
        # Not splitlines(): a text may hold U+2028 and the like.
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"Cannot read {path}: {error}. Give the file as published at {PAGE}.") from error
    for number, start in enumerate(range(0, len(lines), BLOCK)):
        block = [line.strip() for line in lines[start : start + BLOCK]]
        if fault := _fault(block):
            offset, reason = fault
            raise DataError(f"{path} line {start + offset + 1} {reason}. Give the file as published at {PAGE}.")
        _, letter, context, question, *options = block
        yield _example(number, context, question, options, letter.upper())


def _fault(block: Sequence[str]) -> tuple[int, str] | None:
    """Return the number of the first wrong line of a question, from 0, and what is wrong; None if all is well."""
    for offset, line in enumerate(block):
        if offset == 0 and line:
            return offset, "is not blank, as the first of a question's eight lines is"
        if offset == 1 and line.upper() not in LABELS:
            return offset, f"is {line[:40]!r} and not the letter of the answer"
        if offset > 1 and not line:
            return offset, "is blank within a question"
    return None if len(block) == BLOCK else (len(block) - 1, f"ends the file after {len(block)} of a question's lines")


def _hub_questions() -> Iterator[dspy.Example]:
    remedy = f"Get {FILES[1]} at {PAGE} and give it as the data."
    rows = from_hub(HUB, split="validation", revision=HUB_REVISION, remedy=remedy)
    for number, row in enumerate(rows):
        yield _example(number, row["context"], row["query"], row["options"], LABELS[int(row["correct_option"])])


def _example(number: int, context: str, question: str, options: Iterable[str], answer: str) -> dspy.Example:
    fields = {
        "id": f"logiqa-eval-{number}",
        "context": context,
        "question": question,
        "options": "\n".join(_option(letter, text) for letter, text in zip(LABELS, options, strict=True)),
        "answer": answer,
    }
    return dspy.Example(fields).with_inputs("context", "question", "options")


def _option(letter: str, text: str) -> str:
    """Return "LETTER. text"; most published options begin with "LETTER.", a few lost it in translation."""
    body = re.sub(rf"^{letter}\s*\.\s*", "", text.strip(), flags=re.IGNORECASE)
    return f"{letter}. {body}"
