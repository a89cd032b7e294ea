"""The pld-dspy command. Heavy modules are imported inside the commands, so that --help does not wait for them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .compile import compile_command
from .demo import demo
from .evaluate import evaluate
from .exit_codes import FAILED, CommandGroup, one_line
from .models import models_app
from .report import report
from .rules import rules
from .search import search_command
from .streams import log_to_stderr

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prompt-Level Distillation: turn labelled examples and their reasons into a short list of rules for a small "
    "model.",
)
app.command("compile")(compile_command)
app.command("search")(search_command)
for command in (demo, evaluate, rules, report):
    app.command()(command)
app.add_typer(models_app, name="models")


@app.callback()
def global_options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
) -> None:
    """Apply the options of all commands; ``CommandGroup`` and :func:`main` read --debug."""
    log_to_stderr(quiet=quiet)


def main() -> None:
    """Run the command; an unexpected error is one line too, unless --debug is given."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"Unexpected {type(error).__name__}: {one_line(error)}. Add --debug for the traceback.", err=True)
        raise SystemExit(FAILED) from error
