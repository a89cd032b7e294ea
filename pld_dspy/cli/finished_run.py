"""A finished run, taken up again: its program, its test examples, and fresh scores of either."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import dspy
from pydantic import TypeAdapter, ValidationError

from ..calibrate.calibrated import Calibrated
from ..calibrate.promise import Decisions, answered
from ..calibrate.result import Answered, Applied
from ..compile.inputs import fingerprint
from ..errors import DataError, RunError
from ..induce.config import InduceConfig
from ..ledger.budget import Budget
from ..ledger.ledger import Ledger
from ..pld import PLD
from ..resolve.config import ResolveConfig
from ..run.folder import RunFolder
from ..run.result import PLDResult
from ..scoring.score import Score
from ..search.config import SearchConfig
from ..student.evaluator import Evaluator
from ..task.checks import check_examples
from ..task.tables import examples, read_rows
from ..task.task import Task
from .run_spec import Command, Model

EVALUATIONS = "evaluations.jsonl"


@dataclass(frozen=True)
class Scored:
    """What a program did on labelled examples.

    Attributes:
        score: with every example answered, whatever the confidence.
        seconds: that the calls took when they were made.
        applied: the calibration that was used; None without one.
        answered: what is answered with its threshold; None where neither a threshold nor an error rate is known.
    """

    score: Score
    seconds: float
    applied: Applied | None = None
    answered: Answered | None = None

    @property
    def abstention(self) -> dict[str, Any]:
        """The wanted error rate, the threshold and what is answered with it, as plain data; empty without these."""
        if self.applied is None or self.answered is None:
            return {}
        wanted, threshold = self.applied.error_rate, self.applied.threshold
        return {"abstention": {"wanted": wanted, "threshold": threshold, **self.answered.model_dump()}}


@dataclass(frozen=True)
class Run:
    """A finished run of the command line."""

    folder: RunFolder
    result: PLDResult
    command: Command
    task: Task

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open the run in the folder ``path``.

        Raises:
            RunError: there is none, it is unfinished, or it was not compiled on the command line.
        """
        result = PLDResult.load(path)
        folder = RunFolder(path)
        settings = folder.settings()
        command = _command(folder)
        try:
            task = TypeAdapter(Task).validate_python(settings.get("task"))
        except ValidationError as error:
            raise RunError(f"{folder.config} is damaged: {error}. Compile again.") from error
        return cls(folder, result, command, task)

    @property
    def applied(self) -> Applied:
        """The calibration that the run folder holds.

        Raises:
            RunError: calibration.json is damaged.
        """
        try:
            return Applied.model_validate_json(self.folder.calibration.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise RunError(
                f"{self.folder.calibration} is damaged: {error.errors()[0]['msg']}. Compile again, or delete it to "
                "do without."
            ) from error

    @property
    def calibrated(self) -> bool:
        """Whether the run fitted offsets."""
        return self.folder.calibration.is_file()

    def program(self, *, calibrated: bool = True) -> dspy.Module:
        """Return the compiled program; LMs that the program itself is bound to are kept.

        Args:
            calibrated: with the run's calibration where it has one, as :class:`Calibrated`; False leaves it out.

        Raises:
            RunError: program.json or calibration.json is missing or damaged, or the source now gives another program.
        """
        program = self.command.source.student()
        bound = {name: predictor.lm for name, predictor in program.named_predictors()}
        try:
            program.load_state(json.loads(self.folder.program.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"Cannot load {self.folder.program}: {type(error).__name__}: {error}. Compile again."
            ) from error
        for name, predictor in program.named_predictors():
            predictor.lm = bound[name]
        if not (calibrated and self.calibrated):
            return program
        applied = self.applied
        return Calibrated(program, applied, threshold=applied.threshold, target=self.task.predictor)

    def examples(self, data: str | None) -> list[dspy.Example]:
        """Return the examples of a table that has the program's fields as columns, else the run's own test split.

        Raises:
            DataError: the table is unusable, or the run has no test split or its source gives another one by now.
        """
        if data is not None:
            separator = getattr(self.command.source, "separator", None)
            table, fields = read_rows(data, "test"), self.task.inputs
            rows = examples(table, fields, self.task.label_field, source=data, separator=separator)
            found = [row.without("id") if "id" in row else row for row in rows]  # other fields are no concern here
        elif not (found := self.command.loaded()[1]["testset"]):
            raise DataError(f"{self.folder.path} has no test split. Give labelled rows with --data.")
        elif fingerprint(found) != self.folder.settings()["data"].get("test"):
            raise DataError(
                f"The test split of {self.folder.path} is no longer the one that was compiled with: its source has "
                "changed. Restore it, or give the rows with --data."
            )
        check_examples(self.task, found, split="test")
        return found

    def score(
        self,
        student: dspy.Module,
        examples: Sequence[dspy.Example],
        *,
        model: Model | None = None,
        on_answer: Callable[[], object] | None = None,
    ) -> Scored:
        """Score a program under the run's adapter; answers are kept in the run folder and never asked for twice.

        Args:
            student: the compiled or the unchanged program.
            examples: labelled examples.
            model: what to run on; the run's own student where None.
            on_answer: called once an answer, for progress.

        Raises:
            ModelError: the model cannot be had or refuses.
            TooManyErrors: too many calls failed.
        """
        model = model or self.command.student
        ledger = Ledger(self.folder.path / EVALUATIONS, num_threads=1 if model.is_local else dspy.settings.num_threads)
        with dspy.context(lm=model.lm(cache=False), adapter=self.command.prompting()):
            evaluator = Evaluator(student=student, task=self.task, ledger=ledger, seed=self.command.seed)
            evaluation = evaluator.evaluate(None, examples, stage="evaluate", on_answer=on_answer)
        seconds = sum(answer.seconds for answer in evaluation.answers)
        if not isinstance(student, Calibrated) or not (applied := self.applied).abstains:
            return Scored(evaluation.score, seconds)
        given = [(answer.outputs or {}).get("confidence") for answer in evaluation.answers]
        confidence = [math.nan if value is None else value for value in given]
        decisions = Decisions.of(evaluation.labels, self.task.golds(examples), confidence)
        return Scored(evaluation.score, seconds, applied, answered(decisions, student.threshold))


def unfinished(path: Path) -> tuple[Command, PLD]:
    """Return what a compile that is under way in the folder ``path`` was told, and the same PLD again.

    Raises:
        RunError: there is none, it was not started on the command line, or config.yaml is damaged.
    """
    folder = RunFolder(path)
    try:
        settings = folder.settings()
        budget = Budget.of(settings.get("budget", {}))
        return _command(folder), _same_pld(path, settings["settings"], budget)
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder.config} is damaged: {error!r} in its settings. Compile again.") from error


def _same_pld(path: Path, plain: dict[str, Any], budget: Budget) -> PLD:
    """Return a PLD of the settings that config.yaml holds, and its budget: all who work on a search share the caps."""
    search = {field.name: plain[f"search_{field.name}"] for field in fields(SearchConfig) if field.name != "sampler"}
    return PLD(
        objective=plain["objective"],
        target=plain["target"],
        search=SearchConfig(**search),
        induce=InduceConfig(
            wordings=plain["induce_wordings"],
            draws=plain.get("induce_draws", 1),
            suspects=plain["induce_suspects"],
            audit=plain.get("induce_audit", "data"),
        ),
        resolve=ResolveConfig(max_rounds=plain["resolve_max_rounds"]) if "resolve_max_rounds" in plain else None,
        budget=budget,
        calibrate=plain.get("calibrate", False),
        error_rate=plain.get("error_rate"),
        run_dir=path,
        tracking=None,
        seed=plain["seed"],
    )


def _command(folder: RunFolder) -> Command:
    settings = folder.settings()
    if "command" not in settings:
        raise RunError(
            f"{folder.path} was compiled from Python, so this command cannot rebuild its program. Load program.json "
            "into your own with load(), or compile with pld-dspy."
        )
    try:
        return Command.model_validate(settings["command"])
    except ValidationError as error:
        raise RunError(f"{folder.config} is damaged: {error}. Compile again.") from error
