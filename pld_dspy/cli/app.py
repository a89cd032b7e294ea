"""The pld-dspy command. Heavy modules are imported inside the commands, so that --help does not wait for them.

Exit codes: 0 done, 1 failed, 2 bad arguments or data, 130 interrupted; every error is one line.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import DataError, PLDError, RunError, without_secrets
from .ask import ask
from .baselines import baselines
from .compile import compile_command, demo
from .effects import effects
from .evaluate import evaluate
from .export import export
from .lint import lint
from .monitor import monitor
from .options import RunArgument
from .recheck import recheck
from .review import review
from .rules import rules
from .search import search_command
from .sign import sign
from .streams import escape_control_characters, escape_what_cannot_be_encoded, log_to_stderr
from .transfer import transfer
from .update import update
from .verify import verify

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
GLOBAL_OPTIONS = ("--debug", "--quiet")
LONGEST_ERROR = 1200  # characters


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
            typer.echo(f"Error: {_one_line(error)}", err=True)
            raise typer.Exit(MISUSED if isinstance(error, (DataError, RunError)) else FAILED) from error
        except KeyboardInterrupt as error:
            typer.echo("Interrupted. Finished calls are kept: the same command resumes from there.", err=True)
            raise typer.Exit(INTERRUPTED) from error


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
for command in (
    ask,
    baselines,
    demo,
    effects,
    evaluate,
    export,
    lint,
    monitor,
    recheck,
    review,
    rules,
    sign,
    transfer,
    update,
    verify,
):
    app.command()(command)
models_app = typer.Typer()
app.add_typer(models_app, name="models")


@app.callback()
def global_options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
) -> None:
    """Apply the options of all commands; ``CommandGroup`` and :func:`main` read --debug."""
    log_to_stderr(quiet=quiet)
    escape_what_cannot_be_encoded()


@app.command()
def report(run: RunArgument) -> None:
    """Write report.html of a finished run again."""
    from ..release.report import write_report

    typer.echo(write_report(run))


@models_app.callback(invoke_without_command=True)
def models(ctx: typer.Context) -> None:
    """Local models: list them, or fetch one before its first use."""
    if ctx.invoked_subcommand is None:
        list_models()


@models_app.command("list")
def list_models() -> None:
    """List the models that can be fetched by name, and the paths of those that are cached."""
    from ..local.models import CATALOGUE, find
    from .printing import console, table_of

    table = table_of(["name", "size", "licence", "cached"])
    table.add_column("path", overflow="fold")
    for name, model in CATALOGUE.items():
        path = find(name)
        table.add_row(name, f"{model.size / 1e9:.2f} GB", model.license, "yes" if path else "no", str(path or ""))
    console().print(table)


@models_app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    *,
    accept_gemma_terms: Annotated[
        bool, typer.Option("--accept-gemma-terms", help="You accept the terms at https://ai.google.dev/gemma/terms.")
    ] = False,
) -> None:
    """Fetch a model, verify it, and print its path."""
    from ..local.fetch import fetch
    from .run_spec import ModelSpec

    ModelSpec(spec=f"local:{name}").check()
    typer.echo(fetch(name, accept_terms=accept_gemma_terms))


def main() -> None:
    """Run the command; an unexpected error is one line too, unless --debug is given."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"Unexpected {type(error).__name__}: {_one_line(error)}. Add --debug for the traceback.", err=True)
        raise SystemExit(FAILED) from error


def _one_line(error: Exception) -> str:
    """Return an error's text in one line; the middle of a long one, which cites data, is left out."""
    line = escape_control_characters(" ".join(without_secrets(str(error)).split()))
    return line if len(line) <= LONGEST_ERROR else f"{line[: LONGEST_ERROR // 2]} ... {line[-LONGEST_ERROR // 2 :]}"
