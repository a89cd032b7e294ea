"""Where a study lives: a journal file, any Optuna storage, or memory; and the space it searches, stored with it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from ..errors import RunError
from ..ledger.content import as_json
from ..ledger.jsonl import writing
from ..rules import Demonstration, Rule
from .space import Space

logger = logging.getLogger(__name__)

WAITS = (1.0, 3.0)  # seconds between tries to open a database
_quietly = threading.Lock()  # Optuna's verbosity is the process's, and several compiles may begin at once
_RULES, _DEMOS = "rules", "demos"
CONTINUED = "continued"
"""Attribute of the study of a search that goes on from another: the settings that are its own."""


def open_study(storage: Path | str | BaseStorage | None = None, *, name: str = "pld") -> optuna.Study:
    """Open or make a study in a journal file, at an Optuna storage URL or object, or in memory."""
    with _quietly:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # not Optuna's own "study created"
        try:
            opened = None if storage is None else _opened(storage)
            return optuna.create_study(study_name=name, storage=opened, direction="maximize", load_if_exists=True)
        finally:
            optuna.logging.set_verbosity(verbosity)


def publish_space(study: optuna.Study, space: Space) -> None:
    """Store the space in the study for workers that join, once its plan is queued; the rules last, as a sign."""
    if _RULES not in study.user_attrs:
        study.set_user_attr(_DEMOS, as_json([[demo.model_dump() for demo in choice] for choice in space.demos]))
        study.set_user_attr(_RULES, [rule.model_dump(mode="json") for rule in space.pool])


def find_study(storage: Path | str | BaseStorage, *, prefix: str) -> tuple[optuna.Study, Space]:
    """Return the newest study whose name begins with ``prefix``, and its space; RunError where there is none."""
    opened = _opened(storage)
    names = [name for name in optuna.get_all_study_names(opened) if name.startswith(prefix)]
    if names:
        study = optuna.load_study(study_name=names[-1], storage=opened)
        if _RULES in study.user_attrs:
            rules, demos = study.user_attrs[_RULES], study.user_attrs.get(_DEMOS, [[]])
            try:
                return study, Space.of(
                    [*map(Rule.model_validate, rules)],
                    [tuple(map(Demonstration.model_validate, choice)) for choice in demos],
                )
            except (TypeError, ValueError) as error:
                raise damaged("The study of the search", error) from error
    raise RunError("The search has not begun, or is kept in another storage. Start its compile, then join it.")


class RepairedJournal(JournalFileBackend):
    """Optuna's journal file without a last line that a killed process left incomplete: Optuna never reads past it.

    Its lock needs no symlinks, which some file systems lack, and ends with the process that holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file_lock = FileLock(f"{path}.lock")
        with writing(path):
            super().__init__(str(path), self._file_lock)  # type: ignore[arg-type] # it needs acquire and release alone
            self._repair()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override] # is a generator
        """Yield the lines from a number on."""
        with writing(self._path):
            yield from super().read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append; first remove what another process left that was killed while it wrote."""
        with writing(self._path):
            self._repair()
            super().append_logs(logs)

    def _repair(self) -> None:
        if self._is_whole():
            return
        with self._file_lock:  # a process that is writing at the moment finishes its line
            if not self._is_whole():
                logger.warning("%s: the last line was cut short; its trial will be made again.", self._path.name)
                os.truncate(self._path, self._path.read_bytes().rfind(b"\n") + 1)

    def _is_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            return file.read() in (b"", b"\n")


def damaged(name: str, error: Exception) -> RunError:
    """Return the error of a study that cannot be read."""
    return RunError(
        f"{name} is damaged: {type(error).__name__}: {error}. Delete it and compile again: the search is repeated with "
        "the answers that are kept, without a call."
    )


def _opened(storage: Path | str | BaseStorage) -> BaseStorage:
    if isinstance(storage, Path):
        try:
            return JournalStorage(RepairedJournal(storage))
        except RunError:
            raise
        except Exception as error:  # Optuna replays a line as it is, so a damaged one may raise anything
            raise damaged(storage.name, error) from error
    return _database(storage) if isinstance(storage, str) else storage


def _database(url: str) -> BaseStorage:
    """Open a database; workers that start together all try to make its tables, and all but one fail at first."""
    try:
        for seconds in WAITS:
            with suppress(IntegrityError, OperationalError, ProgrammingError):
                return _connected(url)
            time.sleep(seconds)
        return _connected(url)
    except (SQLAlchemyError, ValueError, ImportError) as error:
        cause = str(error).splitlines()[0].replace(url, "it")
        raise RunError(
            f"The search's storage cannot be opened: {type(error).__name__}: {cause}. Give an Optuna storage URL whose "
            "database runs and whose driver is installed, such as postgresql+psycopg://USER@HOST/NAME."
        ) from error


def _connected(url: str) -> BaseStorage:
    """Open a database whose connections may be cut while answers are waited for: each is tried before it is used."""
    return optuna.storages.get_storage(RDBStorage(url, engine_kwargs={"pool_pre_ping": True}))
