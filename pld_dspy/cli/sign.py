"""pld-dspy sign: sign a finished run, or check its signature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import without_secrets
from .options import RunArgument, Tracking
from .streams import escape_control_characters, silence_libraries

if TYPE_CHECKING:
    from ..release.signature import Signature
    from ..run.result import PLDResult


def sign(
    run: RunArgument,
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who signs.", show_default=False)] = "",
    comment: Annotated[
        str, typer.Option(metavar="TEXT", help="What to note beside the name.", show_default=False)
    ] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Say whether the signature holds; exit code 1 if not.")
    ] = False,
    tracking: Tracking = "mlflow",
) -> None:
    """Sign a finished run as it is now, or check whether a signature still holds."""
    from ..release import signature
    from ..release.trail import read_acceptances
    from ..run.folder import RunFolder
    from ..run.result import PLDResult

    if not check:
        signed = signature.sign(run, by=by, comment=comment)
        typer.echo(escape_control_characters(f"Signed by {signed.by} on {signed.when}: {', '.join(signed.files)}."))
        result = PLDResult.load(run)
        typer.echo(_figures(result))
        if worse := _worse_on(result):
            typer.echo(f"Warning: signed although the unchanged student is better on {' and '.join(worse)}.")
        typer.echo(escape_control_characters(_accepted(result, signed, {name for name, _ in read_acceptances(run)})))
        # The folder does not say where: one from elsewhere would name the server that is called.
        if tracking != "none" and RunFolder(run).settings().get("tracked"):
            _mark(run, None if tracking == "mlflow" else tracking)
        return
    if faults := signature.signature_faults(run):
        typer.echo(escape_control_characters("\n".join(faults)))
        raise typer.Exit(1)
    if found := signature.read_signature(run):
        typer.echo(escape_control_characters(f"Signed by {found.by} on {found.when}, and unchanged since."))


def _figures(result: PLDResult) -> str:
    """Return in a line what was signed: macro-F1 of the unchanged and the compiled student."""
    pairs = {"validation": result.validation, "test": result.test}
    said = [
        f"no figures on {split}"
        if one is None
        else f"{one.baseline.macro_f1:.3f} -> {one.compiled.macro_f1:.3f} on {split}"
        for split, one in pairs.items()
    ]
    return f"{len(result.rules)} rules; macro-F1 {', '.join(said)}."


def _worse_on(result: PLDResult) -> list[str]:
    """Return the splits on which the rules make the student worse."""
    pairs = {"validation": result.validation, "test": result.test}
    return [split for split, one in pairs.items() if one is not None and one.compiled.macro_f1 < one.baseline.macro_f1]


def _accepted(result: PLDResult, signed: Signature, reworded: Collection[str]) -> str:
    """Return how many rules were accepted by whom and, in a second line, which were not.

    ``reworded`` are the ids of rules that were accepted with any text.
    """
    counts = Counter(signed.accepted.values())
    said = f"Accepted on the review page: {len(signed.accepted)} of {len(result.rules)} rules"
    said += "".join(f", {n} by {name}" for name, n in counts.items()) + "."
    left = [rule.id for rule in result.rules.rules if rule.id not in signed.accepted]
    if not left:
        return said
    said += f"\nWarning: accepted by nobody as they are now, and signed all the same: {', '.join(left)}."
    before = [name for name in left if name in reworded]
    return said + (f" Of these, accepted in other words before: {', '.join(before)}." if before else "")


def _mark(run: Path, uri: str | None) -> None:
    """Mark the signed version of the prompt in MLflow; the signature stands if the store fails."""
    from ..release.registry import mark_signed

    silence_libraries()
    try:
        typer.echo(f"MLflow: version {mark_signed(run, uri)} of the prompt has the alias signed.")
    except Exception as error:  # noqa: BLE001 - stores are plug-ins with no common base class of errors
        typer.echo(f"Signed, but not marked in MLflow: {without_secrets(str(error))}", err=True)
