"""report.html: what a finished run found and what each rule rests on, in one file that needs nothing else."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .calibration import Calibration
from .errors import RunError
from .resolve import read_patches
from .result import Comparison, PLDResult
from .rules import MicroRule, Rule, by_example, read_micro_rules
from .run import RunFolder
from .scoring import NO_ANSWER, Score

REPORT_FILE = "report.html"
EFFECTS_SHOWN = 40
EXAMPLES_SHOWN = 30
"""Supporting examples that a rule shows in full; the others are named by id."""

BLUE, GREY, ORANGE = "#0072b2", "#767676", "#d55e00"  # told apart in all common forms of colour blindness
_PLOT_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.parse_math": False,  # a label may hold dollar signs
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def write_report(folder: Path) -> Path:
    """Write report.html into a finished run's folder.

    Args:
        folder: a run folder. result.json is needed; without trials.csv, micro_rules.jsonl or config.yaml, the
            parts that rest on them are left out.

    Returns:
        The path of the report.

    Raises:
        RunError: the run is not finished, or result.json or trials.csv is damaged.
        DataError: micro_rules.jsonl is damaged.
    """
    run = RunFolder(folder)
    result = PLDResult.load(folder)
    trials = _read_trials(run.trials) if run.trials.is_file() else []
    micro_rules = read_micro_rules(run.micro_rules) if run.micro_rules.is_file() else []
    settings = run.config.read_text(encoding="utf-8") if run.config.is_file() else None

    shown = result.test or result.validation
    page = _environment().from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    path = folder / REPORT_FILE
    path.write_text(
        page.render(
            name=run.path.resolve().name,
            result=result,
            shown=shown,
            splits=[
                (name, split) for name, split in (("test", result.test), ("validation", result.validation)) if split
            ],
            examples={rule.id: _examples(rule, micro_rules) for rule in (*result.rules.rules, *result.bench)},
            confusions=[(title, _confusion(score, result.labels)) for title, score in _sides(shown)],
            progress=_progress_plot(trials) if trials else None,
            effects=_effect_plot(result) if result.insight else None,
            bars=_label_plot(shown, result.labels),
            curves=_curves(result.calibration),
            patches=read_patches(run.patches) if run.patches.is_file() else [],
            settings=settings,
            with_money=any(cost.money for stages in result.costs.values() for cost in stages.values()),
        ),
        encoding="utf-8",
    )
    return path


def plot_risk_coverage(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Markup:
    """Draw the error rate of a student's most confident answers over their share of all; return an SVG element.

    Args:
        curves: name -> (coverage, risk) as ``calibration.risk_coverage`` gives them; at most four.
    """
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for (name, (coverage, risk)), style in zip(curves.items(), ("-", "--", "-.", ":"), strict=False):
            axes.step(coverage, risk, style, where="post", color=BLUE if style == "-" else GREY, label=_cut(name, 30))
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of answers given", ylabel="error rate among them")
        axes.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        ends = "; ".join(f"{name}: {risk[-1]:.3f} of all answers" for name, (_, risk) in curves.items())
        return _svg(figure, "risk", f"Error rate among the most confident answers, over their share. {ends}.")


@dataclass(frozen=True)
class _Trial:
    """A row of trials.csv; ``objective`` is None for a trial that stopped before the last example."""

    step: int
    kind: str
    objective: float | None
    told: float
    best: float


@dataclass(frozen=True)
class _Examples:
    """What a rule rests on: supporting examples in full, and the ids of the others."""

    full: list[MicroRule]
    others: list[str]


@dataclass(frozen=True)
class _Cell:
    """A count of a confusion matrix, and its share of the gold label's row, 0 to 1."""

    count: int
    share: float


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["rate"] = "{:.3f}".format
    environment.filters["change"] = "{:+.3f}".format
    environment.filters["count"] = "{:,}".format
    environment.filters["p_value"] = lambda p: "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return environment


def _read_trials(path: Path) -> list[_Trial]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return [
                _Trial(
                    step=int(row["step"]),
                    kind=row["kind"],
                    objective=float(row["objective"]) if row["objective"] else None,
                    told=float(row["told"]),
                    best=float(row["best"]),
                )
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{path} line {rows.line_num} is damaged: {error!r}. Delete the file to report without it."
            ) from error


def _examples(rule: Rule, micro_rules: Sequence[MicroRule]) -> _Examples:
    by_id = by_example(rule, micro_rules)
    known = [example_id for example_id in rule.support if example_id in by_id][:EXAMPLES_SHOWN]
    return _Examples(
        full=[by_id[example_id] for example_id in known],
        others=[example_id for example_id in rule.support if example_id not in known],
    )


def _sides(comparison: Comparison) -> list[tuple[str, Score]]:
    return [("Unchanged student", comparison.baseline), ("Compiled student", comparison.compiled)]


