"""The table of an experiment, read from the MLflow store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run

from pld_dspy.errors import DataError
from pld_dspy.run.tracking import impatient
from pld_dspy.scoring.difference import Difference, difference, signed_text

from .config import Cell, Experiment

ERROR = "error"
"""Tag of a failed cell's MLflow run: the error in one line."""

CALIBRATED = "calibrated"
"""Begins the names of metrics of the test answers as offsets decide them that are fitted on the validation examples."""

ANSWERS = "test_answers.json"
"""MLflow table of a cell's run: gold label and answer of each test example."""

TITLES = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
"""Objective -> its name for readers."""


def markdown(experiment: Experiment) -> str:
    """Return one row per finished cell, in the order of the configuration; below it, the failed and the other cells.

    The first of PLD's rows is what the others are compared with, example by example.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    runs = [(cell, newest_run(cell)) for cell in experiment.cells()]
    finished = [(cell, run) for cell, run in runs if run is not None]
    reference = next((cell.optimizer for cell, run in finished if cell.optimizer.startswith("pld")), None)
    leads = _leads(finished, reference)
    table = [_header(experiment, reference)]
    for cell, run in finished:
        less = leads[run.info.run_id].short if run.info.run_id in leads else ""
        table.append(_row(cell, run) + ("" if reference is None else f" {less} |"))
    paragraphs = ["\n".join(table)]
    if finished:
        n = finished[0][1].data.metrics["test_n"]
        scored = "labelled examples that were not drawn, none of them of test" if experiment.unseen else "test examples"
        paragraphs.append(
            f"Program {experiment.program}, student {experiment.student}, {n:.0f} {scored}. Seconds "
            "(of the student alone) and tokens are medians, without the first call. Calibrated: the same answers as "
            "offsets decide them that are fitted on the validation examples; empty where there are no "
            "log-probabilities, or where the optimizer calibrates by itself."
        )
    if failures := [(cell, run) for cell, run in finished if run.data.metrics["test_failures"]]:
        counts = (f"{cell} {run.data.metrics['test_failures']:.0f}" for cell, run in failures)
        paragraphs.append(f"Test answers without a label, which count as wrong: {'; '.join(counts)}.")
    if failures := [(cell, run) for cell, run in finished if run.data.metrics.get("compile_failures")]:
        counts = (f"{cell} {run.data.metrics['compile_failures']:.0f}" for cell, run in failures)
        paragraphs.append(f"Model calls that failed while compiling, of student or teacher: {'; '.join(counts)}.")
    paragraphs += _without_result([cell for cell, run in runs if run is None])
    return "\n\n".join([*paragraphs, *_means(finished, leads, experiment)])


def finished_cells(experiment: Experiment, config: str = "CONFIG") -> list[tuple[Cell, Run]]:
    """Return the cells that have finished, each with its newest run.

    Args:
        experiment: its cells are looked up in the MLflow store.
        config: its file, for the message.

    Raises:
        DataError: no cell has finished yet.
    """
    mlflow.set_tracking_uri(experiment.tracking)
    found = [(cell, run) for cell in experiment.cells() if (run := newest_run(cell)) is not None]
    if not found:
        raise DataError(f"No cell of {experiment.name} has finished. Run it first: python -m experiments run {config}.")
    return found


def newest_run(cell: Cell, *, status: str = "FINISHED") -> Run | None:
    """Return the cell's newest MLflow run with this status, if there is one."""
    found = mlflow.search_runs(
        experiment_names=[cell.experiment.name],
        filter_string=f"tags.cell = '{cell.key}' and attributes.status = '{status}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
        output_format="list",
    )
    return found[0] if found else None


def answers_of(run: Run) -> pd.DataFrame | None:
    """Return gold labels and answers on test, if the run has them; a failed answer is None."""
    if ANSWERS not in (one.path for one in mlflow.MlflowClient().list_artifacts(run.info.run_id)):
        return None
    with impatient():
        found = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/{ANSWERS}")
    return pd.DataFrame(found["data"], columns=found["columns"])


def _leads(finished: Sequence[tuple[Cell, Run]], reference: str | None) -> dict[str, Difference]:
    """Return by run id macro-F1 of each cell less that of ``reference`` on the same examples, where both have answers.

    The label set is that of the gold labels.
    """
    own = {(cell.seed, cell.labels): answers_of(run) for cell, run in finished if cell.optimizer == reference}
    leads = {}
    for cell, run in finished:
        found, other = answers_of(run), own.get((cell.seed, cell.labels))
        if cell.optimizer == reference or found is None or other is None or not found.gold.equals(other.gold):
            continue
        golds, before, after = found.gold.tolist(), other.answer.tolist(), found.answer.tolist()
        leads[run.info.run_id] = difference(golds, before, after, sorted(set(golds)), seed=cell.seed)
    return leads


