"""A table's candidates as a best-arm method sees them: validation answers at one call each, and no test answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pld_dspy.errors import BudgetExceeded, DataError
from pld_dspy.scoring.f1 import Floats, Ints


class Arms:
    """Candidates whose validation answers can be read, each at the price of a call, until the budget is spent.

    Args:
        answers: arms x n label numbers; the number of labels where there is no answer.
        golds: n gold label numbers.
        labels: number of labels.
        use: arms x K, 1 where the arm has the rule.
        rule_labels: K label numbers, the label of each rule; -1 where it has none.
        budget: calls that may be made.

    Attributes:
        asked: arms x n, whether the answer has been paid for.
        calls: calls made so far.
        out_of_budget: whether the budget has refused a call.

    Raises:
        DataError: the budget is less than the cost of one arm on all examples.
    """

    def __init__(self, answers: Ints, golds: Ints, labels: int, use: Floats, rule_labels: Ints, budget: int) -> None:
        if budget < answers.shape[1]:
            raise DataError(f"A budget of {budget} is less than one evaluation, {answers.shape[1]} calls. Raise it.")
        self.golds, self.labels, self.use, self.rule_labels, self.budget = golds, labels, use, rule_labels, budget
        self.asked = np.zeros(answers.shape, dtype=bool)
        self.calls = 0
        self.out_of_budget = False
        self._answers = answers
        self._correct = answers == golds

    def __len__(self) -> int:
        """Return the number of arms."""
        return len(self.asked)

    @property
    def n(self) -> int:
        """Number of validation examples."""
        return len(self.golds)

    @property
    def calls_left(self) -> int:
        """Calls that may still be made."""
        return self.budget - self.calls

    def ask(self, arm: int, rows: Ints | None = None) -> bool:
        """Ask an arm about the examples ``rows`` (None: all) if the budget allows; return whether it did."""
        rows = np.arange(self.n) if rows is None else rows
        missing = len(rows) - int(np.count_nonzero(self.asked[arm, rows]))
        if missing > self.calls_left:
            self.out_of_budget = True
            return False
        self.calls += missing
        self.asked[arm, rows] = True
        return True

    def right(self, arm: int, rows: Ints) -> NDArray[np.bool_]:
        """Return which of ``rows`` the arm answered correctly."""
        self._check(arm, rows)
        return np.asarray(self._correct[arm, rows])

    def correct(self) -> NDArray[np.bool_]:
        """Return arms x n: whether the arm was asked about the example and answered correctly."""
        return np.asarray(self._correct & self.asked)

    def macro_f1(self, arm: int, rows: Ints | None = None) -> float:
        """Return the macro-F1 of an arm on ``rows`` (None: those it was asked about)."""
        rows = np.flatnonzero(self.asked[arm]) if rows is None else rows
        self._check(arm, rows)
        return macro_f1(self.golds[rows], self._answers[arm, rows], self.labels)

    def asked_in_full(self) -> list[int]:
        """Return the arms that were asked about every example."""
        return [int(arm) for arm in np.flatnonzero(self.asked.all(axis=1))]

    def _check(self, arm: int, rows: Ints) -> None:
        if not self.asked[arm, rows].all():
            raise BudgetExceeded(f"Arm {arm} was not asked about all of these examples. Call ask() before reading.")


def macro_f1(golds: Ints, answers: Ints, labels: int) -> float:
    """Return macro-F1 of label numbers, like ``pld_dspy.scoring.figures.macro_f1`` of labels, but faster."""
    counts = np.bincount(golds * (labels + 1) + answers, minlength=(labels + 1) ** 2).reshape(labels + 1, labels + 1)
    sums = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * counts.diagonal() / np.maximum(sums, 1))[:labels].mean())
