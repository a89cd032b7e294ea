"""Diagnosis: which training examples the student gets wrong, or only just right, the costliest confusions first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import dspy
import numpy as np
from scipy.special import softmax

from ..ledger.answer import Answer
from ..scoring.f1 import Floats
from ..student.evaluator import Evaluator
from ..task.task import Task
from .records import HardExample

NARROW = 1.0
"""A right answer is a narrow escape where its log-probability is less than this above another label's."""

MOST_SHOWN = 24
"""Hard examples in one prompt, and the characters of all their texts: with the rules, they should fit 8,192 tokens."""
SHOWN_CHARACTERS, MOST_CHARACTERS = 1_600, 12_000

LEFT_OUT = " [...] "


def find_hard_examples(
    sample: Mapping[str, dspy.Example],
    answers: Sequence[Answer],
    logprobs: Floats,
    evaluator: Evaluator,
    *,
    most: int,
    text: Callable[[dspy.Example], str],
) -> list[HardExample]:
    """Return at most ``most`` hard examples of each confusion, among n examples by their ids.

    A confusion is a gold label and the label that is answered, or nearly, in its place; the costliest comes first, and
    in it the surest errors. Where the n x C ``logprobs`` of an answer are NaN, it is an error or nothing.
    """
    examples, task = list(sample.values()), evaluator.task
    golds = task.golds(examples)
    sizes = Counter(label for gold in golds for label in _labels(gold, task))
    confusions: dict[tuple[str, str], list[tuple[float, int, HardExample]]] = defaultdict(list)
    for row, (name, gold, answer) in enumerate(zip(sample, golds, answers, strict=True)):
        label = task.read(answer.outputs)
        margin, chance, rival = _margin(gold, logprobs[row], task)
        if label is None or (label == gold and not margin < NARROW):  # no rule could change a missing answer
            continue
        # Where an answer only has too many labels, all gold ones count.
        own, given = _labels(gold, task), () if label == gold else _labels(label, task)
        missed = tuple(one for one in own if one not in given) or own
        hard = HardExample(
            example_id=name,
            text=text(examples[row]),
            gold=gold,
            rival=rival if label == gold else label,
            wrong=label != gold,
            missed=missed,
            cost=(1 - chance) * sum(1 / sizes[one] for one in missed),
        )
        confusions[hard.gold, hard.rival].append((-math.inf if math.isnan(margin) else margin, row, hard))
    costly = sorted(confusions.values(), key=lambda alike: -sum(one.cost for *_, one in alike))
    shown = [one for alike in costly for one in sorted(alike, key=lambda one: one[0])[:most]][:MOST_SHOWN]
    said = evaluator.feedback([examples[row] for _, row, _ in shown], [answers[row] for _, row, _ in shown])
    return [replace(one, feedback=words if one.wrong else "") for (*_, one), words in zip(shown, said, strict=True)]


def _margin(gold: str, logprobs: Floats, task: Task) -> tuple[float, float, str]:
    """Return the gold label's margin over the best other label, its probability, and that label.

    Of an answer without log-probabilities: NaN, 0 and an empty text.
    """
    if np.isnan(logprobs).any():
        return math.nan, 0.0, ""
    own = task.labels.index(gold)
    rival = int(np.where(np.arange(len(logprobs)) == own, -np.inf, logprobs).argmax())
    return float(logprobs[own] - logprobs[rival]), float(softmax(logprobs)[own]), task.labels[rival]


def as_shown(hard: Sequence[HardExample]) -> list[str]:
    """Return hard examples as the teacher reads them, long texts without their middle."""
    most = min(SHOWN_CHARACTERS, MOST_CHARACTERS // max(len(hard), 1))
    lines = []
    for one in hard:
        answer = f"its answer: {one.rival}" if one.wrong else f"its answer is right, but nearly {one.rival}"
        feedback = f"\nfeedback: {one.feedback}" if one.feedback else ""
        lines.append(f"{cut_middle(one.text, most)}\nright answer: {one.gold}; {answer}{feedback}")
    return lines


def cut_middle(text: str, most: int) -> str:
    """Return a text, a long one without its middle: its topic is often at the beginning, a question at the end."""
    half = (most - len(LEFT_OUT)) // 2
    return text if len(text) <= most else f"{text[:half]}{LEFT_OUT}{text[-half:]}"


def _labels(text: str, task: Task) -> tuple[str, ...]:
    return task.labels_of(text) or (text,)
