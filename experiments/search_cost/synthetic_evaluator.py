"""A synthetic student with the interface of an evaluator; calls are counted by content."""

from __future__ import annotations

from collections.abc import Sequence

import dspy
import numpy as np
from numpy.typing import NDArray

from pld_dspy.ledger.answer import Answer
from pld_dspy.rules import RuleSet
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.scoring.objective import Objective

from .students import LABELS, TASK, Student
from .surface import Prompt


class SyntheticEvaluator:
    """A student on its validation examples, with the methods of ``Evaluator`` that searches use.

    As with a ledger, a call is one prompt with one example, and repeating it is free.

    Args:
        student: gives the answers.
    """

    def __init__(self, student: Student) -> None:
        self.task = TASK
        self.objective = Objective()
        self.calls = 0
        self._student = student
        self._rows = {example.id: row for row, example in enumerate(student.valset)}
        self._known: dict[Prompt, tuple[list[str], NDArray[np.bool_]]] = {}

    def labels(self, rules: RuleSet | None, examples: Sequence[dspy.Example], *, stage: str) -> list[str | None]:
        """Return the student's labels for ``examples`` under ``rules``."""
        prompt = self._student.prompt(rules)
        if prompt not in self._known:
            numbers = self._student.surface.answers(prompt, self._student.validation)
            self._known[prompt] = ([LABELS[number] for number in numbers], np.zeros(len(numbers), dtype=bool))
        labels, asked = self._known[prompt]
        rows = [self._rows[example.id] for example in examples]
        missing = [row for row in dict.fromkeys(rows) if not asked[row]]
        asked[missing] = True
        self.calls += len(missing)
        return [labels[row] for row in rows]

    def answers(self, rules: RuleSet | None, examples: Sequence[dspy.Example], *, stage: str) -> list[Answer]:
        """Return the same labels as answers of a ledger, without log-probabilities, as with some servers."""
        return [Answer(outputs={"label": label}) for label in self.labels(rules, examples, stage=stage)]

    def value(self, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> float:
        """Return macro-F1 of answers to ``examples``."""
        return macro_f1(self.task.golds(examples), [self.task.read(answer.outputs) for answer in answers], LABELS)
