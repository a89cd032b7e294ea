"""pld-dspy recheck: score the rules as people edited them, and make them the run's current version."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError
from .options import By, RunArgument, StudentServer, with_option_groups
from .streams import escape_control_characters, silence_libraries

if TYPE_CHECKING:
    from ..release.edits import Change, Listed
    from ..release.recheck import Recheck, SplitRecheck
    from .finished_run import FinishedRun


@with_option_groups
def recheck(
    run: RunArgument,
    *,
    test: Annotated[
        bool, typer.Option("--test", help="Score the test split too; asked again and again, it is none any more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the figures, and leave the run as it is.")] = False,
    by: By = None,
    server: StudentServer,
) -> None:
    """Score the rules as people edited them in rules.yaml, and make them the run's current version."""
    from ..release.edits import changes, listed, read_edits
    from ..release.report import write_report
    from ..release.trail import append
    from ..release.version import edited_result, replace_version, rescored_result
    from .finished_run import FinishedRun
    from .printing import console, print_recheck

    silence_libraries()
    finished, edited, out = FinishedRun.open(run), read_edits(run), console()
    made = changes(listed(finished.result), edited)
    if not made:
        typer.echo("Nothing has changed in rules.yaml since the last compile or recheck: nothing was asked.")
        return
    for change in made:
        out.print(escape_control_characters(str(change)), soft_wrap=True)
    result, program = edited_result(finished.result, edited, made), None
    found: dict[str, SplitRecheck] = {}
    if finished.result.rules.digest == edited[0].digest and not test:
        typer.echo("The student reads what it read before: nothing was asked, and all figures stand.")
    else:
        started = time.perf_counter()
        checked, found = _ask(finished, edited, made, ["validation", *(["test"] if test else [])], server)
        result = rescored_result(result, checked, found, seconds=time.perf_counter() - started)
        program = checked.program
        if checked.offsets is not None:
            typer.echo("With the run's calibration, which was fitted under the rules of the compile.")
    for split, one in found.items():
        print_recheck(out, split, one)
    if dry_run:
        typer.echo("Nothing was changed. Without --dry-run, these rules become the run's current version.")
        return
    kept = replace_version(run, finished.result, result, program)
    figures = {split: one.difference.model_dump(mode="json") for split, one in found.items()}
    append(run, "rechecked", by=by, changes=list(map(str, made)), figures=figures)
    write_report(run)
    typer.echo(f"The edited rules are in place; the version before is kept in {kept}.")
    if result.test is None and finished.result.test is not None:
        typer.echo("Without --test, the run has no test figures for them, and an export may lack test examples.")


def _ask(
    finished: FinishedRun, edited: Listed, made: list[Change], splits: list[str], server: StudentServer
) -> tuple[Recheck, dict[str, SplitRecheck]]:
    """Ask the run's student about ``splits``, after saying how many calls that takes."""
    import dspy

    from ..release.recheck import Recheck
    from ..run.progress import bar

    model = finished.model(server)
    with finished.opened() as context:
        checked = Recheck(
            context=context,
            before=finished.result.rules,
            after=edited[0],
            changes=made,
            offsets=finished.calibration if finished.calibrated else None,
            precedents=finished.precedents,
        )
        if missing := [split for split in splits if not checked.examples(split)]:
            raise DataError(f"{finished.folder.path} has no {missing[0]} split. Leave out --{missing[0]}.")
        calls = checked.unanswered(splits)
        typer.echo(f"Student calls to make on {' and '.join(splits)}: {calls}. All other answers are known.")
        served = dspy.context(lm=model.lm()) if calls else nullcontext()  # where all is known, no model is loaded
        with served, bar("recheck", "answer") as shown:
            return checked, {split: checked.ask(split, shown.update) for split in splits}
