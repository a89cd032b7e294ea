"""What each source gives, from finished runs: the student, rules, demonstrations, precedents, and the labels alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pld_dspy.errors import DataError
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import read_trials
from pld_dspy.run.result import PLDResult
from pld_dspy.scoring.difference import Difference

from .run_student import change_text, score_text

HEADER = (
    "| run | student or classifier | test macro-F1 [95%] | calibrated | the program less this |\n|---|---|---|---|---|"
)


def classifiers(runs: Sequence[Path]) -> str:
    """Return a table of what students and classifiers have on test, and the mean difference over several runs.

    Raises:
        DataError: a run has no test set, or was made before results had baselines.
        RunError: a folder holds no finished run.
    """
    rows, gains = [HEADER], defaultdict[str, list[Difference]](list)
    for run in runs:
        result = PLDResult.load(run)
        if result.test is None or result.baselines is None:
            raise DataError(f"{run} has no test set or no baselines. Compile it again, with a test set.")
        rows += _rows(run.name, result)
        rows.append(_searched(run, result))
        for name, gain in _gains(result).items():
            gains[name].append(gain)
    if len(runs) > 1:
        rows += [f"| mean of {len(found)} | {name} | | | {mean_text(found)} |" for name, found in gains.items()]
    return "\n".join(rows)


def _gains(result: PLDResult) -> dict[str, Difference]:
    """Return the program less each classifier, and less the unchanged student with the same precedents."""
    assert result.baselines is not None
    gains = {row.name: row.difference for row in result.baselines.rows if row.difference is not None}
    found = result.calibration
    if found is not None and found.weighs and found.compiled_weighed and found.compiled_weighed.by_rules:
        gains["unchanged + precedents"] = found.compiled_weighed.by_rules
    return gains


def mean_text(gains: Sequence[Difference]) -> str:
    """Return the mean of some differences; the examples of different runs are taken for independent draws."""
    mean = float(np.mean([one.macro_f1 for one in gains]))
    error = float(np.linalg.norm([one.standard_error for one in gains])) / len(gains)
    return change_text(mean, (mean - 1.96 * error, mean + 1.96 * error))


def _rows(run: str, result: PLDResult) -> Iterator[str]:
    assert result.test is not None
    assert result.baselines is not None
    plain = {"unchanged": result.test.baseline, "compiled": result.test.compiled}
    students = result.calibration.students if result.calibration else {}
    gains = {name: gain.short for name, gain in _gains(result).items()}
    for name in plain | students:
        calibrated = students[name].calibrated if name in students else None
        own = plain.get(name)
        graded = score_text(calibrated.score if calibrated else None)
        yield f"| {run} | {name} | {score_text(own)} | {graded} | {gains.get(name, '')} |"
    for row in result.baselines.rows:
        name = f"{row.name}, {result.baselines.labels} labels"
        yield f"| {run} | {name} | {score_text(row.score)} | | {gains.get(row.name, '')} |"


def _searched(run: Path, result: PLDResult) -> str:
    """Return what the sets that were asked in full have on validation, by kind."""
    trials = [trial for trial in read_trials(RunFolder(run).trials) if trial.objective is not None]
    first = {trial.kind: trial.objective for trial in reversed(trials)}
    best = max(trial.best for trial in trials)
    kinds = ", ".join(f"{kind} {value:.3f}" for kind, value in first.items() if kind not in ("race", "confirm"))
    chosen = f"{len(result.rules)} rules, {len(result.rules.demos)} demonstrations"
    return f"| {run.name} | on validation: {kinds}; best {best:.3f}; chosen {chosen} | | | |"
