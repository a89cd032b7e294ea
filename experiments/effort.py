"""What compiling takes, counted alike for every optimizer."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from dspy.utils.callback import BaseCallback


class Effort(BaseCallback):
    """Counts LM calls in its context, whoever makes them, in a file: an interrupted compile goes on counting.

    The file has one line a call, the seconds since the line before.

    Args:
        path: the file.
        resumed: whether the compile goes on where an earlier one stopped; else the count starts anew.
    """

    def __init__(self, path: Path, *, resumed: bool) -> None:
        if not resumed:
            path.unlink(missing_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._noted = time.perf_counter()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count one call."""
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            now = time.perf_counter()
            file.write(f"\n{now - self._noted:.4f}")  # newline first: a line cut short by a kill spoils no other
            self._noted = now

    @property
    def calls(self) -> int:
        """LM calls so far, those of interrupted attempts included."""
        return len(self._steps())

    @property
    def seconds(self) -> float:
        """Wall time so far; of an interrupted attempt, up to its last call."""
        return sum(self._steps()) + time.perf_counter() - self._noted

    def _steps(self) -> list[float]:
        return [float(step) for step in self.path.read_text(encoding="utf-8").split()] if self.path.is_file() else []
