"""A compile on the command line, from loading the data to printing the result; compile and demo share it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import dspy

from ..errors import DataError
from ..release.registry import record_finished
from ..release.report import write_report
from ..release.trail import append
from ..run.folder import RunFolder
from ..run.result import PLDResult
from ..run.tracking import Recorder
from .options import RunOptions
from .printing import console, print_estimate, print_result
from .run_spec import ModelSpec, RunSpec
from .streams import silence_libraries

if TYPE_CHECKING:
    from ..pld import PLD

_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/\s]*(?=@)")


def run_compile(
    spec: RunSpec, pld: PLD, *, teacher: ModelSpec | None, run: RunOptions, student: dspy.Module | None = None
) -> None:
    """Compile, or only print the estimate; write the report and what ``evaluate`` needs, and print the result.

    ``student`` is the program where that is not as its source has it.

    Raises:
        DataError: a model, the adapter or the data is unusable; raised before the first call and before any weights
            are fetched.
    """
    silence_libraries()
    adapter = spec.dspy_adapter()
    for model in filter(None, (spec.student, teacher)):
        model.check()
    spec, arguments = spec.load()
    if teacher is None and not arguments["rationales"] and (spec.rules_of is None or spec.more is not None):
        raise DataError("There is nothing to make rules from. Give --rationales, or a --teacher.")
    student, out = student or spec.source.student(), console()
    pld.origin = spec.model_dump(mode="json", exclude_none=True)
    uncalled = teacher and dspy.LM(teacher.spec)  # a local teacher is not served for an estimate
    upper_bounds = pld.estimate(student, teacher=uncalled, **arguments)  # checks the data, too
    if run.estimate:
        print_estimate(out, upper_bounds)
        return
    with dspy.context(lm=spec.student.lm(), adapter=adapter):
        pld.compile(student, teacher=teacher and teacher.lm(), resume=not run.fresh, **arguments)
    folder = RunFolder(pld.run_dir)
    what = "updated" if spec.more else "transferred" if spec.rules_of else "compiled"
    append(folder.path, what, **({"rules_of": spec.rules_of} if spec.rules_of else {}))
    page = write_report(folder.path)
    record_finished(folder.path, pld.tracking)
    print_result(out, PLDResult.load(folder.path))
    for line in filter(None, (f"Run folder: {folder.path}", f"Report: {page}", mlflow_line(pld.tracking))):
        out.print(line, soft_wrap=True)


def mlflow_line(tracking: str | Recorder | None) -> str | None:
    """Return the command that shows the run in MLflow; None if no local server is needed for that."""
    if not isinstance(tracking, str):
        return None
    import mlflow

    uri = mlflow.get_tracking_uri() if tracking == "mlflow" else tracking
    if uri.startswith("http"):
        return None
    return "MLflow: mlflow ui --backend-store-uri " + _PASSWORD.sub(r"\1:***", uri)
