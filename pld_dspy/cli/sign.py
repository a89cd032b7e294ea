"""pld-dspy sign: sign a finished run, or check its signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import RunArgument
from .streams import escape_control_characters

if TYPE_CHECKING:
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
) -> None:
    """Sign a finished run as it is now, or check whether a signature still holds."""
    from ..release import signature
    from ..run.result import PLDResult

    if not check:
        signed = signature.sign(run, by=by, comment=comment)
        typer.echo(escape_control_characters(f"Signed by {signed.by} on {signed.when}: {', '.join(signed.files)}."))
        typer.echo(_figures(PLDResult.load(run)))
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
