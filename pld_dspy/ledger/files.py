"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 under another name, then rename it: a reader finds the old file or the new one."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # several processes may write at once
    new.write_text(text, encoding="utf-8", newline="")
    os.replace(new, path)
