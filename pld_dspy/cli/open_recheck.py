"""A finished run of the command line, opened to ask its student under edited rules, or to read what it answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from ..release.edits import Change, Listed
    from ..release.recheck import Recheck
    from .finished_run import FinishedRun


def open_recheck(finished: FinishedRun, edited: Listed, made: list[Change]) -> Recheck:
    """Return a recheck of a finished run, under the configured model and adapter; no call is made.

    Raises:
        DataError: the data or the program is no longer what was compiled.
    """
    import dspy

    from ..compile.context import fingerprint
    from ..compile.inputs import check_inputs
    from ..ledger.ledger import Ledger
    from ..ledger.patience import PATIENCE
    from ..release.recheck import Recheck
    from ..scoring.objective import Objective
    from ..search.search_config import SearchConfig
    from ..student.adapter import asking_for_logprobs
    from ..student.compose import with_rules

    spec, arguments = finished.spec.load()
    document, result = finished.folder.settings(), finished.result
    settings = document["settings"]
    context = check_inputs(
        finished.framed(),
        **{**arguments, "rules": None},  # their file may be gone by now
        target=settings["target"],
        duplicates=spec.duplicates,
        seed=spec.seed,
    )
    for name, examples in context.splits.non_empty():
        if fingerprint(examples) != document["data"].get(name):
            raise DataError(
                f"The {name} split of {finished.folder.path} is no longer the one that was compiled with: its source "
                "has changed. Restore it."
            )
    program = with_rules(context.student, context.task, result.rules or None)
    if dict(program.named_predictors())[context.task.predictor].signature.instructions != result.instructions:
        raise DataError(
            f"The program's own instructions are no longer those that {finished.folder.path} was compiled with. "
            "Restore them, or compile again."
        )
    threads = 1 if finished.spec.student.is_local else dspy.settings.num_threads
    asks = settings["calibrate"] or SearchConfig(**settings["search"]).learns_from_logprobs
    context.open(
        finished.folder,
        Ledger(finished.folder.predictions, num_threads=threads, patience=PATIENCE),
        objective=Objective(settings["objective"]),
        adapter=asking_for_logprobs(None) if asks else dspy.settings.adapter,
    )
    return Recheck(
        context=context,
        before=result.rules,
        after=edited[0],
        changes=made,
        offsets=finished.calibration if finished.calibrated else None,
        precedents=finished.precedents,
    )
