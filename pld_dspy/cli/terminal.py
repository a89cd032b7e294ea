"""How the command meets a terminal: exit codes, one-line errors, logs, and nothing on standard output but results."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer
from tqdm import tqdm
from typer.core import TyperGroup

from ..errors import DataError, PLDError, RunError

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
GLOBAL_OPTIONS = ("--debug", "--quiet")
NOISY = ("LiteLLM", "alembic", "datasets", "dspy", "httpx", "huggingface_hub", "mlflow", "openai")
"""Loggers of libraries that tell a user of this command nothing; their errors reach him through ours."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class CommandGroup(TyperGroup):
    """The commands together: takes global options anywhere, and turns errors into one line and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the global options first, wherever they stand."""
        everywhere = [arg for arg in args if arg in GLOBAL_OPTIONS]
        parsed: list[str] = super().parse_args(ctx, everywhere + [arg for arg in args if arg not in everywhere])
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Run the command: exit with 1 where it failed, 2 where arguments or data are at fault."""
        try:
            return super().invoke(ctx)
        except PLDError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"Error: {shown(' '.join(str(error).split()))}", err=True)
            raise typer.Exit(MISUSED if isinstance(error, (DataError, RunError)) else FAILED) from error
        except KeyboardInterrupt as error:
            typer.echo("Interrupted. Finished calls are kept: the same command resumes from there.", err=True)
            raise typer.Exit(INTERRUPTED) from error


def shown(text: str) -> str:
    """Return ``text`` with control characters spelled out: one in the data must not steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def log_to_stderr(*, quiet: bool) -> None:
    """Send the library's log to standard error: from INFO on, or warnings only."""
    handler = _BesideBars()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("pld_dspy")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def hush_libraries() -> None:
    """Silence the libraries below ours; called once DSPy is imported, since it then sets a level of its own."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # as MLflow does, which is imported later still
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def clean_stdout() -> Iterator[None]:
    """Send to standard error what the block writes to standard output, compiled libraries included."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class _BesideBars(logging.Handler):
    """Writes whole lines above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(shown(self.format(record)), file=sys.stderr)
