"""report.html: what a finished run found and what each rule rests on, in one file that needs nothing else."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..calibrate.result import Calibration
from ..errors import RunError
from ..ledger.jsonl import read_jsonl
from ..resolve.result import PatchRecord
from ..rules import MicroRule, Rule, by_example
from ..run.folder import RunFolder
from ..run.result import Comparison, PLDResult
from ..scoring.score import NO_ANSWER, Score
from .plots import Trial, plot_effects, plot_labels, plot_progress, plot_reliability, plot_risk_coverage

EXAMPLES_SHOWN = 30
"""Supporting examples that a rule shows in full; the others are named by id."""


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
    micro_rules = read_jsonl(run.micro_rules, MicroRule) if run.micro_rules.is_file() else []
    settings = run.config.read_text(encoding="utf-8") if run.config.is_file() else None

    shown = result.test or result.validation
    page = _environment().from_string(files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8"))
    run.report.write_text(
        page.render(
            name=run.path.resolve().name,
            result=result,
            shown=shown,
            splits=[
                (name, split) for name, split in (("test", result.test), ("validation", result.validation)) if split
            ],
            examples={rule.id: _examples(rule, micro_rules) for rule in (*result.rules.rules, *result.bench)},
            confusions=[(title, _confusion(score, result.labels)) for title, score in _sides(shown)],
            progress=plot_progress(trials) if trials else None,
            effects=plot_effects(result) if result.insight else None,
            bars=plot_labels(_sides(shown), result.labels),
            **_calibration_plots(result.calibration),
            patches=read_jsonl(run.patches, PatchRecord) if run.patches.is_file() else [],
            settings=settings,
            with_money=any(cost.money for stages in result.costs.values() for cost in stages.values()),
        ),
        encoding="utf-8",
    )
    return run.report


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


def _read_trials(path: Path) -> list[Trial]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return [
                Trial(
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


def _calibration_plots(found: Calibration | None) -> dict[str, Markup | None]:
    """Draw the risk-coverage curves and the reliability of both students; None without a test set."""
    plots: dict[str, Markup | None] = {"curves": None, "reliability": None}
    if found is None:
        return plots
    graded = {
        "compiled, calibrated": found.compiled.calibrated,
        "compiled": found.compiled.plain,
        "unchanged, calibrated": found.baseline.calibrated,
        "unchanged": found.baseline.plain,
    }
    grades = {name: grade for name, grade in graded.items() if grade is not None}
    if grades:
        wanted = None if found.compiled.abstention is None else found.compiled.abstention.error_rate
        curves = {name: (grade.coverage, grade.risk) for name, grade in grades.items()}
        plots["curves"] = plot_risk_coverage(curves, wanted=wanted)
    if any(grade.reliability for grade in grades.values()):  # results of earlier versions have none
        plots["reliability"] = plot_reliability(grades)
    return plots
