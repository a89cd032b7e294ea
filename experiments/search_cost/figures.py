"""Figures of a benchmark: quality against calls, and quality during the search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from .benchmark import CellResult
from .methods import METHODS, REFERENCE
from .summary import MARGIN, POOLED, Results, anytime, bounds, differences, paired

_STYLE: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
# Okabe and Ito (2008), for colour-blind readers too; purple in place of their yellow.
_COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#7b3294", "#0072b2")
_MARKERS = "osD^vP*X<>ph"
_COLUMNS = 3
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FIRST_SHARE = 0.005
"""Where the curves begin: calls, as a share of the reference."""

Draw = Callable[[Axes, str, Sequence[CellResult], Sequence[CellResult]], None]


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw ``quality.png`` and ``anytime.png`` into the folder: a panel for all families, and one per family.

    Args:
        results: a benchmark's cells by method and student.
        folder: an existing folder.
    """
    paths = [folder / "quality.png", folder / "anytime.png"]
    _panels(results, _final_point, paths[0], "calls, as a share of the reference", "macro-F1 less the reference")
    _panels(results, _curve, paths[1], "calls made, as a share of the reference", "macro-F1 of the choice so far")
    return paths


def _panels(results: Results, add: Draw, path: Path, x: str, y: str) -> None:
    shown = [POOLED, *sorted({problem[0] for problem in results[REFERENCE]})]
    rows = -(-len(shown) // _COLUMNS)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 0.8 + 3.2 * rows), layout="constrained")
        for number, family in enumerate(shown, start=1):
            axes = figure.add_subplot(rows, _COLUMNS, number)
            for method in results:
                cells, references = paired(results, method, family)
                if cells:
                    add(axes, method, cells, references)
            axes.set(title=family, xscale="log", xlabel=x, ylabel=y)
            axes.xaxis.set_major_locator(FixedLocator(_TICKS))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.grid(alpha=0.3)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=_COLUMNS, frameon=False)
        figure.savefig(path, dpi=150)


def _final_point(axes: Axes, method: str, cells: Sequence[CellResult], references: Sequence[CellResult]) -> None:
    """Draw mean calls and mean difference; the lower end of the interval is the one-sided bound of the table."""
    strata = differences(cells, references)
    mean, (low, high) = float(np.concatenate(strata).mean()), bounds(strata)
    share = np.mean([one.calls for one in cells]) / np.mean([one.calls for one in references])
    axes.errorbar(share, mean, [[mean - low], [high - mean]], capsize=2, linestyle="none", **_style(method))
    if method == REFERENCE:
        axes.axhline(-MARGIN, color="grey", linestyle=":", linewidth=1)


def _curve(axes: Axes, method: str, cells: Sequence[CellResult], references: Sequence[CellResult]) -> None:
    """Draw the mean macro-F1 of the choice so far, up to the method's mean number of calls; ablations are left out."""
    if method.startswith("no_"):
        return
    end = float(np.mean([one.calls / other.calls for one, other in zip(cells, references, strict=True)]))
    shares = np.geomspace(FIRST_SHARE, end, 200)
    axes.plot(shares, anytime(cells, references, shares).mean(axis=0), **_style(method) | {"marker": "none"})


def _style(method: str) -> dict[str, Any]:
    number = list(METHODS).index(method)
    ablation = method.startswith("no_")
    return {
        "color": "#888888" if ablation else _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 5,
        "label": METHODS[method].description,
    }
