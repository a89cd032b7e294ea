"""The student as a function of its rules: answers through the ledger, and their score."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import dspy
import numpy as np

from ..errors import DataError, TooManyErrors
from ..ledger.answer import NO_PREDICTION, Answer
from ..ledger.ledger import Ledger
from ..ledger.recorded import CUT
from ..rules import RuleSet
from ..scoring.f1 import Floats
from ..scoring.objective import Objective
from ..scoring.score import Score, score
from ..task.labels import COLLECTIONS, LABEL_LOGPROBS
from ..task.task import Task, cut
from .compose import with_rules
from .watch import watched


@dataclass(frozen=True)
class Evaluation:
    """A student's answers to some examples, and their score."""

    labels: list[str | None]
    answers: list[Answer]
    score: Score


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """The student as a function of its rules."""

    student: dspy.Module  # never changed
    task: Task
    ledger: Ledger
    objective: Objective = Objective()  # noqa: RUF009 - frozen
    lm: dspy.BaseLM | None = None  # lm and adapter: the configured ones where None
    adapter: dspy.Adapter | None = None
    seed: int = 0  # of the bootstrap intervals
    seen: set[bool] = field(default_factory=set, repr=False, compare=False)  # whether without rules: watched already

    def answers(
        self,
        rules: RuleSet | None,
        examples: Sequence[dspy.Example],
        *,
        stage: str,
        on_answer: Callable[[], object] | None = None,
    ) -> list[Answer]:
        """Return the student's answers to ``examples`` under ``rules`` (None: the student as it came).

        A copy is asked in any case, so that nothing which the program keeps from one call reaches another rule set.
        """
        program = with_rules(self.student, self.task, rules)
        # Once without rules and once with: a callback makes each call of a program slower by a sixth.
        first = (rules is None) not in self.seen
        with watched(program, student=self.student, task=self.task) if first else nullcontext():
            found = self.ledger.ask(
                program,
                [self.task.arguments(example) for example in examples],
                role="student",
                stage=stage,
                lm=self.lm,
                adapter=self.adapter,
                on_answer=on_answer,
                plainer=None if rules is None else self.student,
            )
        self.seen.add(rules is None)
        return found

    def unanswered(self, rules: RuleSet | None, examples: Sequence[dspy.Example]) -> set[str]:
        """Return the keys of the calls that :meth:`answers` would make; none is made."""
        program, inputs = with_rules(self.student, self.task, rules), map(self.task.arguments, examples)
        return self.ledger.unanswered(program, [*inputs], self.lm, self.adapter)

    def check_program(self, example: dspy.Example) -> None:
        """Ask one example; DataError if the program does not give a prediction with the label field."""
        [answer] = self.answers(None, [example], stage="baseline")
        field, name = self.task.label_field, type(self.student).__name__
        if (answer.error or "").startswith(NO_PREDICTION):
            raise DataError(
                f"The program {name} returned {(answer.error or '').removeprefix(NO_PREDICTION)}. Return "
                f"dspy.Prediction({field}=...) from it, or what a predictor returned."
            )
        if answer.outputs is not None and field not in answer.outputs:
            raise DataError(
                f"The prediction of the program {name} has the fields {', '.join(answer.outputs) or '(none)'}, and "
                f"the label field {field!r} is not among them. Return dspy.Prediction({field}=...) from it."
            )

    def check_readable(self, answers: Sequence[Answer]) -> None:
        """Raise TooManyErrors, before more calls are paid for, if none of the student's ``answers`` is a label."""
        if not answers or any(self.task.read(answer.outputs) is not None for answer in answers):
            return
        first = "; ".join(list(dict.fromkeys(map(self._shown, answers)))[:5])
        raise TooManyErrors(
            f"None of the student's first {len(answers)} answers is in the label set "
            f"({cut(', '.join(self.task.labels), 200)}). It answered {first}. "
            f"Check that the adapter suits the model, that the signature asks for {self.task.label_field!r}, and that "
            "the label set is the one you mean, then compile anew with resume=False (--fresh). Where rules are to "
            "teach the labels, set max_errors to the number of validation examples."
        )

    def _shown(self, answer: Answer) -> str:
        outputs = answer.outputs or {}
        if answer.error and CUT in answer.error:
            return f"({answer.error})"
        given = answer.raw or outputs.get(self.task.label_field) or outputs
        return repr(str(given)[:200]) if given else f"({answer.error or 'nothing'})"

    def labels(self, rules: RuleSet | None, examples: Sequence[dspy.Example], *, stage: str) -> list[str | None]:
        """Return the student's labels for ``examples`` under ``rules``; None for a failed or unknown answer."""
        return [self.task.read(answer.outputs) for answer in self.answers(rules, examples, stage=stage)]

    def value(self, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> float:
        """Return the objective of ``answers`` to ``examples``."""
        return self.objective.value(self.task, examples, self.predictions(examples, answers))

    def predictions(self, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> list[dspy.Prediction]:
        """Return ``answers`` to ``examples`` as predictions, with labels of the gold label's type; empty if failed."""
        field = self.task.label_field
        found = [dspy.Prediction(**(answer.outputs or {})) for answer in answers]
        for example, prediction in zip(examples, found, strict=True):
            if prediction.get(field) is not None:
                prediction[field] = _typed_like(example[field], prediction[field])
        return found

    def feedback(self, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> list[str]:
        """Return what the user's metric says of each answer; empty where it says nothing, or there is none."""
        name = self.task.predictor
        predictor = dict(self.student.named_predictors())[name]
        return [
            self.objective.feedback(example, prediction, name=name, predictor=predictor)
            for example, prediction in zip(examples, self.predictions(examples, answers), strict=True)
        ]

    def evaluate(
        self,
        rules: RuleSet | None,
        examples: Sequence[dspy.Example],
        *,
        stage: str,
        on_answer: Callable[[], object] | None = None,
    ) -> Evaluation:
        """Ask all of ``examples`` under ``rules`` (None: the student as it came) and score the answers."""
        return self.scored(examples, self.answers(rules, examples, stage=stage, on_answer=on_answer))

    def scored(self, examples: Sequence[dspy.Example], answers: Sequence[Answer]) -> Evaluation:
        """Return answers to ``examples`` with their score."""
        labels = [self.task.read(answer.outputs) for answer in answers]
        golds, objective = self.task.golds(examples), self.value(examples, answers)
        scored = score(golds, labels, self.task.labels, objective=objective, seed=self.seed)
        return Evaluation(labels, list(answers), scored)


def logprobs_of(answers: Sequence[Answer], task: Task) -> Floats:
    """Return the label log-probabilities of n answers, n x C; a row of NaN for an answer without them."""
    rows = [(answer.outputs or {}).get(LABEL_LOGPROBS) or {} for answer in answers]
    matrix = [[row.get(label, np.nan) for label in task.labels] for row in rows]
    return np.array(matrix, dtype=np.float64).reshape(len(rows), len(task.labels))


def _typed_like(gold: Any, given: Any) -> Any:
    """Return an answer as its gold label's type: the ledger keeps an Enum's value, and a list for a set or tuple."""
    if isinstance(gold, Enum):
        return next((member for member in type(gold) if member.value == given), given)
    if isinstance(gold, COLLECTIONS) and isinstance(given, list) and all(isinstance(one, Hashable) for one in given):
        members = next((type(label) for label in gold if isinstance(label, Enum)), None)
        by_value = {member.value: member for member in members or ()}
        return type(gold)(by_value.get(label, label) for label in given)
    return given
