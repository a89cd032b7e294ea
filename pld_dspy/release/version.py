"""The versions of a finished run: edited rules become the one in place, and the one before is kept whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
from filelock import FileLock

from ..calibrate.calibration import Calibration, StudentCalibration
from ..calibrate.students import grade_students
from ..compile.build_result import compared, failure_notes, rule_tokens
from ..errors import RunError
from ..ledger.jsonl import write_whole, writing
from ..run.folder import RunFolder
from ..run.outcome import write_outcome
from ..run.result import EDITED, PLDResult
from .edits import Change, Listed, read_edits
from .recheck import STAGE, Recheck, SplitRecheck
from .trail import TRAIL, now

EARLIER = "About the rules before people edited them: "
"""Beginning of the notes that were there before an edit."""


def edited_result(result: PLDResult, edited: Listed, changes: Sequence[Change]) -> PLDResult:
    """Return a result with the edited rules and bench, a note about the edits, and the figures as they were."""
    rules, bench = edited
    note = f"{EDITED} on {now()}: {'; '.join(map(str, changes))}."
    counts = {**result.counts, "rules": len(rules) + len(bench)}
    update = {"rules": rules, "bench": [*bench], "counts": counts, "notes": [note, *result.notes]}
    if any(change.reads or {"pin changed", "ban changed"} & {*change.what} for change in changes):
        update["insight"] = None  # its shorter lists are of other rules
    return result.model_copy(update=update)


def rescored_result(
    result: PLDResult, recheck: Recheck, found: Mapping[str, SplitRecheck], *, seconds: float
) -> PLDResult:
    """Return a result of :func:`edited_result` with the figures of a recheck, which took so many ``seconds``.

    ``found`` holds "validation" and, if that was asked too, "test"; figures that would need more calls are left out.
    """
    context, validation, test = recheck.context, found["validation"], found.get("test")
    gain = validation.difference
    note = (
        f"{result.notes[0]} Macro-F1 on validation by the edits {gain}; {len(validation.flips)} of {gain.n} answers "
        "changed."
    )
    if recheck.offsets is not None:
        note += " Offsets, temperature and threshold stay those fitted under the rules of the compile."
    earlier = [one if one.startswith((EDITED, EARLIER)) else f"{EARLIER}{one}" for one in result.notes[1:]]
    spent = context.ledger.spent["student", STAGE]
    cost = spent.model_copy(update={"call_seconds": round(spent.call_seconds, 2)})
    update: dict[str, Any] = {
        "improved": validation.edited.score.objective > validation.unchanged.score.objective,
        "instructions": dict(recheck.program.named_predictors())[context.task.predictor].signature.instructions,
        "validation": compared(context, context.splits.val, (validation.unchanged, validation.edited)),
        "test": test and compared(context, context.splits.test, (test.unchanged, test.edited)),
        "costs": {**result.costs, "student": {**result.costs["student"], STAGE: cost}},
        "seconds": {**result.seconds, STAGE: round(result.seconds.get(STAGE, 0.0) + seconds, 2)},
        "calibration": result.calibration and _graded(result.calibration, recheck, test),
        "baselines": result.baselines and result.baselines.alone,
        "rule_tokens": rule_tokens(validation.unchanged, validation.edited),
        "notes": [note, *failure_notes(context), *earlier],
    }
    return result.model_copy(update=update)


def replace_version(folder: Path, before: PLDResult, after: PLDResult, program: dspy.Module | None) -> Path:
    """Put the result ``after``, and its program if one is given, in place; return where the version before is kept.

    Raises:
        RunError: rules.yaml or the result was changed meanwhile, or a file cannot be written.
    """
    run = RunFolder(folder)
    with writing(run.result), FileLock(f"{run.config}.lock"):
        rules, bench = read_edits(folder)
        if PLDResult.load(folder) != before or rules.to_yaml(bench) != after.rules.to_yaml(after.bench):
            raise RunError(
                f"{run.rules} or {run.result.name} was changed while the student was asked. Recheck again: its answers "
                "are kept."
            )
        kept = _keep(run, before)
        write_outcome(run, program, after)
    return kept


def _keep(run: RunFolder, result: PLDResult) -> Path:
    """Copy the version in place, ledger and study aside, into versions/N; whole, or not at all."""
    versions = run.path / "versions"
    latest = max((int(path.name) for path in versions.glob("*") if path.name.isdecimal()), default=0)
    kept, path = versions / str(latest), versions / str(latest + 1)
    # A recheck that was killed may have kept a copy of what is still in place.
    if latest and (kept / run.result.name).read_bytes() == run.result.read_bytes():
        return kept
    new = path.with_name(f"{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # of a recheck that was killed
    new.mkdir(parents=True)
    files = {*vars(run).values(), run.path / TRAIL} - {run.path, run.predictions, run.study}
    for file in files:
        if file.is_file():
            shutil.copy2(file, new / file.name)
    write_whole(new / run.rules.name, result.rules.to_yaml(result.bench))  # the run's own holds the edits
    os.replace(new, path)
    return path


def _graded(found: Calibration, recheck: Recheck, test: SplitRecheck | None) -> Calibration:
    """Return the calibration with grades on test under the edited rules; without any where test was not asked."""
    weighs = recheck.precedents is not None
    bare = Calibration(
        baseline=_ungraded(found.baseline),
        compiled=_ungraded(found.compiled),
        n=found.n,
        capped=found.capped,
        **{
            name: weighed.model_copy(update={"student": _ungraded(weighed.student), "difference": None})
            for name in ("baseline_weighed", "compiled_weighed")
            if weighs and (weighed := getattr(found, name)) is not None
        },
    )
    if test is None:
        return bare
    examples = recheck.examples("test")
    return grade_students(
        bare,
        examples,
        (test.unchanged, test.edited),
        recheck.context.evaluator,
        precedents=recheck.precedents,
        texts=recheck.context.texts(examples) if weighs else (),
    )


def _ungraded(side: StudentCalibration) -> StudentCalibration:
    abstention = side.abstention and side.abstention.model_copy(update={"test": None})
    return StudentCalibration(offsets=side.offsets, abstention=abstention)