def _confusion(score: Score, labels: Sequence[str]) -> dict[str, dict[str, _Cell]]:
    """Return gold label -> answer -> cell, with a column for missing answers only where there are some."""
    missing = any(NO_ANSWER in row for row in score.confusion.values())
    answers = [*labels, NO_ANSWER] if missing else list(labels)
    return {gold: _cells(score.confusion.get(gold, {}), answers) for gold in labels}


def _cells(counts: Mapping[str, int], answers: Sequence[str]) -> dict[str, _Cell]:
    total = max(sum(counts.values()), 1)
    return {answer: _Cell(counts.get(answer, 0), counts.get(answer, 0) / total) for answer in answers}


def _curves(found: Calibration | None) -> Markup | None:
    """Draw the risk-coverage curves of both students; None without a test set."""
    if found is None:
        return None
    grades = {
        "compiled, calibrated": found.compiled.calibrated,
        "compiled": found.compiled.plain,
        "unchanged, calibrated": found.baseline.calibrated,
        "unchanged": found.baseline.plain,
    }
    curves = {name: (grade.coverage, grade.risk) for name, grade in grades.items() if grade is not None}
    return plot_risk_coverage(curves) if curves else None


def _progress_plot(trials: Sequence[_Trial]) -> Markup:
    """Draw the value of each trial and the best so far, over the trials."""
    whole = [(trial.step, trial.objective) for trial in trials if trial.objective is not None]
    partial = [(trial.step, trial.told) for trial in trials if trial.objective is None]
    best = [(trial.step, trial.best) for trial in trials if math.isfinite(trial.best)]
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        if best:
            axes.step(*zip(*best, strict=True), where="post", color=ORANGE, linewidth=1.8, label="best so far")
        if partial:
            axes.plot(*zip(*partial, strict=True), "o", color=GREY, fillstyle="none", markersize=5, label="estimate")
        if whole:
            axes.plot(*zip(*whole, strict=True), "D", color=BLUE, markersize=5, label="all examples asked")
            axes.axhline(whole[0][1], color=GREY, linestyle=":", label="unchanged student")
        axes.set(xlabel="trial", ylabel="objective on validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=4, frameon=False, handletextpad=0.4, columnspacing=1.2)
        ends = f" It starts at {best[0][1]:.3f} and ends at {best[-1][1]:.3f}." if best else ""
        return _svg(figure, "search", f"Objective of each of {len(trials)} trials, and the best so far.{ends}")


def _label_plot(comparison: Comparison, labels: Sequence[str]) -> Markup:
    """Draw the F1 of each label, before and after; hatches tell the bars apart in grey print."""
    places = range(len(labels))
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.55 * len(labels)), layout="constrained")
        axes = figure.subplots()
        looks: list[dict[str, Any]] = [{"color": "#c8c8c8", "hatch": "///", "edgecolor": GREY}, {"color": BLUE}]
        for (title, score), shift, look in zip(_sides(comparison), (-0.19, 0.19), looks, strict=True):
            values = [score.per_label[label].f1 for label in labels]
            bars = axes.barh([place + shift for place in places], values, height=0.36, label=title, **look)
            axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=9)
        axes.set_yticks(list(places), [_cut(label, 30) for label in labels])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel="F1")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return _svg(figure, "labels", "F1 of each label, before and after; the table below gives the figures.")


def _effect_plot(result: PLDResult) -> Markup:
    """Draw each rule's effect with its interval, the strongest first; rules that were not chosen in grey."""
    effects = [effect for effect in result.insight.effects if effect.kind == "rule"] if result.insight else []
    effects = sorted(effects, key=lambda effect: -effect.mean)[:EFFECTS_SHOWN]
    chosen = {rule.id for rule in result.rules.rules}
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 1.0 + 0.24 * len(effects)), layout="constrained")
        axes = figure.subplots()
        for place, effect in enumerate(effects):
            colour = BLUE if effect.rule in chosen else GREY
            axes.plot(effect.interval, (place, place), color=colour, linewidth=1.4)
            axes.plot(effect.mean, place, "o", color=colour, fillstyle="full" if effect.rule in chosen else "none")
        axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(effects)), [_cut(effect.rule, 30) for effect in effects], fontsize=8)
        axes.invert_yaxis()
        axes.set(xlabel="effect on the objective, with 95% interval")
        return _svg(figure, "effects", "Effect of each rule on the objective on validation; open marks: not chosen.")


def _svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an inline SVG element whose ids are unique on the page."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to groups, and every plot names them alike
    opening = Markup('<svg role="img" aria-label="{}" ').format(description)
    return Markup(svg.replace("<svg ", opening, 1))  # safe: matplotlib escapes all text that it draws


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
