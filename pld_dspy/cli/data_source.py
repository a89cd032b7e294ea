"""Where a compile on the command line takes its student and data from: a program module, or tables."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import dspy
from pydantic import BaseModel, ConfigDict, Field

from ..errors import DataError
from ..rules import MicroRule
from ..task.splits import Splits
from ..task.tables import classifier, examples, has_several, label_set, read_rows

HUB_SPLITS = {"train": "train", "val": "validation", "test": "test"}


class Program(BaseModel):
    """A module with ``student()`` and ``load(data, rationales=, seed=)``, and the data that it is given.

    Attributes:
        module: what is imported, or the path of a .py file.
        data: handed to ``load``; None lets the module find its data itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["program"] = "program"
    module: str
    data: str | None = None

    @property
    def name(self) -> str:
        """A short name for run folders."""
        return Path(self.module).stem if self.module.endswith(".py") else self.module.rsplit(".", 1)[-1]

    def student(self) -> dspy.Module:
        """Return the program to instruct.

        Raises:
            DataError: the module cannot be imported, or gives no DSPy module.
        """
        student = program_module(self.module).student()
        if not isinstance(student, dspy.Module):
            kind = type(student).__name__
            raise DataError(f"student() of {self.module} gives a {kind}. Let it give a dspy.Module.")
        return student

    def splits(self, rationales: Sequence[MicroRule], seed: int) -> Splits:
        """Load the data.

        Raises:
            DataError: the data is missing or unusable, or ``load`` gives something else.
        """
        path = None if self.data is None else Path(self.data)
        if path is not None and not path.exists():
            raise DataError(f"The data {path} does not exist, as seen from here. Give its path with --data.")
        splits = program_module(self.module).load(path, rationales=rationales, seed=seed)
        if not isinstance(splits, Splits):
            raise DataError(f"load() of {self.module} gives a {type(splits).__name__}. Let it give pld_dspy.Splits.")
        return splits

    def with_labels_of(self, splits: Splits) -> Program:
        """Return the program as it is: it names its labels itself."""
        return self

    def rationales_file(self) -> str | None:
        """Return the rationales that come with the program: the path that its ``rationales_file()`` gives."""
        find_file = getattr(program_module(self.module), "rationales_file", None)
        return None if find_file is None else str(find_file())


class Tables(BaseModel):
    """Tables, and the plain classifier that is made for them.

    Attributes:
        train, val, test: files or hub data sets.
        inputs, label: columns.
        labels: the label set.
        separator: what parts several labels in one cell of text, such as "|"; None where a text is one label.
        several: whether the label column holds lists of labels, after parting.
        instructions: what to decide.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["tables"] = "tables"
    train: str
    val: str | None = None
    test: str | None = None
    inputs: tuple[str, ...]
    label: str
    labels: tuple[str, ...] = ()
    separator: str | None = Field(default=None, min_length=1)
    several: bool = False
    instructions: str | None = None

    @property
    def name(self) -> str:
        """A short name for run folders."""
        return Path(self.train).stem

    def student(self) -> dspy.Module:
        """Return a bare classifier.

        Raises:
            DataError: the label set is empty, or a column has no usable name.
        """
        return classifier(self.inputs, self.label, self.labels, self.instructions, several=self.several)

    def splits(self, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
        """Read the tables; neither rationales nor seed change what is in them.

        Raises:
            DataError: a table cannot be read, or lacks a column.
        """
        parts = {}
        for split, hub_split in HUB_SPLITS.items():
            source = getattr(self, split)
            rows = [] if source is None else read_rows(source, hub_split)
            read = examples(rows, self.inputs, self.label, source=source, separator=self.separator) if rows else []
            parts[split] = read
        return Splits(**parts)

    def with_labels_of(self, splits: Splits) -> Tables:
        """Return these tables with all gold labels of ``splits`` as the label set, and whether there are several."""
        labelled = [*splits.train, *splits.val, *splits.test]
        found = {"labels": label_set(labelled, self.label), "several": has_several(labelled, self.label)}
        return self.model_copy(update=found)

    def rationales_file(self) -> str | None:
        """Return None: tables come without rationales."""
        return None


def chosen_source(program: str | None, data: str | None, tables: Mapping[str, Any]) -> Program | Tables:
    """Return the one source that a user named.

    Args:
        program: a program module.
        data: its data.
        tables: fields of :class:`Tables`; None where not given.

    Raises:
        DataError: he named both, or neither in full.
    """
    given = {name: value for name, value in tables.items() if value}
    if program is not None and not given:
        return Program(module=program, data=data)
    if program is None and data is None and {"train", "inputs", "label"} <= set(given):
        return Tables(**given)
    raise DataError(
        "Give either --program (with --data), or --train, --input and --label (with --val, --test, --instructions)."
    )


def program_module(name: str) -> ModuleType:
    """Import a program module; the current folder is put on ``sys.path``, as ``python -m`` does.

    Args:
        name: an importable module, or the path of a .py file.

    Raises:
        DataError: there is none, its import fails, or it lacks ``student`` or ``load``.
    """
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = _from_file(Path(name).resolve()) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # a user's own code may raise anything
        raise DataError(
            f"Cannot import the program {name!r}: {type(error).__name__}: {error}. Give a module that can be "
            "imported from here, or the path of a .py file."
        ) from error
    for function in ("student", "load"):
        if not callable(getattr(module, function, None)):
            raise DataError(
                f"The program {name!r} has no function {function}(). It needs student() and "
                "load(data, *, rationales, seed)."
            )
    return module


def _from_file(path: Path) -> ModuleType:
    """Import a file once; it stands in ``sys.modules``, where signatures look up the types of their fields."""
    name = f"{__name__}.{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
