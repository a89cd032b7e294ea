"""Ask the student validation examples under a candidate's rules, and score the answers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import dspy
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from ..scoring.offsets import match_gold
from ..student.evaluator import Evaluator, logprobs_of
from .trials import FinishedTrial


@dataclass
class Asker:
    """Asks the student for a search; ``calibrated`` as in ``RuleSearch``."""

    evaluator: Evaluator
    valset: Sequence[dspy.Example]
    calibrated: bool
    stage: str = "search"  # under which the calls are counted
    waited: float = field(default=0.0, init=False)  # seconds spent waiting for answers so far

    @cached_property
    def golds(self) -> list[str]:
        """The n gold labels."""
        return self.evaluator.task.golds(self.valset)

    def ask(self, trial: FinishedTrial, rows: NDArray[np.int64]) -> FinishedTrial:
        """Return the trial with the answers to further validation examples."""
        started = time.perf_counter()
        examples = [self.valset[row] for row in rows]
        answers, task = self.evaluator.answers(trial.rules, examples, stage=self.stage), self.evaluator.task
        self.waited += time.perf_counter() - started
        labels = [task.read(answer.outputs) for answer in answers]
        right = np.array([label == self.golds[row] for label, row in zip(labels, rows, strict=True)])
        table = logprobs_of(answers, task).round(3)
        further = replace(
            trial,
            rows=np.append(trial.rows, rows),
            correct=np.append(trial.correct, right),
            logprobs=np.vstack([trial.logprobs.reshape(-1, table.shape[1]), table]),
        )
        return redecided(further, self._gold_numbers) if self.calibrated else further

    def gold_logprob(self, trial: FinishedTrial) -> float:
        """Return the mean log-probability of the gold label, all labels weighing the same; NaN where one is missing.

        With the offsets that undo the student's leaning, if the search decides by them.
        """
        if not trial.has_logprobs.all():
            return math.nan
        gold, sums = self._gold_numbers[trial.rows], trial.logprobs
        if self.calibrated:
            sums = sums + match_gold(sums, gold)
        own = log_softmax(sums, axis=1)[np.arange(len(gold)), gold]
        return float(np.mean([own[gold == number].mean() for number in np.unique(gold)]))

    @cached_property
    def _gold_numbers(self) -> NDArray[np.int64]:
        return np.array([self.evaluator.task.labels.index(gold) for gold in self.golds])


def redecided(trial: FinishedTrial, gold: NDArray[np.int64]) -> FinishedTrial:
    """Return the trial decided with offsets that undo the student's leaning; ``gold``: numbers of the n gold labels.

    An answer without log-probabilities stays as it is.
    """
    if not trial.has_logprobs.any():
        return trial
    gold = gold[trial.rows]
    answers = (trial.logprobs + match_gold(trial.logprobs, gold)).argmax(axis=1)
    return replace(trial, correct=np.where(trial.has_logprobs, answers == gold, trial.correct))
