"""audit.jsonl: who did what to a run, and when; a line that is removed or changed shows in the next one."""

from __future__ import annotations

import getpass
import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import Field

from ..errors import DataError, RunError, Stored
from ..ledger.jsonl import parse_lines, write_whole, writing
from ..local.models import file_sha256
from ..run.folder import RunFolder

TRAIL = "audit.jsonl"
ACCEPTED, TAKEN_BACK = "accepted", "acceptance taken back"
"""What a person did to a rule on the review page; it counts for the very text that was accepted."""


class Entry(Stored):
    """One line of the trail; ``previous`` is the SHA-256 digest of the line before, empty in the first line."""

    when: str
    by: str
    what: str  # compiled, rechecked, signed, exported, ...
    files: dict[str, str]  # name of a file in the run folder -> SHA-256 digest
    details: dict[str, Any] = Field(default={})
    previous: str


def append(folder: Path, what: str, *, by: str | None = None, **details: Any) -> None:
    """Add a line about what was just done to a run.

    Args:
        folder: the run folder.
        what: one word, such as "compiled" or "exported".
        by: who did it; the login name where None.
        details: plain JSON values that a reader of the trail should know.

    Raises:
        RunError: the trail cannot be read or written.
    """
    path = folder / TRAIL
    with writing(path), FileLock(f"{path}.lock"):
        lines = _lines(folder)
        entry = Entry(
            when=now(),
            by=by or login(),
            what=what,
            files=file_digests(folder),
            details=details,
            previous=text_digest(lines[-1]) if lines else "",
        )
        line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False)
        write_whole(path, "".join(f"{one}\n" for one in (*lines, line)))


def read_trail(folder: Path) -> list[Entry]:
    """Return the lines of the trail, oldest first; empty where there is none, DataError where one is damaged."""
    return parse_lines(folder / TRAIL, _lines(folder), Entry)


def read_acceptances(folder: Path) -> dict[tuple[str, str], Entry]:
    """Return rule id and text -> the line in which it was accepted last; DataError where a line is damaged."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in read_trail(folder):
        key: Any = entry.details.get("rule"), entry.details.get("text")
        if entry.what == ACCEPTED:
            found[key] = entry
        elif entry.what == TAKEN_BACK:
            found.pop(key, None)
    return found


def trail_faults(folder: Path, *, last: str = "") -> list[str]:
    """Return what is wrong with the trail: a line changed, removed or damaged, or none with the digest ``last``."""
    lines = _lines(folder)
    try:
        entries = read_trail(folder)
    except DataError as error:
        return [str(error)]
    digests = ["", *map(text_digest, lines)]
    faults = [
        f"{TRAIL}: line {number} does not follow from the line before: one of them was changed, or one removed."
        for number, (entry, before) in enumerate(zip(entries, digests, strict=False), start=1)
        if entry.previous != before
    ]
    return faults + ([] if last in digests else [f"{TRAIL}: the last line at the time of signing is gone or changed."])


def last_digest(folder: Path) -> str:
    """Return the digest of the trail's last line; empty where there is none."""
    lines = _lines(folder)
    return text_digest(lines[-1]) if lines else ""


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 digests of the files that decide what a run's program answers, and of its figures."""
    run = RunFolder(folder)
    files = (run.rules, run.program, run.calibration, run.precedents, run.result)
    return {path.name: file_sha256(path) for path in files if path.is_file()}


def text_digest(text: str) -> str:
    """Return the SHA-256 digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def login() -> str:
    """Return the login name of who runs this process; "unknown" where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # which of them depends on Python's version
        return "unknown"


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _lines(folder: Path) -> list[str]:
    path = folder / TRAIL
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"Cannot read {path}: {error}. Restore it; no line of it may be lost.") from error
    return text.removesuffix("\n").split("\n") if text else []  # not splitlines(): texts may hold U+2028
