"""The results of an experiment as files to keep: the table with its settings, the answers, and the picture."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from mlflow.entities import Run

from .config import Cell, Experiment
from .plot import plot
from .table import answers_of, finished_cells, markdown

MACHINE = "machine"
"""Parameter of a cell's MLflow run: what it ran on."""
VERSION = "version_"
"""Begins the names of parameters that hold a version."""


def machine() -> str:
    """Return processor and number of cores, such as "AMD EPYC, 2 cores"."""
    info = Path("/proc/cpuinfo")
    named = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    name = named[0].partition(":")[2].strip() if named else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def write_results(experiment: Experiment, config: Path, folder: Path) -> Path:
    """Write NAME.md, NAME.csv and NAME.svg of the finished cells, from the MLflow store alone.

    The CSV file has a row per test example: its number among those with the cell's seed, its gold label, and each
    cell's answer, empty for a failed call.

    Args:
        experiment: NAME is its name.
        config: its file, for the command.
        folder: is made if it is missing.

    Returns:
        The file of the table.

    Raises:
        DataError: no cell has finished.
    """
    found = finished_cells(experiment, str(config))
    folder.mkdir(parents=True, exist_ok=True)
    picture, table = folder / f"{experiment.name}.svg", folder / f"{experiment.name}.md"
    plot(experiment, picture)
    _answers(found).to_csv(table.with_suffix(".csv"))
    params = [run.data.params for _, run in found]
    logged = {(name, value) for one in params for name, value in one.items() if name.startswith(VERSION)}
    ran = {
        "Settings": [f"{name} {value}" for name, value in _settings(experiment).items()],
        "Machine": sorted({one.get(MACHINE, "not known") for one in params}),
        "Versions": sorted(f"{name.removeprefix(VERSION)} {value}" for name, value in logged),
    }
    said = " ".join(f"{head}: {', '.join(texts)}." for head, texts in ran.items())
    table.write_text(
        f"# {experiment.name}\n\nBy `python -m experiments run {config.as_posix()}`. {said}\n\n{markdown(experiment)}"
        f"\n\n![Test scores]({picture.name})\n\nThe answer of each cell to each test example is in "
        f"{table.stem}.csv.\n",
        encoding="utf-8",
    )
    return table


def _answers(found: Sequence[tuple[Cell, Run]]) -> pd.DataFrame:
    """Return one row per seed and test example, and one column per optimizer (and number of labels)."""
    columns: dict[str, list[pd.Series[str]]] = {}
    for cell, run in found:
        if (answers := answers_of(run)) is not None:
            rows = pd.MultiIndex.from_arrays(
                [[cell.seed] * len(answers), range(len(answers)), answers.gold], names=["seed", "example", "gold"]
            )
            name = cell.optimizer if cell.labels is None else f"{cell.optimizer} {cell.labels}"
            columns.setdefault(name, []).append(pd.Series(answers.answer.tolist(), index=rows))
    return pd.DataFrame({name: pd.concat(parts) for name, parts in columns.items()})


def _settings(experiment: Experiment) -> dict[str, object]:
    """Return what decides the figures, without paths and addresses."""
    left_out = {"optimizers", "name", "tracking", "folder", "data", "rationales", "teacher_api_base", "prices"}
    return experiment.model_dump(mode="json", exclude=left_out, exclude_none=True)
