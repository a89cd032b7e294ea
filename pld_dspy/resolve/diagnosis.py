"""Diagnosis: which training examples the student gets wrong, or only just right, the costliest confusions first."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import dspy
import numpy as np
from scipy.special import softmax

from ..rules import RuleSet
from ..scoring.f1 import Floats
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator
from ..student.redecide import logprobs_of, matching_offsets, redecide
from ..task.task import Task
from .records import STAGE, HardExample

NARROW = 1.0
"""A right answer is a narrow escape where its log-probability is less than this above another label's."""

MOST_SHOWN = 24
"""Hard examples in one prompt, and the characters of all their texts: with the rules, they should fit 8,192 tokens."""
SHOWN_CHARACTERS, MOST_CHARACTERS = 1_600, 12_000

LEFT_OUT = " [...] "


def find_hard_examples(
    rules: RuleSet | None,
    train: Mapping[str, dspy.Example],
    evaluator: Evaluator,
    *,
    most: int,
    text: Callable[[dspy.Example], str],
    calibrated: bool,
) -> list[HardExample]:
    """Ask the student ``train``, id -> example; return at most ``most`` hard examples of each confusion.

    A confusion is a gold label and the label that is answered, or nearly, in its place; the costliest comes first, and
    in it the surest errors. Without log-probabilities errors alone are found. ``calibrated``: answers are decided with
    offsets that undo the student's leaning.
    """
    examples, task = list(train.values()), evaluator.task
    answers = evaluator.answers(rules, examples, stage=STAGE)
    offsets = matching_offsets(answers, examples, task) if calibrated else Offsets.none(task.labels)
    answers = redecide(answers, offsets, evaluator)
    logprobs = logprobs_of(answers, task) + np.array(offsets.values)
    golds = task.golds(examples)
    sizes = Counter(label for gold in golds for label in _labels(gold, task))
    confusions: dict[tuple[str, str], list[tuple[int, HardExample]]] = defaultdict(list)
    for row, (name, gold, answer) in enumerate(zip(train, golds, answers, strict=True)):
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
            margin=-math.inf if math.isnan(margin) else margin,
            cost=(1 - chance) * sum(1 / sizes[one] for one in missed),
        )
        confusions[hard.gold, hard.rival].append((row, hard))
    costly = sorted(confusions.values(), key=lambda alike: -sum(one.cost for _, one in alike))
    surest = [sorted(alike, key=lambda pair: pair[1].margin)[:most] for alike in costly]
    shown = [pair for alike in surest for pair in alike][:MOST_SHOWN]
    said = evaluator.feedback([examples[row] for row, _ in shown], [answers[row] for row, _ in shown])
    return [replace(one, feedback=words if one.wrong else "") for (_, one), words in zip(shown, said, strict=True)]


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
