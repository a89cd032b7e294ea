"""A file of JSON lines that several processes append to, each taking over what the others append."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

logger = logging.getLogger(__name__)

Line = dict[str, Any]


class Journal:
    """Lines are appended whole and never changed; threads of one process must take turns.

    Args:
        path: the file; made at the first line. A last line that a kill cut short is taken off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        self._read_to = 0
        """Bytes that were read or written here."""
        if path.exists():
            self._mend()

    def append(self, line: Line) -> list[Line]:
        """Write a line; return those that other processes wrote meanwhile."""
        data = (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode()
        with self._lock:
            others = self._unread()
            if self.path.exists() and self.path.stat().st_size > self._read_to:  # what a killed process left
                self._cut(self._read_to)
            with self.path.open("ab") as file:
                file.write(data)
            self._read_to += len(data)
        return others

    def news(self) -> list[Line]:
        """Return the lines that other processes wrote since the last look."""
        if not self.path.exists() or self.path.stat().st_size <= self._read_to:
            return []
        with self._lock:
            return self._unread()

    def _unread(self) -> list[Line]:
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            data = file.read()
        whole = data.rfind(b"\n") + 1
        self._read_to += whole
        return [line for text in data[:whole].splitlines() if (line := self._parsed(text)) is not None]

    def _parsed(self, text: bytes) -> Line | None:
        try:
            return dict(json.loads(text))
        except ValueError:
            logger.warning("%s has a damaged line; its call will be made again.", self.path.name)
            return None

    def _mend(self) -> None:
        with self._lock:
            data = self.path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                self._cut(whole)

    def _cut(self, whole: int) -> None:
        """Take off a last line that is not whole; the lock is held."""
        logger.warning("%s: the last line was cut short; its call will be made again.", self.path.name)
        os.truncate(self.path, whole)
