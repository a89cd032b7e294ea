"""Files that are written whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from pld_dspy.errors import RunError
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


def test_threads_that_write_one_file_at_one_moment_do_not_meet(tmp_path: Path) -> None:
    path, gate = tmp_path / "rules.yaml", Barrier(8)

    def write(number: int) -> None:
        for _ in range(20):
            gate.wait()
            write_whole(path, str(number) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(set(path.read_text())) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["rules.yaml"]


def test_a_folder_that_takes_no_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Cannot write .*/file/result\.json: .*Free space or give write permission"):
        write_whole(tmp_path / "file" / "result.json", "{}")
