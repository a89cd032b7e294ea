"""Exit codes: 0 done, 1 failed, 2 bad arguments or data, 130 interrupted; every error is one line."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import DataError, PLDError, RunError
from .streams import escape_control_characters

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
GLOBAL_OPTIONS = ("--debug", "--quiet")


class CommandGroup(TyperGroup):
    """All commands: accepts global options anywhere, and turns an error into one line and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move global options to the front, where typer expects them."""
        parsed: list[str] = super().parse_args(ctx, sorted(args, key=lambda arg: arg not in GLOBAL_OPTIONS))
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print an error of the library as one line, unless --debug is given."""
        try:
            return super().invoke(ctx)
        except PLDError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {one_line(error)}", err=True)
            raise typer.Exit(MISUSED if isinstance(error, (DataError, RunError)) else FAILED) from error
        except KeyboardInterrupt as error:
            typer.echo("Interrupted. Finished calls are kept: the same command resumes from there.", err=True)
            raise typer.Exit(INTERRUPTED) from error


def one_line(error: Exception) -> str:
    """Return an error's message as one line without control characters."""
    return escape_control_characters(" ".join(str(error).split()))
