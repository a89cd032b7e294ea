"""Finished runs of one program that differ in the seed alone, read from their folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pld_dspy.errors import DataError
from pld_dspy.ledger.budget import Cost
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import Comparison, PLDResult
from pld_dspy.scoring.score import Score

from .stages import ALL, EXTRACTED, EXTRACTED_REWORDED, LOOP, REWORDED, SEARCHED, UNCHANGED, Stages

CALIBRATED = "calibrated"
STUDENTS = (UNCHANGED, ALL, REWORDED, EXTRACTED, EXTRACTED_REWORDED, SEARCHED, LOOP, CALIBRATED)
NOT_ALWAYS = (REWORDED, EXTRACTED, EXTRACTED_REWORDED, LOOP)
"""The students that a run may have test scores of, in the order of the stages."""
ABSENT = "absent"


@dataclass(frozen=True)
class Seeded:
    """A finished run as one seed among several.

    Attributes:
        run: its folder.
        seed: its seed.
        settings: settings in config.yaml by dotted name, without the seed and the splits that it decides.
        test_data: digest and number of the test examples.
        test: the unchanged and the compiled student on test.
        scores: student of ``STUDENTS`` -> test score, as far as the run has one.
        calibrated: student -> test score with offsets fitted on its validation answers alone, as far as known.
        calls, minutes: student calls and minutes that the search took.
    """

    run: Path
    seed: int
    settings: dict[str, Any]
    test_data: str
    test: Comparison
    scores: dict[str, Score]
    calibrated: dict[str, Score]
    calls: int
    minutes: float


def read_seeds(runs: Sequence[Path]) -> list[Seeded]:
    """Read finished runs that differ in the seed alone, ordered by seed; no student is called.

    Raises:
        DataError: there are fewer than two runs, two have the same seed, one differs in another setting, or one has no
            test split.
        RunError: a folder holds no finished run, or a file in it is damaged.
    """
    if len(runs) < 2:
        raise DataError(f"The number of run folders is {len(runs)}. Give two or more, one per seed.")
    seeds = sorted((_seeded(run) for run in runs), key=lambda one: one.seed)
    for one, other in pairwise(seeds):
        if one.seed == other.seed:
            raise DataError(f"{one.run} and {other.run} both have the seed {one.seed}. Give one run per seed.")
        if differing := _differing(one.settings, other.settings):
            raise DataError(
                f"{one.run} and {other.run} differ in {differing}. Give runs of one program, student and settings that "
                "differ in the seed alone."
            )
    return seeds


def _seeded(run: Path) -> Seeded:
    result, settings = PLDResult.load(run), RunFolder(run).settings()
    if result.test is None:
        raise DataError(f"{run} has no test split, so its students have no test score. Compile with test data.")
    stages = Stages.load(run, result)
    scores = {name: _score(name, result, result.test, stages) for name in STUDENTS}
    calibrated = {name: None if stages is None else stages.calibrated(name) for name in STUDENTS}
    return Seeded(
        run=run,
        seed=result.seed,
        settings=_without_seed(settings),
        test_data=settings["data"]["test"],
        test=result.test,
        scores={name: score for name, score in scores.items() if score is not None},
        calibrated={name: score for name, score in calibrated.items() if score is not None},
        calls=result.costs["student"].get("search", Cost()).calls,
        minutes=result.seconds["search"] / 60,
    )


def _score(name: str, result: PLDResult, test: Comparison, stages: Stages | None) -> Score | None:
    """Return a student's test score, from result.json where that has it."""
    if name == UNCHANGED:
        return test.baseline
    if name == CALIBRATED:
        grade = None if result.calibration is None else result.calibration.compiled.calibrated
        return None if grade is None else grade.score
    if name == (SEARCHED if result.searched is None else LOOP):
        return test.compiled
    return None if stages is None else stages.test(name)


def _without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted name, without the seed, what it decides, and paths of files that have a digest."""
    kept = {name: settings.get(name) for name in ("settings", "code", "task", "student", "teacher", "adapter")}
    kept["program"] = settings.get("command", {}).get("source")
    kept["rationales"] = settings["data"].get("rationales")
    return {name: value for name, value in _flat(kept) if name != "settings.seed"}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the settings in which two runs differ, as text; empty if there are none."""
    texts = [{name: json.dumps(value, default=str) for name, value in settings.items()} for settings in (one, other)]
    pairs = ((name, *(settings.get(name, ABSENT) for settings in texts)) for name in {**one, **other})
    return ", ".join(f"{name} ({mine} and {its})" for name, mine, its in pairs if mine != its)
