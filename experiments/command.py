"""The end of an experiment's command: an error of the library is one line, with exit code 2."""

from __future__ import annotations

import typer

from pld_dspy.errors import PLDError


def run_app(app: typer.Typer) -> None:
    """Run a command line; print an error of the library as one line and exit with 2."""
    try:
        app(standalone_mode=True)
    except PLDError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from error
