"""report.html: the outcome of a finished run and the examples behind each rule, in one file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from ..calibrate.calibration import Calibration
from ..ledger.jsonl import read_jsonl, write_whole
from ..resolve.records import PatchRecord
from ..rules import MicroRule, supporting
from ..run.folder import RunFolder
from ..run.progress import read_trials
from ..run.result import Comparison, PLDResult
from ..scoring.score import NO_ANSWER, Score
from .pages import EXAMPLES_SHOWN, template
from .plots import plot_labels, plot_learning_curve, plot_progress, plot_reliability, plot_risk_coverage


def write_report(folder: Path) -> Path:
    """Write report.html into a finished run's folder, without the sections whose file is missing; return its path.

    Raises:
        RunError: the run is not finished, or result.json or trials.csv is damaged.
        DataError: micro_rules.jsonl or patches.jsonl is damaged.
    """
    run, result = RunFolder(folder), PLDResult.load(folder)
    trials = read_trials(run.trials) if run.trials.is_file() else []
    micro_rules = read_jsonl(run.micro_rules, MicroRule) if run.micro_rules.is_file() else []
    shown = result.test or result.validation
    splits = [(name, split) for name, split in (("test", result.test), ("validation", result.validation)) if split]
    page = template("report.html.j2").render(
        name=run.path.resolve().name,
        result=result,
        shown=shown,
        splits=splits,
        examples={
            rule.id: supporting(rule, micro_rules)[:EXAMPLES_SHOWN] for rule in (*result.rules.rules, *result.bench)
        },
        confusions=[(title, _confusion(score, result.labels)) for title, score in _students(shown)],
        progress=plot_progress(trials) if trials else None,
        bars=plot_labels(_students(shown), result.labels),
        curve=plot_learning_curve(result.baselines) if result.baselines else None,
        **_calibration_plots(result.calibration),
        patches=read_jsonl(run.patches, PatchRecord) if run.patches.is_file() else [],
        settings=run.config.read_text(encoding="utf-8", errors="replace") if run.config.is_file() else None,
        with_money=any(cost.money for stages in result.costs.values() for cost in stages.values()),
    )
    write_whole(run.report, page)
    return run.report


def _students(comparison: Comparison) -> list[tuple[str, Score]]:
    return [("Unchanged student", comparison.baseline), ("Compiled student", comparison.compiled)]


def _confusion(score: Score, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return gold label -> answer -> count, with a column for missing answers only where there are some."""
    missing = any(NO_ANSWER in row for row in score.confusion.values())
    answers = [*labels, NO_ANSWER] if missing else labels
    return {gold: {answer: score.confusion.get(gold, {}).get(answer, 0) for answer in answers} for gold in labels}


def _calibration_plots(found: Calibration | None) -> dict[str, Markup | None]:
    """Draw the risk-coverage curves and the reliability of both students; None without a test set."""
    sides = {name: found.students[name] for name in reversed(found.students)} if found else {}
    grades = {
        name: grade
        for student, side in sides.items()
        for name, grade in ((f"{student}, calibrated", side.calibrated), (student, side.plain))
        if grade is not None
    }
    if found is None or not grades:
        return {"curves": None, "reliability": None}
    wanted = found.used.abstention
    curves = {name: (grade.coverage, grade.risk) for name, grade in grades.items()}
    return {
        "curves": plot_risk_coverage(curves, wanted=wanted.error_rate if wanted else None),
        "reliability": plot_reliability(grades),
    }
