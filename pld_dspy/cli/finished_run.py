"""A finished run, opened again: its program, its test examples, and scores of both."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import dspy
import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from ..calibrate.calibrated import Calibrated
from ..calibrate.calibration import Answered, SavedCalibration
from ..calibrate.confidence import are_right, count_answered
from ..calibrate.precedents import Precedents
from ..compile.context import CompileContext
from ..compile.fingerprint import fingerprint
from ..compile.inputs import check_inputs
from ..errors import DataError, RunError
from ..ledger.answer import Answer
from ..ledger.keys import unconnected_lm
from ..ledger.ledger import Ledger
from ..ledger.patience import PATIENCE
from ..release.recheck import Recheck
from ..release.signature import check_program
from ..run.folder import RunFolder
from ..run.result import PLDResult
from ..scoring.objective import Objective
from ..scoring.slices import Slice, score_slices
from ..search.search_config import SearchConfig
from ..student.adapter import asking_for_logprobs
from ..student.compose import with_rules
from ..student.decision import set_prefix
from ..student.evaluator import Evaluation, Evaluator, logprobs_of
from ..student.frames import with_frame
from ..task.checks import check_examples
from ..task.tables import column_texts, examples, read_rows
from ..task.task import Task, example_id
from .run_spec import ModelSpec, RunSpec

if TYPE_CHECKING:
    from .options import StudentServer

EVALUATE = "evaluate"
"""Stage of what is asked of a finished run's program."""

_File = TypeVar("_File", bound=BaseModel)


