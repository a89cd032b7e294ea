"""pld-dspy report: write report.html again."""

from __future__ import annotations

import typer

from .options import RunArgument


def report(run: RunArgument) -> None:
    """Write report.html of a finished run again."""
    from ..report.page import write_report

    typer.echo(write_report(run))
