"""Patience: how long a model that does not answer is waited for, and when a call is given up."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .answer import Answer

logger = logging.getLogger(__name__)

PATIENCE = 120.0
"""Seconds; a server is restarted and has loaded its model by then, mostly."""
_TRIES = 8  # after which the row is at fault, if the model answers others meanwhile
_SAID_AFTER = 5.0


class Patience:
    """Makes a lost call again until the model answers; threads may share it.

    Args:
        seconds: how long the model may be silent: then calls are given up, until it answers one; 0 tries none again.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._silent_since: float | None = None
        self._heard = 0.0
        self._is_said = False

    def ask(self, call: Callable[[], Answer], *, stop: threading.Event, once: bool = False, model: str = "") -> Answer:
        """Return the first answer of ``call`` that is not lost; the last one where patience ends, or if only ``once``.

        ``stop`` ends the waiting at once.
        """
        began = time.monotonic()
        for count in itertools.count(1):
            answer, now = call(), time.monotonic()
            if answer.is_empty and count == 1 and self.seconds:
                continue
            if not answer.is_lost:
                self._silent_since, self._heard, self._is_said = None, now, False
                return answer
            silent = now - (self._silent_since or now)
            self._silent_since = now - silent
            is_row = count >= _TRIES and self._heard > began
            if once or is_row or silent >= self.seconds:
                return answer
            if silent > _SAID_AFTER and not self._is_said:
                self._is_said = True
                logger.warning(
                    "%s does not answer and is waited for, %.0f s at most: %s", model, self.seconds, answer.error
                )
            if stop.wait(min(0.05 * 2**count, 15.0, self.seconds - silent)):
                return answer
        raise AssertionError
