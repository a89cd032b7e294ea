"""The plots of report.html, each an inline SVG element with a description for those who cannot see it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..calibrate.result import Grade
from ..run.result import PLDResult
from ..scoring.score import Score

EFFECTS_SHOWN = 40
MARK = 220
"""Area of the mark that stands for all answers, in square points."""

BLUE, GREY, ORANGE = "#0072b2", "#767676", "#d55e00"  # told apart in all common forms of colour blindness
_PLOT_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.parse_math": False,  # a label may hold dollar signs
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "linestyle": "-"},
    *({"color": GREY, "linestyle": style} for style in ("--", "-.", ":")),
)
"""Of up to four students, the first of which matters most."""


@dataclass(frozen=True)
class Trial:
    """A row of trials.csv; ``objective`` is None for a trial that stopped before the last example."""

    step: int
    kind: str
    objective: float | None
    told: float
    best: float


def plot_progress(trials: Sequence[Trial]) -> Markup:
    """Draw the value of each trial and the best so far, over the trials; return an SVG element."""
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


def plot_labels(students: Sequence[tuple[str, Score]], labels: Sequence[str]) -> Markup:
    """Draw the F1 of each label for two students; hatches tell the bars apart in grey print."""
    places = range(len(labels))
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.55 * len(labels)), layout="constrained")
        axes = figure.subplots()
        looks: list[dict[str, Any]] = [{"color": "#c8c8c8", "hatch": "///", "edgecolor": GREY}, {"color": BLUE}]
        for (title, score), shift, look in zip(students, (-0.19, 0.19), looks, strict=True):
            values = [score.per_label[label].f1 for label in labels]
            bars = axes.barh([place + shift for place in places], values, height=0.36, label=title, **look)
            axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=9)
        axes.set_yticks(list(places), [_cut(label, 30) for label in labels])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel="F1")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return _svg(figure, "labels", "F1 of each label, before and after; the table below gives the figures.")


def plot_effects(result: PLDResult) -> Markup:
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


def plot_risk_coverage(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, wanted: float | None = None
) -> Markup:
    """Draw the error rate of a student's most confident answers over their share of all; return an SVG element.

    Args:
        curves: name -> (coverage, risk) as ``calibration.risk_coverage`` gives them; at most four.
        wanted: an error rate that was wanted; drawn as a line.
    """
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for (name, (coverage, risk)), look in zip(curves.items(), _LOOKS, strict=False):
            axes.step(coverage, risk, where="post", label=_cut(name, 30), **look)
        if wanted is not None:
            axes.axhline(wanted, color=ORANGE, linewidth=1, label=f"wanted error rate {wanted:g}")
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of answers given", ylabel="error rate among them")
        axes.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        ends = "; ".join(f"{name}: {risk[-1]:.3f} of all answers" for name, (_, risk) in curves.items())
        return _svg(figure, "risk", f"Error rate among the most confident answers, over their share. {ends}.")


def plot_reliability(grades: Mapping[str, Grade]) -> Markup:
    """Draw how often answers are right over how sure the student is of them; return an SVG element.

    Args:
        grades: name -> how a student did on the test set; at most four. The larger a mark, the more answers it stands
            for.
    """
    with mpl.rc_context(_PLOT_STYLE):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.plot((0, 1), (0, 1), color=ORANGE, linewidth=1, label="as sure as right")
        for (name, grade), look in zip(grades.items(), _LOOKS, strict=False):
            sure = [one.confidence for one in grade.reliability]
            right = [one.accuracy for one in grade.reliability]
            axes.plot(sure, right, label=_cut(name, 30), **look)
            sizes = [MARK * one.n / grade.score.n for one in grade.reliability]
            axes.scatter(sure, right, sizes, color=look["color"], alpha=0.6)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="mean confidence", ylabel="share of right answers")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        ends = "; ".join(f"{name}: calibration error {grade.calibration_error:.3f}" for name, grade in grades.items())
        return _svg(figure, "reliability", f"Share of right answers over mean confidence, in ten ranges. {ends}.")


def _svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an inline SVG element whose ids are unique on the page."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Of labels in other scripts: text stays text in the file, and the reader's browser has the fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to groups, and every plot names them alike
    opening = Markup('<svg role="img" aria-label="{}" ').format(description)
    return Markup(svg.replace("<svg ", opening, 1))  # safe: matplotlib escapes all text that it draws


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
