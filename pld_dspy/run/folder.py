"""The run folder: one per compile; everything in it is readable, resumable and free of secrets."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from ..errors import RunError
from ..ledger.jsonl import write_whole
from ..ledger.keys import digest
from ..rules import read_yaml


class RunFolder:
    """The files of one compile; without a path in ``runs/pld-DATE-TIME``, numbered if that exists."""

    def __init__(self, path: Path | str | None = None) -> None:
        if path is None:
            path = new = Path("runs") / f"pld-{datetime.now():%Y%m%d-%H%M%S}"
            numbers = count(2)
            while path.exists():
                path = new.with_name(f"{new.name}-{next(numbers)}")
        self.path = Path(path)
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

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the compile in the folder; RunError as for :meth:`settings`."""
        return str(self.settings()["fingerprint"])

    def open(self, settings: Mapping[str, Any], *, resume: bool, **more: Mapping[str, Any]) -> None:
        """Make the folder, or continue the compile in it; RunError if that is another one.

        ``settings`` decide the outcome and give the fingerprint; ``more`` are sections of config.yaml that do not.
        """
        document = {"fingerprint": digest(settings), **settings}
        if resume and self.config.exists():
            new, document = document, self.settings()
            if document["fingerprint"] != new["fingerprint"]:
                plain = json.loads(json.dumps(settings, default=str))
                changed = ", ".join(name for name in plain if document.get(name) != plain[name])
                raise RunError(
                    f"{self.path} holds another compile: {changed or 'its settings'} differ. Choose another run "
                    "folder, or start this one anew with resume=False (--fresh), which deletes its results."
                )
            if not more:
                return
        try:
            if not resume:  # delete this library's own files; anything else in the folder stays
                for path in vars(self).values():
                    if path != self.path:
                        path.unlink(missing_ok=True)
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.config, yaml.safe_dump({**document, **more}, sort_keys=False, allow_unicode=True))
        except OSError as error:
            raise RunError(f"Cannot write the run folder {self.path}: {error}. Choose another.") from error

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


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table under its column names; None is an empty cell."""
    table = io.StringIO(newline="")
    csv.writer(table).writerows([header, *rows])
    write_whole(path, table.getvalue())
