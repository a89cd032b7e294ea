"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from pld_dspy.ledger.jsonl import write_whole


def test_a_file_is_replaced_whole_and_stays_as_it_was_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, "old\r\nlines\n")
    assert path.read_bytes() == b"old\r\nlines\n"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new" * 10_000 + "\ud800")
    assert path.read_bytes() == b"old\r\nlines\n"
    write_whole(path, "new")
    assert path.read_text() == "new"
