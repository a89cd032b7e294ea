"""What the cells of an experiment that have not finished take at most, before they run."""

from __future__ import annotations

from statistics import median

import mlflow

from .config import Cell, Experiment
from .table import newest_run

WITHOUT_STUDENT = {"majority", "tfidf_logistic", "encoder_neighbours", "encoder_logistic", "encoder_logistic_notes"}
"""Optimizers whose programs call no language model."""


def estimate(experiment: Experiment, seconds: float | None = None) -> str:
    """Return student calls and hours of the cells that have not finished, as a sentence or two; no model is called.

    Args:
        experiment: its finished cells are looked up in the MLflow store, its data are read.
        seconds: of one call; by default the median of the finished cells, and without any the time is left out.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    runs = [(cell, newest_run(cell)) for cell in experiment.cells()]
    waiting = [cell for cell, run in runs if run is None and cell.optimizer not in WITHOUT_STUDENT]
    calls = sum(_most_calls(cell) for cell in waiting)
    said = f"{len(waiting)} of {len(runs)} cells are left that call the student, with at most {calls:,} calls"
    measured = [
        run.data.metrics["seconds_per_call"]
        for cell, run in runs
        if run is not None and cell.optimizer not in WITHOUT_STUDENT
    ]
    if seconds is None and not measured:
        return f"{said}. Give --seconds, those of one call, for the time."
    each = median(measured) if seconds is None else seconds
    return (
        f"{said}: {calls * each / 3600:.1f} hours at {each:.2f} s a call; calls with long prompts or reasons take more."
    )


def _most_calls(cell: Cell) -> int:
    """Return the budget and one answer to each validation and test example."""
    splits = cell.experiment.splits(cell.experiment.micro_rules(), cell.seed, cell.labels)
    return cell.experiment.budget + len(splits.val) + len(splits.test)
