"""Where a compile on the command line takes student and data from: a program module, or tables."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Literal

import dspy
from pydantic import Field

from ..errors import DataError, Stored
from ..rules import MicroRule
from ..task.splits import Splits
from ..task.tables import classifier, examples, label_set, read_rows
from ..task.task import Task, set_aside
from .options import DataOptions


class Program(Stored):
    """A module with ``student()`` and ``load(data, rationales=, seed=)``; errors in it are raised as DataError."""

    kind: Literal["program"] = "program"
    module: str  # importable name, or path of a .py file
    data: str | None = None  # path that ``load`` receives; None lets the module find its data itself

    @property
    def name(self) -> str:
        """A short name for run folders."""
        return Path(self.module).stem if self.module.endswith(".py") else self.module.rsplit(".", 1)[-1]

    @property
    def file(self) -> Path:
        """Where the module would lie if it were in or below the current folder."""
        module = self.module
        return Path(module if module.endswith(".py") else module.replace(".", "/")).resolve()

    def student(self) -> dspy.Module:
        """Return the program to instruct."""
        student = program_module(self.module).student()
        if not isinstance(student, dspy.Module):
            raise DataError(f"student() of {self.module} returns a {type(student).__name__}, not a dspy.Module.")
        return student

    def load(self, rationales: Sequence[MicroRule], seed: int) -> tuple[Program, Splits]:
        """Return this program, and its data."""
        path = None if self.data is None else Path(self.data)
        if path is not None and not path.exists():
            raise DataError(f"The data {path} does not exist, as seen from this folder. Give its path with --data.")
        splits = program_module(self.module).load(path, rationales=rationales, seed=seed)
        if not isinstance(splits, Splits):
            raise DataError(f"load() of {self.module} returns a {type(splits).__name__}, not pld_dspy.Splits.")
        return self, splits

    def rationales_file(self) -> Path | None:
        """Return the path that the module's ``rationales_file()`` returns; None without such a function."""
        find_file = getattr(program_module(self.module), "rationales_file", None)
        return None if find_file is None else Path(find_file())


class Tables(Stored):
    """Tables, and the plain classifier that is made for them; unusable tables and columns raise DataError."""

    kind: Literal["tables"] = "tables"
    train: str
    val: str | None = None
    test: str | None = None
    inputs: tuple[str, ...]
    label: str
    labels: tuple[str, ...] = ()
    separator: str | None = Field(default=None, min_length=1)
    several: bool = False  # whether the label column, once separated, holds lists of labels
    instructions: str | None = None

    @property
    def name(self) -> str:
        """A short name for run folders."""
        return Path(self.train).stem

    def student(self) -> dspy.Module:
        """Return a plain classifier."""
        return classifier(self.inputs, self.label, self.labels, self.instructions, several=self.several)

    def load(self, rationales: Sequence[MicroRule] = (), seed: int = 0) -> tuple[Tables, Splits]:
        """Return these tables with all gold labels as the label set, and the examples in them."""
        tables = ((self.train, "train"), (self.val, "validation"), (self.test, "test"))
        columns, separator = (self.inputs, self.label), self.separator
        found = (
            examples(read_rows(path, split), *columns, source=path, separator=separator) if path else []
            for path, split in tables
        )
        splits = Splits(*found)
        labels, several = label_set([*splits.train, *splits.val, *splits.test], self.label)
        return self.model_copy(update={"labels": labels, "several": several}), splits

    def rationales_file(self) -> None:
        """Return None: no rationales come with tables."""


class More(Stored):
    """Tables of further training examples, each of one update, and the columns that they have."""

    files: tuple[str, ...] = ()
    inputs: tuple[str, ...]
    label: str
    separator: str | None = None
    target: str  # the deciding predictor
    rationales: str | None = None  # file of micro-rules for the last table

    def examples(self, file: str) -> list[dspy.Example]:
        """Return the examples in one of the tables."""
        return examples(read_rows(file), self.inputs, self.label, source=file, separator=self.separator)

    def behind(self, splits: Splits, student: dspy.Module, seed: int) -> Splits:
        """Return the splits of the first run with all further examples behind its training examples."""
        train, val, more = splits.train, splits.val, [one for file in self.files for one in self.examples(file)]
        if not val:
            train, val = set_aside(Task.of(student, [*train, *splits.test], target=self.target), train, seed)
        return Splits([*train, *more], val, splits.test)


def chosen_source(options: DataOptions) -> Program | Tables:
    """Return the program or the tables that the options name; DataError if both, or neither in full."""
    tables = {name: value for name, value in asdict(options).items() if value and name in Tables.model_fields}
    if options.program is not None and not tables:
        return Program(module=options.program, data=options.data)
    if options.program is None and options.data is None and {"train", "inputs", "label"} <= set(tables):
        return Tables(**tables)
    raise DataError(
        "Give either --program (with --data), or --train, --input and --label (with --val, --test, --instructions)."
    )


def program_module(name: str) -> ModuleType:
    """Import a module by name or by the path of its .py file, from the current folder, as ``python -m`` does."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = _module_of_file(Path(name).resolve()) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # a user's own code may raise anything
        raise DataError(
            f"Cannot import the program {name!r}: {type(error).__name__}: {error}. Give a module that can be "
            "imported from this folder, or the path of a .py file."
        ) from error
    for function in ("student", "load"):
        if not callable(getattr(module, function, None)):
            raise DataError(
                f"The program {name!r} has no function {function}(). It needs student() and "
                "load(data, *, rationales, seed)."
            )
    return module


def _module_of_file(path: Path) -> ModuleType:
    """Import a file once, into ``sys.modules``, where signatures look up the types of their fields."""
    name = f"{__name__}.{path.stem}"
    module = sys.modules.get(name)
    if module is None or module.__file__ != str(path):
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
