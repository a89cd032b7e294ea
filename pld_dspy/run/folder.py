"""The run folder: one per compile; everything in it is readable, resumable and free of secrets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..errors import RunError
from ..ledger.content import as_json
from ..ledger.jsonl import write_whole, writing
from ..ledger.keys import digest
from ..rules import read_yaml, write_yaml


class RunFolder:
    """The files of one compile; without a path, in a new folder ``runs/pld-DATE-TIME`` that no other compile has."""

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = _new_folder() if path is None else Path(path).expanduser()
        self.config = self.path / "config.yaml"
        self.predictions = self.path / "predictions.jsonl"
        self.study = self.path / "study.log"
        self.patches = self.path / "patches.jsonl"
        self.micro_rules = self.path / "micro_rules.jsonl"
        self.rules = self.path / "rules.yaml"
        self.program = self.path / "program.json"
        self.calibration = self.path / "calibration.json"
        self.precedents = self.path / "precedents.json"
        self.trials = self.path / "trials.csv"
        self.confusion = self.path / "confusion.csv"
        self.result = self.path / "result.json"
        self.report = self.path / "report.html"
        self.stop = self.path / "stop"  # made by a person, to end the search
        self.signature = self.path / "signature.json"
        self.effects = self.path / "effects.json"
        self.effects_plot = self.path / "effects.svg"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the compile in the folder; RunError as for :meth:`settings`."""
        return str(self.settings()["fingerprint"])

    def open(self, settings: Mapping[str, Any], *, resume: bool, **more: Any) -> None:
        """Make the folder, or continue the compile in it; RunError if that is another one.

        ``settings`` decide the outcome and give the fingerprint; ``more`` are sections of config.yaml that do not.
        """
        plain = as_json(settings)
        document = {"fingerprint": digest(settings), **plain}
        with writing(self.config):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{self.config}.lock").acquire()  # where the folder cannot be used, this says so in time
        with lock:  # two compiles may begin at once
            if resume and self.config.exists():
                found = self.settings()
                if found["fingerprint"] != document["fingerprint"]:
                    raise RunError(self._another(found, plain))
                document = {**found, **document}  # the same settings, also where somebody damaged them in the file
            if not resume:  # delete this library's own files; anything else in the folder stays
                with writing(self.path):
                    for path in vars(self).values():
                        if path != self.path:
                            path.unlink(missing_ok=True)
            # Also where nothing is new: a folder that became read-only, or a full disk, costs no call.
            write_whole(self.config, write_yaml({**document, **more}))

    def _another(self, document: Mapping[str, Any], given: Mapping[str, Any]) -> str:
        """Say how the compile in the folder, ``document``, differs from the one that was ``given``."""
        changed = ", ".join(name for name in given if document.get(name) != given[name])
        labels = [(one.get("task") or {}).get("labels", ()) for one in (document, given)]
        shuffled = labels[0] != labels[1] and sorted(labels[0]) == sorted(labels[1])
        hint = " The labels are the same in another order, as a Python set gives in each process: sort them."
        return (
            f"{self.path} holds another compile: {changed or 'its settings'} differ.{hint if shuffled else ''} Choose "
            "another run folder, or start this one anew with resume=False (--fresh), which deletes its results."
        )

    def settings(self) -> dict[str, Any]:
        """Return what config.yaml holds; RunError if there is none or it is damaged."""
        if not self.config.is_file():
            raise RunError(f"{self.path} is not a run folder: it has no {self.config.name}.")
        try:
            found = read_yaml(self.config.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or "fingerprint" not in found:
            raise RunError(
                f"{self.config} is damaged: its settings cannot be read. Choose another run folder, or compile anew "
                "with resume=False (--fresh), which deletes the results in this one."
            )
        return found


def _new_folder() -> Path:
    """Make ``runs/pld-DATE-TIME``, numbered where another compile has made that."""
    name = f"pld-{datetime.now():%Y%m%d-%H%M%S}"
    for number in count(1):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with writing(path), suppress(FileExistsError):
            path.mkdir(parents=True)
            break
    return path


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table under its column names; None is an empty cell."""
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header, *rows])
    write_whole(path, table.getvalue())
