"""Files written whole or not at all, and JSONL files, which several processes may append to."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from filelock import FileLock
from pydantic import BaseModel, TypeAdapter, ValidationError

from ..errors import DataError, RunError

logger = logging.getLogger(__name__)

Line = dict[str, Any]
T = TypeVar("T")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses while ``path`` is written into a RunError that says what to do."""
    try:
        yield
    except (OSError, NotImplementedError) as error:  # the latter where no file can be locked
        raise RunError(
            f"Cannot write {path}: {error}. Free space or give write permission, then run again: finished calls are "
            "kept. Or choose another run folder."
        ) from error


def new_folder(folder: Path) -> None:
    """Make a folder for new files; DataError where it holds something."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"{folder} is not empty. Give a new folder with --out.")


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 under another name, then rename it: a reader finds the old file or the new one."""
    new = path.with_name(f"{path.name}.{uuid4().hex}.new")  # several threads, processes and machines may write at once
    with writing(path):
        try:
            new.write_text(text, encoding="utf-8", newline="")
            os.replace(new, path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def read_jsonl(path: Path, model: type[T]) -> list[T]:
    """Return the lines of a file as objects of a pydantic model, or as ``dict``; blank lines are skipped."""
    try:
        # File iteration, not splitlines(): texts may hold U+2028 and other line separators.
        with path.open(encoding="utf-8-sig") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}: {error}. Give a readable file in UTF-8.") from error
    return parse_lines(path, lines, model)


def parse_lines(path: Path, lines: Iterable[str | bytes], model: type[T], *, first: int = 1) -> list[T]:
    """Return lines of the file ``path`` as :func:`read_jsonl` does; ``first`` is the number of the first line."""
    adapter, records = TypeAdapter(model), []
    try:
        for number, line in enumerate(lines, start=first):  # noqa: B007 - for the error
            if line.strip():
                records.append(adapter.validate_json(line))
    except ValidationError as error:
        cause = error.errors()[0]
        field = ".".join(map(str, cause["loc"])) or "the line"
        fields = model.model_fields.items() if issubclass(model, BaseModel) else ()
        required = [name for name, info in fields if info.is_required()]
        needs = f"{', '.join(required[:-1])} and {required[-1]}" if len(required) > 1 else "one JSON object"
        raise DataError(f"{path} line {number}: {field}: {cause['msg']}. Each line needs {needs}.") from error
    return records


def carry_over(source: Path, path: Path) -> None:
    """Begin the JSONL file ``path`` with the lines of another, each with ``carried``; nothing where it is there."""
    if path.exists() or not source.exists():
        return
    lines = []
    for text in source.read_bytes().splitlines():
        with suppress(ValueError):  # a damaged line, or one that another process is writing, costs one call
            lines.append(json.dumps({**json.loads(text), "carried": True}, ensure_ascii=False) + "\n")
    write_whole(path, "".join(lines))


def write_jsonl(path: Path, records: Iterable[BaseModel]) -> None:
    """Write one record per line."""
    write_whole(path, "".join(record.model_dump_json() + "\n" for record in records))


class Journal:
    """A JSONL file that several processes append whole lines to; threads of one process must take turns.

    A line that is not an object of the pydantic type ``model`` is damaged: it is left out, with a warning.
    """

    def __init__(self, path: Path, model: type[Any] = dict) -> None:
        self.path = path
        self._adapter = TypeAdapter(model)
        self._lock = FileLock(f"{path}.lock")
        self._position = 0  # bytes read or written by this object

    def append(self, line: Line) -> list[Line]:
        """Write a line; return the lines that other processes have written since the last call."""
        data = (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode()
        with writing(self.path), self._lock:
            others = self.read_new()
            with self.path.open("ab") as file:
                file.write(data)
            self._position += len(data)
        return others

    def read_new(self) -> list[Line]:
        """Return the lines that other processes have written since the last call."""
        with writing(self.path):
            size = self.path.stat().st_size if self.path.exists() else 0
            if size < self._position:  # else a folder that is moved or unmounted goes on as a new one, and splits
                raise OSError("it was moved, unmounted, deleted or replaced while it was in use")
        if size == self._position:
            return []
        with writing(self.path), self._lock:  # so an incomplete last line is not one that is being written
            with self.path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
            end = data.rfind(b"\n") + 1
            self._position += end
            if end < len(data):
                logger.warning("%s: the last line was cut short; its call will be made again.", self.path.name)
                os.truncate(self.path, self._position)
        lines = []
        for text in data[:end].splitlines():
            try:
                lines.append(self._adapter.dump_python(self._adapter.validate_json(text, strict=True)))
            except ValueError:  # noqa: PERF203 - one damaged line costs one call
                logger.warning("%s has a damaged line; its call will be made again.", self.path.name)
        return lines
