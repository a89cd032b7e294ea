"""Where a study lives: a journal file, any Optuna storage, or memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend


def open_study(storage: Path | str | BaseStorage | None = None, *, name: str = "pld") -> optuna.Study:
    """Open the study of a compile, or make it.

    Args:
        storage: a journal file, an Optuna storage URL or object, or None for memory only.
        name: the study's name within the storage.
    """
    with _quiet_optuna():
        if isinstance(storage, Path):
            storage = JournalStorage(JournalFileBackend(str(storage)))
        return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own "study created" line out of a user's log, and restore the user's setting."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
