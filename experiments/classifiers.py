"""What each source gives, from finished runs: the student, rules, demonstrations, precedents, and the labels alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pld_dspy.errors import DataError
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import read_trials
from pld_dspy.run.result import PLDResult

from .run_student import score_text

HEADER = (
    "| run | student or classifier | test macro-F1 [95%] | calibrated | the program less this |\n|---|---|---|---|---|"
)


def classifiers(runs: Sequence[Path]) -> str:
    """Return a table of what students and classifiers have on test, and the mean difference over several runs.

    Raises:
        DataError: a run has no test set, or was made before results had baselines.
        RunError: a folder holds no finished run.
    """
    rows, differences = [HEADER], []
    for run in runs:
        result = PLDResult.load(run)
        if result.test is None or result.baselines is None:
            raise DataError(f"{run} has no test set or no baselines. Compile it again, with a test set.")
        rows += _rows(run.name, result)
        differences.append(result.baselines["classifier"].difference)
        rows.append(_searched(run, result))
    known = [one for one in differences if one is not None]
    if len(known) > 1:  # examples of different runs are taken for independent draws
        mean = float(np.mean([one.macro_f1 for one in known]))
        error = float(np.linalg.norm([one.standard_error for one in known])) / len(known)
        low, high = mean - 1.96 * error, mean + 1.96 * error
        line = (
            f"The compiled programs less the classifier, mean of {len(known)}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]."
        )
        rows += ["", line]
    return "\n".join(rows)


def _rows(run: str, result: PLDResult) -> Iterator[str]:
    assert result.test is not None
    assert result.baselines is not None
    plain = {"unchanged": result.test.baseline, "compiled": result.test.compiled}
    students = result.calibration.students if result.calibration else {}
    for name in plain | students:
        calibrated = students[name].calibrated if name in students else None
        own = plain.get(name)
        graded = score_text(calibrated.score if calibrated else None)
        yield f"| {run} | {name} | {score_text(own)} | {graded} | |"
    for row in result.baselines.rows:
        gain = row.difference
        above = "" if gain is None else f"{gain.macro_f1:+.3f} [{gain.interval[0]:+.2f}, {gain.interval[1]:+.2f}]"
        yield f"| {run} | {row.name}, {result.baselines.labels} labels | {score_text(row.score)} | | {above} |"


def _searched(run: Path, result: PLDResult) -> str:
    """Return what the sets that were asked in full have on validation, by kind."""
    trials = [trial for trial in read_trials(RunFolder(run).trials) if trial.objective is not None]
    first = {trial.kind: trial.objective for trial in reversed(trials)}
    best = max(trial.best for trial in trials)
    kinds = ", ".join(f"{kind} {value:.3f}" for kind, value in first.items() if kind not in ("race", "confirm"))
    chosen = f"{len(result.rules)} rules, {len(result.rules.demos)} demonstrations"
    return f"| {run.name} | on validation: {kinds}; best {best:.3f}; chosen {chosen} | | | |"
