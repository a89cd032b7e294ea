"""A recorder of the user's own around a compile, which it cannot end: its errors are warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from ..errors import without_secrets
from .tracking import Recorder

logger = logging.getLogger(__name__)


class GuardedRecorder(Recorder):
    """Hands every call to another recorder; the first exception of each of its methods is one warning.

    Further calls go on. What ends the process, such as ``KeyboardInterrupt``, still does.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._failed: set[str] = set()
        for method in ("params", "metric", "artifact", "data", "prompt", "describe"):
            setattr(self, method, partial(self._call, method))

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        """Record the block as one compile; what the block raises is raised whatever the recorder makes of it."""
        block = ExitStack()
        with self._guarded("run"):
            block.enter_context(self._recorder.run(name))
        try:
            yield
        except BaseException as error:
            with self._guarded("run"):
                block.__exit__(type(error), error, error.__traceback__)
            raise
        with self._guarded("run"):
            block.close()

    def _call(self, method: str, /, *given: Any, **named: Any) -> None:
        with self._guarded(method):
            getattr(self._recorder, method)(*given, **named)

    @contextmanager
    def _guarded(self, method: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything, and a compile of hours outlives it
            logger.log(
                logging.DEBUG if method in self._failed else logging.WARNING,
                "%s.%s failed and the compile goes on: %s",
                type(self._recorder).__name__,
                method,
                " ".join(without_secrets(f"{type(error).__name__}: {error}").split()),
            )
            self._failed.add(method)
