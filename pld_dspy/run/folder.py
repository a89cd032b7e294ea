"""The run folder: one a compile, everything in it readable, resumable, and free of secrets."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import dspy
import yaml
from dspy.utils.saving import get_dependency_versions

from ..errors import RunError
from ..ledger.jsonl import write_jsonl
from ..ledger.keys import digest
from ..resolve.result import PatchRecord
from ..rules import MicroRule, RuleSet
from ..search.result import TrialRow
from .result import RESULT_FILE, PLDResult

TRIAL_COLUMNS = ("step", "kind", "rules", "asked", "correct", "objective", "told", "best")


class RunFolder:
    """The files of one compile.

    Args:
        path: the folder; None makes ``runs/pld-DATE-TIME`` below the working directory, one that is not there yet.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else _unused(Path("runs") / f"pld-{datetime.now():%Y%m%d-%H%M%S}")
        self.config = self.path / "config.yaml"
        self.predictions = self.path / "predictions.jsonl"
        self.study = self.path / "study.log"
        self.patches = self.path / "patches.jsonl"
        self.micro_rules = self.path / "micro_rules.jsonl"
        self.rules = self.path / "rules.yaml"
        self.program = self.path / "program.json"
        self.calibration = self.path / "calibration.json"
        self.trials = self.path / "trials.csv"
        self.confusion = self.path / "confusion.csv"
        self.result = self.path / RESULT_FILE
        self.report = self.path / "report.html"

    @property
    def name(self) -> str:
        """The folder's own name, which names the run."""
        return self.path.name

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the compile in the folder.

        Raises:
            RunError: there is no run in the folder, or config.yaml is damaged.
        """
        return str(self.settings()["fingerprint"])

    def open(self, settings: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder, or take up the compile in it.

        Args:
            settings: everything that decides the outcome; kept in config.yaml under its fingerprint.
            resume: go on with the same compile if the folder holds one; False starts it anew.

        Raises:
            RunError: the folder holds another compile, or cannot be written.
        """
        fingerprint = digest(settings)
        if resume and self.config.exists():
            self._check(fingerprint, settings)
            return
        try:
            if not resume:
                self._clear()
            self.path.mkdir(parents=True, exist_ok=True)
            document = {"fingerprint": fingerprint, **settings}
            self.config.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
        except OSError as error:
            raise RunError(f"Cannot write the run folder {self.path}: {error}. Choose another.") from error

    def settings(self) -> dict[str, Any]:
        """Return what config.yaml holds.

        Raises:
            RunError: there is no run in the folder, or config.yaml is damaged.
        """
        if not self.config.is_file():
            raise RunError(f"{self.path} is not a run folder: it has no {self.config.name}.")
        try:
            found = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict) or "fingerprint" not in found:
            raise RunError(
                f"{self.config} is damaged: its settings cannot be read. Choose another run folder, or compile anew "
                "with resume=False (--fresh), which deletes the results in this one."
            )
        return found

    def add_settings(self, name: str, section: Mapping[str, Any]) -> None:
        """Add a section to config.yaml that the fingerprint does not cover, such as where the data came from."""
        document = {**self.settings(), name: dict(section)}
        self.config.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def write_micro_rules(self, micro_rules: Sequence[MicroRule]) -> None:
        """Write micro_rules.jsonl."""
        write_jsonl(self.micro_rules, micro_rules)

    def write_trials(self, trials: Sequence[TrialRow]) -> None:
        """Write trials.csv: one row a finished trial, rules as ``id/wording`` in order."""
        best = float("-inf")
        with self.trials.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(TRIAL_COLUMNS)
            for row in trials:
                best = max(best, row.objective if row.objective is not None else best)
                rules = " ".join(f"{rule.id}/{rule.chosen}" for rule in (row.rules or RuleSet()).rules)
                writer.writerow(
                    [row.step, row.kind, rules, row.asked, row.correct, row.objective, f"{row.told:.6f}", best]
                )

    def write_patches(self, patches: Sequence[PatchRecord]) -> None:
        """Write patches.jsonl: every patch that was tried, kept or not, with its reason."""
        write_jsonl(self.patches, patches)

    def write_outcome(self, program: dspy.Module, result: PLDResult) -> None:
        """Write rules.yaml, program.json, confusion.csv and, last, result.json, which marks the run as finished.

        program.json is the user's own program, also where it was calibrated: calibration.json holds the offsets, and
        the threshold where an error rate was wanted, that ``Calibrated`` takes beside it.
        """
        self.rules.write_text(result.rules.to_yaml(result.bench), encoding="utf-8")
        self.program.write_text(json.dumps(state_without_lms(program), indent=2, default=str) + "\n")
        self.calibration.unlink(missing_ok=True)
        if result.calibration is not None:
            self.calibration.write_text(result.calibration.compiled.applied.model_dump_json(indent=2) + "\n")
        self._write_confusion(result)
        result.save(self.path)

    def _write_confusion(self, result: PLDResult) -> None:
        with self.confusion.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["split", "program", "gold", "answer", "count"])
            for split, comparison in (("validation", result.validation), ("test", result.test)):
                for program in ("baseline", "compiled") if comparison else ():
                    for gold, row in getattr(comparison, program).confusion.items():
                        writer.writerows([split, program, gold, answer, count] for answer, count in row.items())

    def _check(self, fingerprint: str, settings: Mapping[str, Any]) -> None:
        old = self.settings()
        if old["fingerprint"] == fingerprint:
            return
        changed = [name for name in settings if old.get(name) != json.loads(json.dumps(settings[name], default=str))]
        raise RunError(
            f"{self.path} holds another compile: {', '.join(changed) or 'its settings'} differ. Choose another run "
            "folder, or start this one anew with resume=False (--fresh), which deletes its results."
        )

    def _clear(self) -> None:
        """Delete this library's own files; anything else in the folder stays."""
        for path in vars(self).values():
            if isinstance(path, Path) and path.is_file():
                path.unlink()


def _unused(path: Path) -> Path:
    """Return ``path``, numbered where it exists: two compiles may begin within one second."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in numbered if not other.exists())


def state_without_lms(program: dspy.Module) -> dict[str, Any]:
    """Return what ``program.save`` writes, for ``program.load``, but no LM: its settings may hold secrets."""
    state: dict[str, Any] = program.dump_state()
    for predictor in (state, *state.values()):  # a program that is one bare predictor is its own state
        if isinstance(predictor, dict) and "lm" in predictor:
            predictor["lm"] = None
    return {**state, "metadata": {"dependency_versions": get_dependency_versions()}}
