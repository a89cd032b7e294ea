"""Files with one JSON object per line; a killed process may have left half a line at the end."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel


def append_line(path: Path, row: BaseModel) -> None:
    """Add one line to the file; make the file if it does not exist."""
    with path.open("a", encoding="utf-8") as file:
        file.write(row.model_dump_json() + "\n")


def whole_lines(path: Path) -> list[bytes]:
    """Return the complete lines of the file, none if there is no file; cut off half a line at its end."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.splitlines()
