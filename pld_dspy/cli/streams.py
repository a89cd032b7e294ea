"""What goes to standard output and what to standard error: results alone to the first, logs to the second."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

from tqdm import tqdm

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escape_control_characters(text: str) -> str:
    r"""Return ``text`` with control characters written as ``\xNN``, so that data cannot steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape_what_cannot_be_encoded() -> None:
    """Let standard output write characters that its encoding lacks (cp1252, say) as escapes, in place of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def log_to_stderr(*, quiet: bool) -> None:
    """Send the library's log to standard error: warnings only if ``quiet``, else from INFO on."""
    handler = _AboveProgressBars()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("pld_dspy")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def silence_libraries() -> None:
    """Silence other libraries' logs; call it after DSPy is imported, because the import sets a log level.

    Their messages do not help the user of a command; errors reach the user through our own.
    """
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # MLflow reads this when it is imported, later
    for name in ("LiteLLM", "alembic", "datasets", "dspy", "httpx", "huggingface_hub", "mlflow", "openai"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def say_calls(count: int) -> None:
    """Say on standard error how many calls a command will make."""
    print(f"Student calls to make: {count}. All other answers are known.", file=sys.stderr)  # noqa: T201


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to standard error what the block writes to standard output, compiled libraries included."""
    sys.stdout.flush()
    original = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(original, 1)
        os.close(original)


class _AboveProgressBars(logging.Handler):
    """Writes whole lines above any progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(escape_control_characters(self.format(record)), file=sys.stderr)
