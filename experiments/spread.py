"""How much finished runs of one program differ from seed to seed, and how wordings and search change that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import f as f_distribution

from pld_dspy.errors import DataError
from pld_dspy.scoring.score import Score

from .seeds import CALIBRATED, NOT_ALWAYS, STUDENTS, Seeded
from .stages import ALL, COMMAND, SEARCHED

UNKNOWN = "-"
WIDTH = 2 * 1.96
"""Width of a 95% interval, in standard deviations."""
FORMATS = (".png", ".svg")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: its title.
        values: one per seed, with its 95% interval if the figure has one; None if unknown.
        form: format of a value.
    """

    title: str
    values: Sequence[tuple[float, Interval | None] | None]
    form: str = ".3f"

    @property
    def known(self) -> list[float]:
        """The values that are known."""
        return [value[0] for value in self.values if value is not None]

    def cells(self) -> Iterator[str]:
        """Yield one cell per seed."""
        for found in self.values:
            if found is None:
                yield UNKNOWN
            else:
                value, interval = found
                yield self._formatted(value) + (f" [{', '.join(map(self._formatted, interval))}]" if interval else "")

    def summary(self) -> Iterator[str]:
        """Yield mean, standard deviation, range, and the standard deviation to expect from the intervals alone."""
        known = self.known
        widths = [interval[1] - interval[0] for _, interval in filter(None, self.values) if interval is not None]
        yield self._formatted(np.mean(known)) if known else UNKNOWN
        yield self._spread(np.std(known, ddof=1)) if len(known) > 1 else UNKNOWN
        yield f"{self._formatted(min(known))} to {self._formatted(max(known))}" if known else UNKNOWN
        yield self._spread(np.mean(widths) / WIDTH) if widths else ""

    def _formatted(self, value: float | np.floating) -> str:
        return format(float(value), self.form)

    def _spread(self, value: float | np.floating) -> str:
        return format(float(value), self.form.removeprefix("+"))


def spread(seeds: Sequence[Seeded]) -> str:
    """Return a table with one row per seed, then mean, standard deviation and range, and notes on them.

    The last row is the standard deviation that other samples of test examples would give with the same rules. It is
    computed from the mean width of the bootstrap intervals, as if these were those of a normal distribution.

    Args:
        seeds: as :func:`experiments.seeds.read_seeds` gives them.
    """
    columns = _columns(seeds)
    names = [*(str(one.seed) for one in seeds), "mean", "standard deviation", "range", "sd by the test sample"]
    figures = zip(*([*column.cells(), *column.summary()] for column in columns), strict=True)
    rows = [["seed", *(column.title for column in columns)], ["---"] * (len(columns) + 1)]
    rows += [[name, *cells] for name, cells in zip(names, figures, strict=True)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *_notes(seeds)])


def draw(seeds: Sequence[Seeded], path: Path) -> None:
    """Draw test macro-F1 from stage to stage, one line per seed.

    Args:
        seeds: as for :func:`spread`.
        path: a .png or .svg file in an existing folder.

    Raises:
        DataError: the file is of another kind, or its folder is missing.
    """
    if path.suffix not in FORMATS:
        raise DataError(
            f"The figure {path} ends in {path.suffix!r}. Choose a name that ends in {' or '.join(FORMATS)}."
        )
    if not path.parent.is_dir():
        raise DataError(f"The folder {path.parent} does not exist. Create it, or choose another one with --out.")
    names = [name for name in STUDENTS if any(name in one.scores for one in seeds)]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.add_subplot()
    for one in seeds:
        places = [place for place, name in enumerate(names) if name in one.scores]
        values = [one.scores[names[place]].macro_f1 for place in places]
        axes.plot(places, values, marker="o", markersize=4, label=f"seed {one.seed}")
    axes.set(xticks=range(len(names)), xticklabels=names, ylabel="test macro-F1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _columns(seeds: Sequence[Seeded]) -> list[Column]:
    shown = [name for name in STUDENTS if name not in NOT_ALWAYS or any(name in one.scores for one in seeds)]
    gaps = [one.test.difference for one in seeds]
    return [
        *(Column(f"{name}, test macro-F1", [_score(one, name) for one in seeds]) for name in shown),
        Column("compiled minus unchanged", [(gap.macro_f1, gap.interval) for gap in gaps], "+.3f"),
        Column("calls of the search", [(one.calls, None) for one in seeds], ",.0f"),
        Column("minutes of the search", [(one.minutes, None) for one in seeds], ".1f"),
    ]


def _score(one: Seeded, name: str) -> tuple[float, Interval] | None:
    score = one.scores.get(name)
    return None if score is None else (score.macro_f1, score.interval)


def _notes(seeds: Sequence[Seeded]) -> Iterator[str]:
    same = len({one.test_data for one in seeds}) == 1
    drawn = "the same for all seeds, so the last row adds nothing to the spread" if same else "drawn by each seed"
    yield f"{' or '.join(map(str, sorted({one.test.baseline.n for one in seeds})))} test examples, {drawn}."
    yield from _changes([one.scores for one in seeds], "Searched minus all rules")
    yield from _changes([one.calibrated for one in seeds], "The same with offsets from validation alone")
    if unasked := [str(one.run) for one in seeds if not _both(one.scores)]:
        yield f"To add what is missing of {ALL} and {SEARCHED}: {'; '.join(f'{COMMAND} {run}' for run in unasked)}."
    if plain := [str(one.run) for one in seeds if CALIBRATED not in one.scores]:
        yield f"Compiled without --calibrate, or without log-probabilities: {', '.join(plain)}."


def _both(scores: Mapping[str, Score]) -> bool:
    return ALL in scores and SEARCHED in scores


def _changes(found: Sequence[Mapping[str, Score]], what: str) -> Iterator[str]:
    """Compare the searched rules with all rules: the change of the mean, and of the standard deviation over seeds.

    The interval of the ratio is that of two independent normal samples; as both have the same seeds, it may be too
    wide.

    Args:
        found: per seed, test scores by student; seeds without both students are left out.
        what: names the comparison.
    """
    pairs = [(scores[ALL].macro_f1, scores[SEARCHED].macro_f1) for scores in found if _both(scores)]
    if len(pairs) < 2:
        return
    everything, searched = np.transpose(pairs)
    gains = searched - everything
    yield (
        f"{what}, seed by seed: {searched.mean():.3f} - {everything.mean():.3f} = {gains.mean():+.3f} on average, "
        f"{gains.min():+.3f} to {gains.max():+.3f}."
    )
    before, after = everything.std(ddof=1), searched.std(ddof=1)
    if before == 0:
        return
    ratio, reach = after / before, np.sqrt(f_distribution.ppf(0.975, len(pairs) - 1, len(pairs) - 1))
    does = f"remove {1 - ratio:.0%} of" if ratio <= 1 else f"add {ratio - 1:.0%} to"
    yield (
        f"Wordings and search {does} the standard deviation over seeds, {before:.3f} -> {after:.3f}: "
        f"ratio {ratio:.2f}, 95% interval {ratio / reach:.2f} to {ratio * reach:.2f} from {len(pairs)} seeds."
    )
