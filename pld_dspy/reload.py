"""A finished run, taken up again: its program, its test examples, and fresh scores of either."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import dspy
from pydantic import TypeAdapter, ValidationError

from .calibration import Calibrated, Offsets
from .command import Command, Model
from .data import examples, read_rows
from .errors import DataError, RunError
from .evaluation import Evaluator
from .induce import InduceConfig
from .ledger import Ledger
from .pld import PLD
from .resolve import ResolveConfig
from .result import PLDResult
from .run import RunFolder
from .scoring import Score
from .search import SearchConfig
from .task import Task, check_examples

EVALUATIONS = "evaluations.jsonl"


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
    def calibrated(self) -> bool:
        """Whether the run fitted offsets."""
        return self.folder.calibration.is_file()

    def program(self, *, calibrated: bool = True) -> dspy.Module:
        """Return the compiled program; LMs that the program itself is bound to are kept.

        Args:
            calibrated: with the run's calibration where it has one, as :class:`Calibrated`; False leaves it out.

        Raises:
            RunError: calibration.json is damaged.
        """
        program = self.command.source.student()
        bound = {name: predictor.lm for name, predictor in program.named_predictors()}
        program.load_state(json.loads(self.folder.program.read_text(encoding="utf-8")))
        for name, predictor in program.named_predictors():
            predictor.lm = bound[name]
        if not (calibrated and self.calibrated):
            return program
        try:
            offsets = Offsets.model_validate_json(self.folder.calibration.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise RunError(
                f"{self.folder.calibration} is damaged: {error.errors()[0]['msg']}. Compile again, or delete it to "
                "do without."
            ) from error
        return Calibrated(program, offsets, target=self.task.predictor)

    def examples(self, data: str | None) -> list[dspy.Example]:
        """Return the examples of a table that has the program's fields as columns, else the run's own test split.

        Raises:
            DataError: the table is unusable, or the run has no test split.
        """
        if data is not None:
            rows = examples(read_rows(data, "test"), self.task.inputs, self.task.label_field, source=data)
            found = [row.without("id") if "id" in row else row for row in rows]  # other fields are no concern here
        elif not (found := self.command.loaded()[1]["testset"]):
            raise DataError(f"{self.folder.path} has no test split. Give labelled rows with --data.")
        check_examples(self.task, found, split="test")
        return found

    def score(
        self,
        student: dspy.Module,
        examples: Sequence[dspy.Example],
        *,
        model: Model | None = None,
        on_answer: Callable[[], object] | None = None,
    ) -> tuple[Score, float]:
        """Score a program under the run's adapter; answers are kept in the run folder and never asked for twice.

        Args:
            student: the compiled or the unchanged program.
            examples: labelled examples.
            model: what to run on; the run's own student where None.
            on_answer: called once an answer, for progress.

        Returns:
            The score, and the seconds that the calls took when they were made.

        Raises:
            ModelError: the model cannot be had or refuses.
            TooManyErrors: too many calls failed.
        """
        model = model or self.command.student
        ledger = Ledger(self.folder.path / EVALUATIONS, num_threads=1 if model.is_local else dspy.settings.num_threads)
        with dspy.context(lm=model.lm(cache=False), adapter=self.command.prompting()):
            evaluator = Evaluator(student=student, task=self.task, ledger=ledger, seed=self.command.seed)
            evaluation = evaluator.evaluate(None, examples, stage="evaluate", on_answer=on_answer)
        return evaluation.score, sum(answer.seconds for answer in evaluation.answers)


def unfinished(path: Path) -> tuple[Command, PLD]:
    """Return what a compile that is under way in the folder ``path`` was told, and the same PLD again.

    Raises:
        RunError: there is none, it was not started on the command line, or config.yaml is damaged.
    """
    folder = RunFolder(path)
    plain = folder.settings()["settings"]
    search = {field.name: plain[f"search_{field.name}"] for field in fields(SearchConfig) if field.name != "sampler"}
    pld = PLD(
        objective=plain["objective"],
        target=plain["target"],
        search=SearchConfig(**search),
        induce=InduceConfig(wordings=plain["induce_wordings"], suspects=plain["induce_suspects"]),
        resolve=ResolveConfig(max_rounds=plain["resolve_max_rounds"]) if "resolve_max_rounds" in plain else None,
        calibrate=plain.get("calibrate", False),
        run_dir=path,
        tracking=None,
        seed=plain["seed"],
    )
    return _command(folder), pld


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