def _means(
    finished: Sequence[tuple[Cell, Run]], leads: Mapping[str, Difference], experiment: Experiment
) -> Iterator[str]:
    """Yield a table of means over seeds, where an optimizer has finished with several, and what its intervals are."""
    groups: dict[tuple[str, int | None], list[Run]] = {}
    for cell, run in finished:
        groups.setdefault((cell.optimizer, cell.labels), []).append(run)
    rows = []
    for (optimizer, labels), found in groups.items():
        if len(found) > 1:
            name = optimizer if labels is None else f"{optimizer}, {labels} labels per class"
            figures = (f"{prefix}_{experiment.objective}" for prefix in ("test", CALIBRATED))
            own = [leads[run.info.run_id] for run in found if run.info.run_id in leads]
            ahead = f"{sum(one.macro_f1 > 0 for one in own)} of {len(own)}" if own else ""
            columns = [name, str(len(found)), *(_mean(found, figure) for figure in figures), _mean_lead(own), ahead]
            rows.append(" | ".join(columns))
    if rows:
        title = TITLES[experiment.objective]
        head = f"optimizer | seeds | mean test {title} | calibrated | mean difference of macro-F1 | ahead"
        yield "\n".join(f"| {row} |" for row in (head, " | ".join(["---"] * 6), *rows))
        yield (
            "Means over seeds. Test sets of different seeds share examples, or are the same: the interval of a mean is "
            "as wide as that of one seed is on average."
        )


def _mean(runs: Sequence[Run], figure: str) -> str:
    """Return the mean of a metric over runs; empty where one lacks it."""
    known = [run.data.metrics[figure] for run in runs if figure in run.data.metrics]
    return f"{np.mean(known):.3f}" if len(known) == len(runs) else ""


def _mean_lead(leads: Sequence[Difference]) -> str:
    """Return the mean of differences with its interval; empty where there are none."""
    if not leads:
        return ""
    mean, error = (np.mean([getattr(one, name) for one in leads]) for name in ("macro_f1", "standard_error"))
    return signed_text(mean, (mean - 1.96 * error, mean + 1.96 * error))


def _header(experiment: Experiment, reference: str | None) -> str:
    columns = [
        "optimizer",
        "seed",
        *(["labels per class"] if experiment.labels != [None] else []),
        f"test {TITLES[experiment.objective]} [95% interval]",
        "calibrated",
        TITLES[_other(experiment.objective)],
        "seconds per call",
        "prompt tokens per call",
        "calls to compile",
        *(["teacher calls"] if experiment.teacher else []),
        *([] if reference is None else [f"macro-F1 less {reference} [95% interval]"]),
    ]
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def _row(cell: Cell, run: Run) -> str:
    m, name = run.data.metrics, f"test_{cell.experiment.objective}"
    teacher = f" {m.get('teacher_calls', 0):.0f} |" if cell.experiment.teacher else ""
    labels = "" if cell.experiment.labels == [None] else f"{cell.labels or 'all'} | "
    return (
        f"| {cell.optimizer} | {cell.seed} | {labels}{_value(m, name)} "
        f"| {_value(m, f'{CALIBRATED}_{cell.experiment.objective}')} "
        f"| {m[f'test_{_other(cell.experiment.objective)}']:.3f} | {m['seconds_per_call']:.3f} "
        f"| {m['prompt_tokens']:.0f} | {m['compile_calls']:.0f} |{teacher}"
    )


def _value(metrics: dict[str, float], name: str) -> str:
    """Return a figure with its interval; empty where it was not measured."""
    if name not in metrics:
        return ""
    return f"{metrics[name]:.3f} [{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"


def _other(objective: str) -> str:
    return next(name for name in TITLES if name != objective)


def _without_result(cells: list[Cell]) -> Iterator[str]:
    waiting = []
    for cell in cells:
        failed = newest_run(cell, status="FAILED")
        if failed is not None and ERROR in failed.data.tags:
            yield f"Failed: {cell}: {failed.data.tags[ERROR]}"
        else:
            waiting.append(str(cell))
    if waiting:
        yield f"Not run yet: {'; '.join(waiting)}."
