"""The picture of an experiment, from the MLflow store: every optimizer's test score with its interval."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mlflow.entities import Run

from .config import Cell, Experiment
from .table import TITLES, finished_cells

NAMES = {
    "zero_shot": "unchanged student",
    "zero_shot_framed": "unchanged student, best frame",
    "chain_of_thought": "chain of thought",
    "labelled_few_shot": "8 labelled examples",
    "labelled_few_shot_16": "16 labelled examples",
    "labelled_few_shot_32": "32 labelled examples",
    "nearest_few_shot": "KNNFewShot",
    "bootstrap_few_shot": "BootstrapFewShot",
    "bootstrap_random_search": "BootstrapFewShotWithRandomSearch",
    "infer_rules": "InferRules, repaired",
    "infer_rules_as_shipped": "InferRules",
    "copro": "COPRO",
    "mipro": "MIPROv2",
    "mipro_instructions": "MIPROv2, instructions alone",
    "gepa": "GEPA",
    "simba": "SIMBA",
    "pld_all_rules": "PLD, all rules",
    "pld_demonstrations": "PLD, all rules and 16 labelled examples",
    "pld": "PLD, rules",
    "pld_calibrated": "PLD, rules, calibrated",
    "pld_precedents": "PLD, rules and precedents",
    "precedents": "precedents, no rules",
    "pld_all_rules_precedents": "PLD, all rules and precedents",
    "pld_no_clusters": "PLD, rules, a rule per micro-rule",
    "pld_one_wording": "PLD, rules, one wording each",
    "pld_tfidf": "PLD, rules, TF-IDF in place of the encoder",
    "pld_framed": "PLD, rules, best frame",
    "pld_from_teacher": "PLD, all rules, teacher explains",
    "pld_then_bootstrap": "PLD, then BootstrapFewShotWithRandomSearch",
    "majority": "commonest label",
    "tfidf_logistic": "TF-IDF + logistic regression",
    "encoder_neighbours": "sentence encoder + nearest neighbours",
    "encoder_logistic": "sentence encoder + logistic regression",
    "encoder_logistic_notes": "sentence encoder + logistic regression, with notes",
}
OURS, MODEL, CLASSIFIER = "#b3261e", "#1a4f8b", "#777777"
"""Colours: PLD, other ways to use the language model, classifiers without one."""
COSTS = {
    "compile_calls": "student calls\nto compile",
    "prompt_tokens": "prompt tokens\nper call",
    "seconds_per_call": "seconds\nper call",
}
"""Metric of a cell -> title of its panel."""
BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 9}


def plot(experiment: Experiment, path: Path) -> Path:
    """Draw one row per finished cell, the best last: the score and its 95% interval; with labels, learning curves.

    Args:
        experiment: its cells are looked up in the MLflow store.
        path: a .svg or .png file.

    Raises:
        DataError: no cell has finished yet.
    """
    found = finished_cells(experiment)
    figure = (_curves if len(experiment.labels) > 1 else _rows)(experiment, found)
    # Without a salt and a date the same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": experiment.name, "svg.fonttype": "none"}):
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def _curves(experiment: Experiment, found: list[tuple[Cell, Run]]) -> Figure:
    """Draw one line per optimizer over the number of labels per class: means over the seeds; of one, with intervals."""
    name = f"test_{experiment.objective}"
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    places = {labels: place for place, labels in enumerate(experiment.labels)}
    for number, optimizer in enumerate(experiment.optimizers):
        values: dict[int, list[tuple[float, ...]]] = {}
        for cell, run in found:
            if cell.optimizer == optimizer:
                figures = tuple(float(run.data.metrics[key]) for key in (name, f"{name}_low", f"{name}_high"))
                values.setdefault(places[cell.labels], []).append(figures)
        if values:
            line = sorted((place, *map(fmean, zip(*rows, strict=True))) for place, rows in values.items())
            at, value, low, high = np.array(line).T
            off = 0.03 * (number - (len(experiment.optimizers) - 1) / 2)  # so that intervals stand side by side
            bars = [value - low, high - value] if len(experiment.seeds) == 1 else None
            axes.errorbar(at + off, value, bars, marker="o", capsize=3, label=NAMES.get(optimizer, optimizer))
    axes.set_xticks(list(places.values()), ["all" if labels is None else str(labels) for labels in places])
    n, seeds = found[0][1].data.metrics["test_n"], len(experiment.seeds)
    axes.set(xlabel="labelled examples per class, training and validation together", ylim=(0, 1))
    shown = f"mean of {seeds} seeds" if seeds > 1 else "95% interval"
    axes.set_ylabel(f"test {TITLES[experiment.objective]}, n = {n:.0f}, {shown}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, frameon=False)
    return figure


def _rows(experiment: Experiment, found: list[tuple[Cell, Run]]) -> Figure:
    """Draw the scores, and beside them what each way costs: to compile, and per call."""
    name = f"test_{experiment.objective}"
    found = sorted(found, key=lambda pair: float(pair[1].data.metrics[name]))
    figure = Figure(figsize=(12, 0.8 + 0.42 * len(found)), layout="constrained")
    scores, *costs = figure.subplots(1, 1 + len(COSTS), sharey=True, width_ratios=[3, *[1] * len(COSTS)])
    for row, (cell, run) in enumerate(found):
        _draw(scores, row, cell, run, name)
        for axes, metric in zip(costs, COSTS, strict=True):
            value = run.data.metrics[metric]
            axes.barh(row, value, height=0.5, color=_colour(cell, run), alpha=0.6)
            axes.annotate(f"{value:.3g}" if value < 1 else f"{value:,.0f}", (value, row), (4, 0), **BESIDE)
    scores.set_yticks(range(len(found)), [_label(cell, experiment) for cell, _ in found])
    scores.set(xlim=(0, 1), ylim=(-0.6, len(found) - 0.4))
    scores.set_xlabel(
        f"test {TITLES[experiment.objective]}, n = {found[0][1].data.metrics['test_n']:.0f}, 95% interval"
    )
    scores.grid(axis="x", alpha=0.3)
    for axes, title in zip(costs, COSTS.values(), strict=True):
        axes.set_xlabel(title)
        axes.set_xticks([])
        axes.margins(x=0.35)
    for axes in (scores, *costs):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw(axes: Axes, row: int, cell: Cell, run: Run, name: str) -> None:
    value, low, high = (run.data.metrics[key] for key in (name, f"{name}_low", f"{name}_high"))
    axes.errorbar(value, row, xerr=[[value - low], [high - value]], fmt="o", color=_colour(cell, run), capsize=3)
    axes.annotate(f"{value:.2f}", (high, row), (8, 0), **BESIDE)


def _colour(cell: Cell, run: Run) -> str:
    return OURS if cell.optimizer.startswith("pld") else MODEL if run.data.metrics["prompt_tokens"] else CLASSIFIER


def _label(cell: Cell, experiment: Experiment) -> str:
    seed = f", seed {cell.seed}" if len(experiment.seeds) > 1 else ""
    return f"{NAMES.get(cell.optimizer, cell.optimizer)}{seed}"
