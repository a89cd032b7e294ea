"""What a finished compile leaves: the last files of its run folder, and its figures in MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import dspy

from ..calibrate.calibration import StudentCalibration
from ..calibrate.precedents import Precedents
from ..ledger.dspy_names import get_dependency_versions
from ..ledger.jsonl import write_whole, writing
from ..ledger.keys import digest
from .folder import RunFolder, write_csv
from .result import OWN_CODE, PLDResult
from .tracking import FINGERPRINT, Recorder


def record_start(folder: RunFolder, settings: Mapping[str, Any], recorder: Recorder) -> None:
    """Record the flat ``settings`` of a compile, its models, and which examples it was given, without their texts."""
    found = folder.settings()
    models = {"student_model": found["student"]["lm"], "teacher_model": found["teacher"] or {}}
    names = {role: lm.get("model") for role, lm in models.items()}
    recorder.params({**settings, **names, FINGERPRINT: found["fingerprint"]})
    for split, said in found["data"].items():
        if given := re.fullmatch(r"(\w+) \((\d+) rows\)", str(said)):
            recorder.data(split, given[1], int(given[2]))


def keep_outcome(
    folder: RunFolder,
    program: dspy.Module,
    result: PLDResult,
    precedents: Precedents | None,
    recorder: Recorder,
    *,
    objective: str,
) -> None:
    """Write the last files of a run, of which result.json marks it as finished; record figures and files.

    program.json is the user's own program; calibration.json and precedents.json hold what ``Calibrated`` applies beside
    it. The latter has the examples' texts, so it is not recorded.
    ``val_OBJECTIVE`` ends on the value of the chosen rules.
    """
    with writing(folder.path):
        for of_an_earlier_end in (folder.result, folder.calibration, folder.precedents):
            of_an_earlier_end.unlink(missing_ok=True)
    if result.calibration is not None:
        write_whole(folder.calibration, result.calibration.used.saved.model_dump_json(indent=2) + "\n")
    if precedents is not None:
        write_whole(folder.precedents, precedents.model_dump_json() + "\n")
    write_outcome(folder, program, result)
    recorder.metric(f"val_{objective}", result.validation.compiled.objective, result.counts["trials"])
    for name, value in _figures(result):
        recorder.metric(name, value)
    files = (folder.config, folder.rules, folder.result, folder.trials, folder.confusion, folder.program)
    for path in (*files, folder.patches, folder.calibration):
        if path.is_file():
            recorder.artifact(path)
    _record_prompt(folder, result, recorder)
    recorder.describe(result._repr_html_())


def _record_prompt(folder: RunFolder, result: PLDResult, recorder: Recorder) -> None:
    """Record the instructions under a name that all compiles of the same decision share."""
    found, task = folder.settings(), folder.settings()["task"]
    decision = [task[name] for name in ("inputs", "label_field", "labels")]
    field = re.sub(r"[^A-Za-z0-9_]", "_", task["label_field"])
    settings = [found["settings"][name] for name in ("objective", "metric")]
    measured_on = [found["data"]["validation"], found["student"]["lm"], found["adapter"], *settings]
    recorder.prompt(
        f"pld-{field}-{digest(decision)[:8]}",
        result.instructions,
        value=result.validation.compiled.objective,
        tags={"rules": result.rules.digest, "measured_on": digest(measured_on)},
    )


def write_outcome(folder: RunFolder, program: dspy.Module | None, result: PLDResult) -> None:
    """Write rules.yaml, confusion.csv, program.json (where a program is given) and, last, result.json."""
    write_whole(folder.rules, result.rules.to_yaml(result.bench))
    write_csv(folder.confusion, ("split", "program", "gold", "answer", "count"), _confusion(result))
    if program is not None:
        with writing(folder.path):
            for of_other_rules in (folder.effects, folder.effects_plot):
                of_other_rules.unlink(missing_ok=True)
        write_whole(folder.program, json.dumps(_state_without_lms(program), indent=2, default=str) + "\n")
    result.save(folder.path)


def _figures(result: PLDResult) -> Iterator[tuple[str, float | None]]:
    for split, comparison in (("val", result.validation), ("test", result.test)):
        if comparison is not None:
            yield f"{split}_macro_f1_baseline", comparison.baseline.macro_f1
            yield f"{split}_macro_f1_compiled", comparison.compiled.macro_f1
            yield f"{split}_macro_f1_gain", comparison.difference.macro_f1
            yield f"{split}_accuracy_gain", comparison.compiled.accuracy - comparison.baseline.accuracy
    if result.baselines is not None:
        split = "test" if result.baselines.split == "test" else "val"
        for row in result.baselines.rows:
            yield f"{split}_macro_f1_{row.name.replace(' ', '_')}", row.score.macro_f1
    if result.calibration is not None:
        if result.calibration.difference_to_baseline is not None:
            yield "test_macro_f1_gain_calibrated", result.calibration.difference_to_baseline.macro_f1
        for name, student in result.calibration.students.items():
            name = name.replace("unchanged", "baseline").replace(" + ", "_with_")
            yield from _calibration_figures(name, student)
    yield from ((f"count_{name}", number) for name, number in result.counts.items())
    for stage, seconds in result.seconds.items():  # the metrics named seconds_ add up to the whole
        yield "search_own_code_seconds" if stage == OWN_CODE else f"seconds_{stage}", seconds
    for role, stages in result.costs.items():
        yield f"{role}_calls", sum(cost.calls for cost in stages.values())


def _calibration_figures(student: str, found: StudentCalibration) -> Iterator[tuple[str, float | None]]:
    for name, grade in ((student, found.plain), (f"{student}_calibrated", found.calibrated)):
        if grade is not None:
            yield f"test_calibration_error_{name}", grade.calibration_error
            yield f"test_error_at_80_{name}", grade.error_at_80
    if found.calibrated is not None:
        yield f"test_macro_f1_{student}_calibrated", found.calibrated.score.macro_f1
    if found.offsets.gain is not None:
        yield f"out_of_fold_macro_f1_gain_{student}_calibrated", found.offsets.gain.macro_f1
    if found.abstention is not None:
        yield f"threshold_{student}_calibrated", found.abstention.threshold
        for split, answered in (("val", found.abstention.validation), ("test", found.abstention.test)):
            if answered is not None:
                yield f"{split}_coverage_{student}_calibrated", answered.coverage
                yield f"{split}_error_answered_{student}_calibrated", answered.error_rate


def _confusion(result: PLDResult) -> Iterator[tuple[str, str, str, str, int]]:
    for split, comparison in (("validation", result.validation), ("test", result.test)):
        if comparison is not None:
            for program, score in (("baseline", comparison.baseline), ("compiled", comparison.compiled)):
                for gold, row in score.confusion.items():
                    yield from ((split, program, gold, answer, number) for answer, number in row.items())


def _state_without_lms(program: dspy.Module) -> dict[str, Any]:
    """Return what ``program.save`` writes, for ``program.load``, without LMs: their settings may hold secrets."""
    state: dict[str, Any] = program.dump_state()
    for predictor in (state, *state.values()):  # a program that is one bare predictor is its own state
        if isinstance(predictor, dict) and "lm" in predictor:
            predictor["lm"] = None
    return {**state, "metadata": {"dependency_versions": get_dependency_versions()}}
