"""The plots of report.html, each an inline SVG element with a description for those who cannot see it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..calibrate.calibration import Grade
from ..run.progress import TrialLine
from ..scoring.baselines import Baselines
from ..scoring.score import Score

if TYPE_CHECKING:
    from ..search.effects import Effects

BLUE, GREY, ORANGE = "#0072b2", "#767676", "#d55e00"  # told apart in all common forms of colour blindness
_STYLE: dict[Any, Any] = {
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
"""Of up to four students, the most important one first."""


def plot_progress(trials: Sequence[TrialLine]) -> Markup:
    """Draw the value of each trial and the best so far, by trial."""
    full = [(trial.step, trial.objective) for trial in trials if trial.objective is not None]
    partial = [(trial.step, trial.told) for trial in trials if trial.objective is None]
    best = [(trial.step, trial.best) for trial in trials if math.isfinite(trial.best)]
    with _axes(3.4, legend_columns=4) as (figure, axes):
        if best:
            axes.step(*zip(*best, strict=True), where="post", color=ORANGE, linewidth=1.8, label="best so far")
        if partial:
            axes.plot(*zip(*partial, strict=True), "o", color=GREY, fillstyle="none", markersize=5, label="estimate")
        if full:
            axes.plot(*zip(*full, strict=True), "D", color=BLUE, markersize=5, label="on all examples")
            first = "unchanged student" if trials[0].kind == "baseline" else trials[0].kind
            axes.axhline(full[0][1], color=GREY, linestyle=":", label=first)
        axes.set(xlabel="trial", ylabel="objective on validation")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", alpha=0.3)
    ends = f" It starts at {best[0][1]:.3f} and ends at {best[-1][1]:.3f}." if best else ""
    return _svg(figure, "search", f"Objective of each of {len(trials)} trials, and the best so far.{ends}")


def plot_labels(students: Sequence[tuple[str, Score]], labels: Sequence[str]) -> Markup:
    """Draw the F1 of each label for two students; hatches tell the bars apart in grey print."""
    places = range(len(labels))
    with _axes(1.2 + 0.55 * len(labels)) as (figure, axes):
        looks: list[dict[str, Any]] = [{"color": "#c8c8c8", "hatch": "///", "edgecolor": GREY}, {"color": BLUE}]
        for (title, score), shift, look in zip(students, (-0.19, 0.19), looks, strict=True):
            values = [score.per_label[label].f1 for label in labels]
            bars = axes.barh([place + shift for place in places], values, height=0.36, label=title, **look)
            axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=9)
        axes.set_yticks(list(places), [_cut(label) for label in labels])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel="F1")
    return _svg(figure, "labels", "F1 of each label, before and after; the table below gives the figures.")


def plot_learning_curve(found: Baselines) -> Markup:
    """Draw the classifier's macro-F1 by its number of labels, with the student's as a line."""
    sizes, figures = zip(*found.curve, strict=True)
    with _axes(3.0) as (figure, axes):
        axes.plot(sizes, figures, "o-", color=BLUE, markersize=5, label="classifier")
        if found.student is not None:
            axes.axhline(found.student.macro_f1, color=ORANGE, linestyle="--", label="student")
        axes.set(xlim=(0, None), ylim=(0, 1.02), xlabel="labels to learn from", ylabel=f"macro-F1 on {found.split}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", alpha=0.3)
    ends = "; ".join(f"{size} labels: {value:.3f}" for size, value in found.curve)
    return _svg(figure, "curve", f"Macro-F1 of the classifier by the number of its labels. {ends}.")


def plot_risk_coverage(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, wanted: float | None = None
) -> Markup:
    """Draw the error rate among the most confident answers by their share of all.

    ``curves``: student -> (coverage, risk), at most four; ``wanted``: an error rate to draw as a line.
    """
    with _axes(3.4) as (figure, axes):
        for (name, (coverage, risk)), look in zip(curves.items(), _LOOKS, strict=False):
            axes.step(coverage, risk, where="post", label=_cut(name), **look)
        if wanted is not None:
            axes.axhline(wanted, color=ORANGE, linewidth=1, label=f"wanted error rate {wanted:g}")
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="share of answers given", ylabel="error rate among them")
        axes.grid(axis="y", alpha=0.3)
    ends = "; ".join(f"{name}: {risk[-1]:.3f} of all answers" for name, (_, risk) in curves.items())
    return _svg(figure, "risk", f"Error rate among the most confident answers, by their share of all. {ends}.")


def plot_reliability(grades: Mapping[str, Grade]) -> Markup:
    """Draw the share of right answers by confidence, for at most four students; a mark's area is its answers."""
    with _axes(4.4) as (figure, axes):
        axes.plot((0, 1), (0, 1), color=ORANGE, linewidth=1, label="as sure as right")
        for (name, grade), look in zip(grades.items(), _LOOKS, strict=False):
            confidence = [one.confidence for one in grade.reliability]
            right = [one.accuracy for one in grade.reliability]
            areas = [220 * one.n / grade.score.n for one in grade.reliability]  # in square points
            axes.plot(confidence, right, label=_cut(name), **look)
            axes.scatter(confidence, right, areas, color=look["color"], alpha=0.6)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="mean confidence", ylabel="share of right answers")
        axes.grid(alpha=0.3)
    ends = "; ".join(f"{name}: calibration error {grade.calibration_error:.3f}" for name, grade in grades.items())
    return _svg(figure, "reliability", f"Share of right answers by mean confidence, in ten ranges. {ends}.")


def plot_effects(found: Effects) -> Markup:
    """Draw what each rule does, with its interval; rules whose interval includes 0 are grey."""
    with _axes(1.2 + 0.28 * len(found.effects)) as (figure, axes):
        for clear, color, label in ((True, BLUE, "interval leaves 0 out"), (False, GREY, "interval includes 0")):
            rows = [(place, one) for place, one in enumerate(found.effects) if one.asked and one.clear is clear]
            if rows:
                places, values = zip(*((place, one.effect) for place, one in rows), strict=True)
                ends = [
                    [one.effect - one.interval[0] for _, one in rows],
                    [one.interval[1] - one.effect for _, one in rows],
                ]
                axes.barh(places, values, height=0.6, color=color, alpha=0.5, xerr=ends, ecolor=color, label=label)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(found.effects)), [_cut(one.rule) for one in found.effects])
        axes.invert_yaxis()
        axes.set(xlabel=found.unit)
    return _svg(figure, "effects", f"What each of {len(found.effects)} rules does to the student, with 95% intervals.")


@contextmanager
def _axes(height: float, *, legend_columns: int = 2) -> Iterator[tuple[Figure, Axes]]:
    """Give a new figure, ``height`` inches high, and its axes; the legend is added below them at the end."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        yield figure, figure.subplots()
        figure.legend(
            loc="outside lower center", ncols=legend_columns, frameon=False, handletextpad=0.4, columnspacing=1.2
        )


def _svg(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an inline SVG element whose ids are unique on the page."""
    text = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        # Of labels in other scripts: text stays text in the file, and the reader's browser has the fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to groups, and every plot gives them the same ids
    opening = Markup('<svg role="img" aria-label="{}" ').format(description)
    return Markup(svg.replace("<svg ", opening, 1))  # safe: matplotlib escapes all text that it draws


def _cut(text: str) -> str:
    return text if len(text) <= 30 else f"{text[:27]}..."