@dataclass(frozen=True)
class Wrong:
    """An example that was answered wrong; a failed call has no answer (None)."""

    example: str  # its id, or its row
    gold: str
    answer: str | None
    text: str


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of the command line; a missing, unfinished or damaged run raises RunError."""

    folder: RunFolder
    result: PLDResult
    spec: RunSpec
    task: Task

    @classmethod
    def open(cls, path: Path) -> FinishedRun:
        """Open the run in the folder ``path``."""
        result = PLDResult.load(path)
        check_program(path, result)
        folder = RunFolder(path)
        spec = RunSpec.read(folder)
        try:
            task = TypeAdapter(Task).validate_python(folder.settings().get("task"))
        except ValidationError as error:
            raise RunError(f"{folder.config} is damaged: {error}. Compile again.") from error
        return cls(folder, result, spec, task)

    def model(self, server: StudentServer) -> ModelSpec:
        """Return the run's own model, at another address if one is given; DataError if it cannot be used."""
        model = self.spec.student.at(server.student_api_base, server.student_api_key_env)
        model.check()
        return model

    @property
    def calibrated(self) -> bool:
        """Whether the run fitted offsets."""
        return self.folder.calibration.is_file()

    @property
    def calibration(self) -> SavedCalibration:
        """The calibration in the run folder."""
        return self._read(SavedCalibration, self.folder.calibration)

    @property
    def precedents(self) -> Precedents | None:
        """The precedents in the run folder; None where the program weighs none."""
        path = self.folder.precedents
        return self._read(Precedents, path) if path.is_file() else None

    @staticmethod
    def _read(kind: type[_File], path: Path) -> _File:
        try:
            return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            cause = error.errors()[0]["msg"]
            raise RunError(f"{path} is damaged: {cause}. Compile again, or delete it to do without.") from error

    def program(self, *, calibrated: bool = True) -> dspy.Module:
        """Return the compiled program; if ``calibrated``, within ``Calibrated`` where the run has a calibration."""
        program = self.spec.source.student()
        predictors = program.predictors()
        own = [dict(vars(predictor)) for predictor in predictors]
        path = self.folder.program
        try:
            program.load_state(json.loads(path.read_bytes()))
            for predictor, before in zip(predictors, own, strict=True):
                predictor.signature.instructions.strip()  # raises where the file has no text, which DSPy takes
                # A file from elsewhere may set any attribute, such as an LM or a config with a server's address.
                loaded = {name: getattr(predictor, name) for name in ("signature", "demos", "fields")}
                vars(predictor).clear()
                vars(predictor).update({**before, **loaded, "demos": [dict(demo) for demo in loaded["demos"]]})
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(f"Cannot load {path}: {type(error).__name__}: {error}. Compile again.") from error
        if not (calibrated and self.calibrated):
            return program
        saved = self.calibration
        return Calibrated(
            program, saved, threshold=saved.threshold, precedents=self.precedents, target=self.task.predictor
        )

    def framed(self) -> dspy.Module:
        """Return the program without the rules, under the frame that the compile chose."""
        compiled = dict(self.program(calibrated=False).named_predictors())[self.task.predictor].signature
        frame = {field: prefix for field in compiled.fields if (prefix := set_prefix(compiled, field))}
        return with_frame(self.spec.source.student(), self.task, frame)

    def examples(self, data: str | None) -> list[dspy.Example]:
        """Return the examples of the table ``data``, whose columns are the program's fields, else the test split."""
        if data is not None:
            separator = getattr(self.spec.source, "separator", None)
            rows = read_rows(data, "test")
            found = examples(rows, self.task.inputs, self.task.label_field, source=data, separator=separator)
            found = [row.without("id") if "id" in row else row for row in found]
        elif not (found := self.spec.load()[1]["testset"]):
            raise DataError(f"{self.folder.path} has no test split. Give labelled rows with --data.")
        else:
            self._check_same(found, "test", ", or give the rows with --data")
        check_examples(self.task, found, split="test")
        return found

    def columns(self, names: Sequence[str], data: str | None, examples: Sequence[dspy.Example]) -> dict[str, list[str]]:
        """Return the values of columns beside what :meth:`examples` made of ``data``; DataError if one is missing.

        Where a program made the test split, they are the fields of its examples.
        """
        if not names:
            return {}
        table = data or getattr(self.spec.source, "test", None)
        rows = read_rows(table, "test") if table else [dict(example.items()) for example in examples]
        return {name: column_texts(rows, name, source=table or "The test split") for name in names}

    def _check_same(self, found: Sequence[dspy.Example], split: str, way: str = "") -> None:
        if fingerprint(found) != self.folder.settings()["data"].get(split):
            raise DataError(
                f"The {split} split of {self.folder.path} is no longer the one that was compiled with: its source has "
                f"changed. Restore it{way}."
            )

    @contextmanager
    def opened(self, lm: dspy.BaseLM | None = None) -> Iterator[CompileContext]:
        """Give the context of the run's compile, to ask its student under any rules; no call is made here.

        It has the ledger of the compile: answers from there cost nothing, and new ones are kept with them. Without
        ``lm``, these answers are all that can be had.

        Raises:
            DataError: the data or the program is no longer what was compiled.
        """
        document, spec = self.folder.settings(), self.spec
        settings, target = document["settings"], self.task.predictor
        with dspy.context(lm=lm or unconnected_lm(document["student"]["lm"]), adapter=spec.dspy_adapter()):
            data = {**spec.load()[1], "rules": None}  # their file may be gone by now
            context = check_inputs(self.framed(), **data, target=target, duplicates=spec.duplicates, seed=spec.seed)
            for name, split in context.splits.non_empty():
                self._check_same(split, name)
            program = with_rules(context.student, context.task, self.result.rules or None)
            if dict(program.named_predictors())[target].signature.instructions != self.result.instructions:
                raise DataError(
                    f"The program's own instructions are no longer those that {self.folder.path} was compiled with. "
                    "Restore them, or compile again."
                )
            asks = settings["calibrate"] or SearchConfig(**settings["search"]).learns_from_logprobs
            context.open(
                self.folder,
                self._ledger(self.folder.predictions, spec.student),
                objective=Objective(settings["objective"]),
                adapter=asking_for_logprobs(None) if asks else dspy.settings.adapter,
            )
            yield context

    def kept(self, context: CompileContext, split: str) -> Evaluation | None:
        """Return what the program answers to "validation" or "test", by what the run keeps; no call is made.

        None where one is missing, or the split is. Where the run is calibrated, answers have their confidence.
        """
        rules, offsets = self.result.rules, self.calibration if self.calibrated else None
        recheck = Recheck(
            context=context, before=rules, after=rules, changes=(), offsets=offsets, precedents=self.precedents
        )
        evaluator = replace(context.evaluator, student=self.program(calibrated=False))
        examples = recheck.examples(split)
        if not examples or evaluator.unanswered(None, examples):
            return None
        found = recheck.as_delivered(split, examples, evaluator.evaluate(None, examples, stage=EVALUATE))
        if offsets is None:
            return found
        sure = offsets.answer(logprobs_of(found.answers, context.task), found.labels)[1].tolist()
        answers = [
            replace(answer, outputs={**(answer.outputs or {}), "confidence": value})
            for answer, value in zip(found.answers, sure, strict=True)
        ]
        return replace(found, answers=answers)

    def kept_test(self) -> Evaluation | None:
        """Return :meth:`kept` of test; None as well if data or program are not what was compiled any more."""
        try:
            with self.opened() as context:
                return self.kept(context, "test")
        except DataError:
            return None

    @contextmanager
    def asking(
        self,
        student: dspy.Module,
        examples: Sequence[dspy.Example],
        model: ModelSpec,
        on_calls: Callable[[int], object] = lambda calls: None,
    ) -> Iterator[Evaluator]:
        """Give an evaluator that asks a program about ``examples``; answers are kept in the run folder.

        The run's own model is loaded only if an answer is missing. ``on_calls`` is first given the number of calls.
        """
        ledger = self._ledger(self.folder.path / "evaluations.jsonl", model)
        evaluator = Evaluator(student=student, task=self.task, ledger=ledger, seed=self.spec.seed)
        known = unconnected_lm(self.folder.settings()["student"]["lm"]) if model == self.spec.student else model.lm()
        with dspy.context(lm=known, adapter=self.spec.dspy_adapter()):
            on_calls(calls := len(evaluator.unanswered(None, examples)))
            with dspy.context(lm=model.lm() if calls else known):
                yield evaluator

    @staticmethod
    def _ledger(path: Path, model: ModelSpec) -> Ledger:
        return Ledger(path, num_threads=1 if model.is_local else dspy.settings.num_threads, patience=PATIENCE)

    def slices(
        self, columns: Mapping[str, Sequence[str]], examples: Sequence[dspy.Example], evaluation: Evaluation
    ) -> dict[str, list[Slice]]:
        """Return the scores by value of each of the :meth:`columns`."""
        golds, labels = self.task.golds(examples), self.task.labels
        return {
            name: score_slices(values, golds, evaluation.labels, labels, seed=self.spec.seed)
            for name, values in columns.items()
        }

    def wrong(self, examples: Sequence[dspy.Example], evaluation: Evaluation) -> list[Wrong]:
        """Return the examples that were answered wrong, in their order."""
        rows = enumerate(zip(examples, self.task.golds(examples), evaluation.labels, strict=True))
        return [
            Wrong(example_id(example, row), gold, answer, self.task.text(example))
            for row, (example, gold, answer) in rows
            if gold != answer
        ]

    def answered(self, examples: Sequence[dspy.Example], evaluation: Evaluation) -> Answered | None:
        """Return how much is answered with the run's threshold; None without a threshold or a wanted error rate."""
        saved = self.calibration
        if not saved.abstains:
            return None
        confidence = np.array(confidences_of(evaluation.answers))
        right = are_right(evaluation.labels, self.task.golds(examples))
        return count_answered(confidence, right, saved.threshold)


def confidences_of(answers: Sequence[Answer]) -> list[float]:
    """Return the confidences that a calibrated program gave with its answers; NaN for an answer without one."""
    given = [(answer.outputs or {}).get("confidence") for answer in answers]
    return [math.nan if value is None else value for value in given]
