"""Mistakes: which training examples the student gets wrong, and what is known of each wrong answer."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..rules import RuleSet
from ..student.evaluator import Evaluator
from .pool import Pool

STAGE = "resolve"


@dataclass(frozen=True)
class Mistake:
    """A wrong answer to a training example.

    Attributes:
        row: of the pool.
        example_id: as rules name it in their support.
        gold: its label.
        answer: the student's label.
        cost: what it costs in recall of its labels, in [0, 1] each: a rare label's mistakes weigh more, as in macro-F1.
            One that stands for others of its kind bears a share of theirs.
        rule: id of the rule that it leans on; None where no single rule was found.
        feedback: what the user's metric says of it; empty where that says nothing.
        missed: the gold labels that a patch is to bring about, where the gold text may stand for several.
        wrong: the answered labels that it is to do away with, likewise.
    """

    row: int
    example_id: str
    gold: str
    answer: str
    cost: float
    rule: str | None = None
    feedback: str = ""
    missed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def mistakes(pool: Pool, answers: Sequence[str | None]) -> list[Mistake]:
    """Return the training examples answered wrong, the costliest confusions of two labels first.

    A missing answer is no mistake that a rule could mend, and is left out.

    Args:
        pool: n examples.
        answers: the student's n labels.
    """
    golds = (pool.golds[row] for row in pool.train.values())
    sizes = Counter(label for gold in golds for label in pool.task.labels_of(gold) or (gold,))
    found = [
        _mistake(pool, row, example_id, answer, sizes)
        for example_id, row in pool.train.items()
        if (answer := answers[row]) is not None and answer != pool.golds[row]
    ]
    cost: dict[tuple[str, str], float] = defaultdict(float)
    for one in found:
        cost[one.gold, one.answer] += one.cost
    return sorted(found, key=lambda one: (-cost[one.gold, one.answer], one.gold, one.answer, one.row))


def _mistake(pool: Pool, row: int, example_id: str, answer: str, sizes: Mapping[str, int]) -> Mistake:
    """Tell what is missed and what is wrong; where an answer only lacks labels or only has too many, all labels."""
    gold = pool.golds[row]
    golds, answered = pool.task.labels_of(gold), pool.task.labels_of(answer)
    missed = tuple(label for label in golds if label not in answered) or golds
    wrong = tuple(label for label in answered if label not in golds) or answered
    cost = sum(1 / sizes[label] for label in missed or (gold,))
    return Mistake(row, example_id, gold, answer, cost, missed=missed, wrong=wrong)


def commented(found: Sequence[Mistake], rules: RuleSet, pool: Pool, evaluator: Evaluator) -> list[Mistake]:
    """Return the mistakes with what the user's metric says of them.

    Args:
        found: the mistakes.
        rules: the set under which they were made; the ledger has the answers.
        pool: holds their examples.
        evaluator: the student, and the metric's feedback.
    """
    examples = pool.take(one.row for one in found)
    said = evaluator.feedback(examples, evaluator.answers(rules, examples, stage=STAGE))
    return [replace(one, feedback=words) for one, words in zip(found, said, strict=True)]
