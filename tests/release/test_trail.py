"""audit.jsonl: every line follows from the one before."""

import getpass
from collections.abc import Callable
from pathlib import Path

import pytest

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import write_whole
from pld_dspy.release.trail import TRAIL, append, last_digest, read_trail, trail_faults
from pld_dspy.run.folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a trail of three lines, and one file that they are about."""
    write_whole(RunFolder(tmp_path).rules, "rules: []\n")
    append(tmp_path, "compiled")
    append(tmp_path, "rechecked", by="Zoë\u2028", changes=["r1: removed"])
    append(tmp_path, "exported", target="x")
    return tmp_path


def test_lines_say_who_did_what_and_to_which_files(folder: Path) -> None:
    first, second, third = read_trail(folder)
    assert (first.what, first.by, first.previous) == ("compiled", getpass.getuser(), "")
    assert (second.by, second.details) == ("Zoë\u2028", {"changes": ["r1: removed"]})
    assert third.files.keys() == {"rules.yaml"}
    assert trail_faults(folder, last=last_digest(folder)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: [lines[0].replace("compiled", "signed"), *lines[1:]], "line 2 does not follow"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow"),
        (lambda lines: lines[:2], "the last line at the time of signing is gone"),
        (lambda lines: [], "the last line at the time of signing is gone"),
        (lambda lines: [*lines[:2], lines[2][:30]], "line 3"),
    ],
)
def test_a_line_that_is_removed_or_changed_shows(
    folder: Path, change: Callable[[list[str]], list[str]], fault: str
) -> None:
    last, path = last_digest(folder), folder / TRAIL
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    path.write_text("\n".join(change(lines)), encoding="utf-8")
    assert fault in trail_faults(folder, last=last)[0]


def test_a_damaged_line_stays_and_is_named(folder: Path) -> None:
    path = folder / TRAIL
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    append(folder, "signed")
    with pytest.raises(DataError, match="line 3"):
        read_trail(folder)
    assert len(path.read_text(encoding="utf-8").split("\n")) == 5
