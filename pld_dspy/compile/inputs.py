"""What a compile is given, checked and brought into one form before the first call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dspy

from ..errors import DataError
from ..explain import match_records
from ..ledger.jsonl import read_jsonl
from ..ledger.keys import adapter_settings, digest, lm_settings, program_state
from ..rules import MicroRule, strip_rules
from ..scoring.objective import Objective
from ..student.predictor_inputs import Reader
from ..task.checks import check_calibratable, check_disjoint, check_examples, check_training_labels
from ..task.splits import Splits, identity, stratified_halves
from ..task.task import Task, example_id, input_text
from ..teacher.teacher import Teacher, TeacherLike

VALIDATION_SHARE = 0.4
"""Of the training set, where no validation set is given."""

Rationales: TypeAlias = Sequence[MicroRule] | Path | str | None


@dataclass(frozen=True)
class Inputs:
    """Checked inputs of one compile."""

    student: dspy.Module
    task: Task
    splits: Splits
    recorded: list[MicroRule]
    teacher: Teacher | None
    instructions: str
    """The student's own, above any rules."""
    notes: list[str]
    """What a reader should know about how the inputs were taken."""
    reader: Reader
    """Gives what the deciding predictor reads of each example."""

    @property
    def reads_by_id(self) -> dict[str, dict[str, Any]]:
        """Training example id -> what the deciding predictor reads, by field."""
        return {example_id(example, row): self.reader.inputs(example) for row, example in enumerate(self.splits.train)}

    @property
    def texts_by_id(self) -> dict[str, str]:
        """Training example id -> what the deciding predictor reads, as text."""
        return {name: input_text(read) for name, read in self.reads_by_id.items()}

    def texts(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return what the deciding predictor reads of each of ``examples``, as text."""
        return [self.reader.text(example) for example in examples]

    def check_settings(self, *, objective: Objective, calibrate: bool) -> None:
        """Refuse settings that do not fit the labels.

        Raises:
            DataError: the objective names a label that there is not, or answers of several labels are to be calibrated.
        """
        objective.check(self.task.labels)
        check_calibratable(self.task, calibrate=calibrate)

    def check_explained(self) -> None:
        """Refuse records that contradict the examples, and examples that there is nothing to learn from.

        Raises:
            DataError: a record's label is not its example's; or no training example has a recorded micro-rule, and
                there is no teacher.
        """
        matched, _ = match_records(self.splits.train, self.task, self.recorded)
        if not matched and self.teacher is None:
            raise DataError(
                "No training example would get a micro-rule. Give a teacher, or rationales whose example_id or inputs "
                "match the training examples."
            )

    def check_student(self) -> None:
        """Refuse a student that has nothing to run on, before anything is paid or written.

        Raises:
            DataError: neither a predictor nor the settings have an LM.
        """
        if student_lm(self.student) is None:
            raise DataError(
                "The student has no language model. Call dspy.configure(lm=...) with local_lm() or any dspy.LM, or "
                "set one on the program."
            )

    def fingerprints(self) -> dict[str, str]:
        """Return a digest and the number of rows of each split, and of the recorded rationales."""
        found = {name: fingerprint(examples) for name, examples in self.splits.non_empty()}
        if self.recorded:
            dumped = [rule.model_dump() for rule in self.recorded]
            found["rationales"] = f"{digest(dumped)} ({len(dumped)} rows)"
        return found

    def settings(self, adapter: dspy.Adapter | None) -> dict[str, Any]:
        """Return what decides the outcome, besides the settings of PLD itself."""
        lm = student_lm(self.student)
        return {
            "task": asdict(self.task),
            "data": self.fingerprints(),
            "student": {"lm": lm_settings(lm), "program": digest(program_state(self.student, lm=lm))},
            "teacher": self.teacher and self.teacher.settings(),
            "adapter": adapter_settings(adapter),
        }


def prepare(
    student: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    testset: Sequence[dspy.Example] | None,
    teacher: TeacherLike,
    rationales: Rationales,
    target: str | None,
    context_tokens: int | None,
    seed: int,
) -> Inputs:
    """Check everything that can be checked without a call.

    Raises:
        DataError: the data does not fit the student, itself, or the label set; the message names the row.
    """
    train, notes = list(trainset), []
    task = Task.of(student, [*train, *(valset or ()), *(testset or ())] if train else [], target=target)
    reader = Reader(student, task)
    check_examples(task, train, split="training", context_tokens=context_tokens, text=reader.text)
    if valset is None:
        texts = [identity(task.text(example)) for example in train]  # a text that stands twice stays on one side
        train, val = stratified_halves(train, task.strata(train), share=VALIDATION_SHARE, seed=seed, groups=texts)
        notes.append(f"No validation set was given: {len(val)} training examples were set aside for it.")
    else:
        val = list(valset)
    check_training_labels(task, train)
    splits = Splits(train, val, list(testset or ()))
    for name, examples in (("validation", splits.val), ("test", splits.test)):
        if examples or name == "validation":
            check_examples(task, examples, split=name, context_tokens=context_tokens, text=reader.text)
    check_disjoint(task, splits)
    if task.untouched:
        notes.append(f"Predictors left as they were: {', '.join(task.untouched)}.")
    instructions = strip_rules(dict(student.named_predictors())[task.predictor].signature.instructions)
    return Inputs(
        student,
        task,
        splits,
        _recorded(rationales),
        Teacher.of(teacher, task=instructions),
        instructions,
        notes,
        reader,
    )


def fingerprint(examples: Sequence[dspy.Example]) -> str:
    """Return a digest of examples, and their number."""
    return f"{digest([example.toDict() for example in examples])} ({len(examples)} rows)"


def student_lm(student: dspy.Module) -> dspy.BaseLM | None:
    """Return the LM of the first predictor bound to one, else the configured one.

    Raises:
        DataError: the student is no program.
    """
    if not isinstance(student, dspy.Module):
        raise DataError(f"The student is a {type(student).__name__}. Give a dspy.Module, such as dspy.Predict(...).")
    return next((predictor.lm for predictor in student.predictors() if predictor.lm), dspy.settings.lm)


def _recorded(rationales: Rationales) -> list[MicroRule]:
    if isinstance(rationales, (str, Path)):
        return read_jsonl(Path(rationales), MicroRule)
    recorded = list(rationales or ())
    for number, record in enumerate(recorded):
        if not isinstance(record, MicroRule):
            raise DataError(
                f"Item {number} of rationales is a {type(record).__name__}. Give pld_dspy.MicroRule(...) only, or the "
                "path of a JSONL file."
            )
    return recorded
