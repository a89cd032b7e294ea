"""The table of an experiment, from the MLflow store."""

from __future__ import annotations

import mlflow
from mlflow.entities import Run

from .config import Cell, Experiment

HEADER = (
    "| optimizer | seed | test macro-F1 [95% interval] | accuracy | seconds a call | prompt tokens | compile calls |\n"
    "|---|---|---|---|---|---|---|"
)


def markdown(experiment: Experiment) -> str:
    """Return one row for each finished cell, in the order of the configuration; unfinished ones are named below."""
    mlflow.set_tracking_uri(experiment.tracking)
    runs = [(cell, newest_run(cell)) for cell in experiment.cells()]
    finished = [(cell, run) for cell, run in runs if run is not None]
    missing = [f"{cell.optimizer} (seed {cell.seed})" for cell, run in runs if run is None]
    table = "\n".join([HEADER, *(_row(cell, run) for cell, run in finished)])
    if finished:
        n = finished[0][1].data.metrics["test_n"]
        table += f"\n\nProgram {experiment.program}, student {experiment.student}, {n:.0f} test examples."
    return table + (f"\n\nNot run yet: {', '.join(missing)}." if missing else "")


def newest_run(cell: Cell) -> Run | None:
    """Return the newest finished MLflow run of the cell, if there is one."""
    found = mlflow.search_runs(
        experiment_names=[cell.experiment.name],
        filter_string=f"tags.cell = '{cell.key}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return found[0] if found else None


def _row(cell: Cell, run: Run) -> str:
    m = run.data.metrics
    interval = f"{m['test_macro_f1']:.3f} [{m['test_macro_f1_low']:.3f}, {m['test_macro_f1_high']:.3f}]"
    return (
        f"| {cell.optimizer} | {cell.seed} | {interval} | {m['test_accuracy']:.3f} | {m['seconds_per_call']:.3f} "
        f"| {m['prompt_tokens']:.0f} | {m['compile_calls']:.0f} |"
    )
