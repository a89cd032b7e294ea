"""What an experiment compares, read from YAML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import dspy
import numpy as np
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from optimizers import OPTIMIZERS
from pld_dspy.cli.data_source import Program
from pld_dspy.errors import DataError, Stored
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.ledger.keys import digest
from pld_dspy.local.connect import resolve_lm
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits, near_identity
from pld_dspy.task.task import Task

CELLS = ("optimizers", "seeds", "labels")
"""Settings of which each cell has one."""


class Experiment(Stored):
    """One experiment.

    Attributes:
        name: names the MLflow experiment and the work folder.
        program: module with ``student()`` and ``load(data, rationales=, seed=)``.
        data: folder of the published data; None if the program has its own.
        rationales: recorded micro-rules; None if the program has its own or there are none.
        student: the model, as the command line takes it.
        teacher: the model that writes rationales, instructions or rules for the optimizers that use one; where None,
            PLD has the recorded rationales alone, and the others ask the student itself.
        teacher_api_base: the teacher's address; its key is in OPENAI_API_KEY or the provider's own variable.
        adapter: "label" or "chat".
        optimizers: names from ``optimizers.OPTIMIZERS``.
        seeds: one cell per optimizer, seed and number of labels.
        labels: labelled examples per class, half of them to learn from and half to choose by; null for all there are.
        unseen: with ``labels``, score cells on the training and validation examples that were not drawn, in place of
            test: to choose between methods without a look at the test examples.
        objective: "macro_f1" or "accuracy": what optimizers maximize, and the table shows with its interval.
        budget: approximate number of student calls that compiling may take.
        prices: model, as ``student`` and ``teacher`` name it -> price per million prompt and completion tokens; for
            ``latency`` to say when a compile is paid back.
        tracking: MLflow tracking URI.
        folder: where cells keep their files.
    """

    name: str
    program: str
    data: Path | None = None
    rationales: Path | None = None
    student: str = "local"
    teacher: str | None = None
    teacher_api_base: str | None = None
    adapter: Literal["label", "chat"] = "label"
    optimizers: list[str] = Field(min_length=1)
    seeds: list[int] = Field(default=[0])
    labels: list[Annotated[int, Field(ge=2)] | None] = Field(default=[None])
    unseen: bool = False
    objective: Literal["macro_f1", "accuracy"] = "macro_f1"
    budget: int = Field(default=1200, gt=0)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    tracking: str = "sqlite:///mlflow.db"
    folder: Path = Path("runs/experiments")

    @model_validator(mode="after")
    def _has_unseen(self) -> Experiment:
        if self.unseen and None in self.labels:
            raise ValueError("unseen needs a number of labels per class: with all labels, no example is left")
        return self

    @field_validator("optimizers")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in OPTIMIZERS]
        if unknown:
            raise ValueError(f"there is no {unknown[0]!r}; choose among {', '.join(OPTIMIZERS)}")
        return names

    @classmethod
    def load(cls, path: Path, **settings: Any) -> Experiment:
        """Read an experiment.

        Args:
            path: the YAML file.
            settings: replace those of the file, unless None.

        Raises:
            DataError: the file is missing, or a setting is wrong; the message names it.
        """
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
            if not isinstance(found, dict):
                raise DataError(f"{path} holds a {type(found).__name__}. Give settings, one per line, as NAME: VALUE.")
            return cls.model_validate(found | {name: value for name, value in settings.items() if value is not None})
        except (OSError, yaml.YAMLError) as error:
            raise DataError(f"Cannot read the experiment {path}: {error}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise DataError(f"{path}: {'.'.join(map(str, first['loc'] or ['settings']))}: {first['msg']}.") from error

    @property
    def source(self) -> Program:
        """The program and its data; what it gives raises DataError where there is no such module."""
        return Program(module=self.program, data=None if self.data is None else str(self.data))

    def teacher_lm(self) -> dspy.LM | None:
        """Return the teacher, without DSPy's cache; ModelError where it cannot be had."""
        return None if self.teacher is None else resolve_lm(self.teacher, api_base=self.teacher_api_base, cache=False)

    def micro_rules(self) -> list[MicroRule]:
        """Return the recorded micro-rules, by default those of the program, if it has any."""
        path = self.rationales or self.source.rationales_file()
        return [] if path is None else read_jsonl(path, MicroRule)

    def splits(self, micro_rules: Sequence[MicroRule], seed: int, labels: int | None = None) -> Splits:
        """Load the program's data; the examples of ``micro_rules`` become the training set.

        With ``labels`` per class, half of these are drawn from training examples and half from validation examples; a
        smaller draw is part of a larger one.
        """
        _, splits = self.source.load(micro_rules, seed)
        if labels is None:
            return splits
        task = Task.of(self.source.student(), [*splits.train, *splits.val])
        train, val = (_drawn(part, task.golds(part), labels // 2, seed) for part in (splits.train, splits.val))
        if not self.unseen:
            return Splits(train, val, splits.test)
        drawn = {near_identity(task.text(one)) for one in (*train, *val)}
        left = [one for one in (*splits.train, *splits.val) if near_identity(task.text(one)) not in drawn]
        return Splits(train, val, left)

    def cells(self) -> Iterator[Cell]:
        """Yield every combination of optimizer, seed and number of labels."""
        for seed in self.seeds:
            for labels in self.labels:
                for optimizer in self.optimizers:
                    yield Cell(self, optimizer, seed, labels)


def _drawn(examples: Sequence[dspy.Example], golds: Sequence[str], per_class: int, seed: int) -> list[dspy.Example]:
    left = Counter(dict.fromkeys(golds, per_class))
    taken = []
    for row in np.random.default_rng(seed).permutation(len(examples)).tolist():
        if left[golds[row]]:
            left[golds[row]] -= 1
            taken.append(row)
    return [examples[row] for row in sorted(taken)]


@dataclass(frozen=True)
class Cell:
    """One optimizer with one seed and number of labels on the experiment's program."""

    experiment: Experiment
    optimizer: str
    seed: int
    labels: int | None = None  # per class; None for all

    def __str__(self) -> str:
        labels = "" if self.labels is None else f", {self.labels} labels per class"
        return f"{self.optimizer} (seed {self.seed}{labels})"

    @property
    def key(self) -> str:
        """A digest of all that decides the cell's result; cells with the same key are run once."""
        left_out = {*CELLS, "tracking", "folder", "name", "teacher_api_base", "prices"}
        fixed = self.experiment.model_dump(mode="json", exclude=left_out)
        drawn = {} if self.labels is None else {"labels": self.labels}
        return digest({**fixed, "optimizer": self.optimizer, "seed": self.seed, **drawn})

    @property
    def folder(self) -> Path:
        """Where the cell keeps its files."""
        labels = "" if self.labels is None else f"-{self.labels}"
        return self.experiment.folder / self.experiment.name / f"{self.optimizer}-{self.seed}{labels}-{self.key[:6]}"
