"""What a compile leaves behind: result.json, readable without this library."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ..audit import Suspect
from ..calibrate.result import Calibration
from ..errors import RunError
from ..rules import Rule, RuleSet
from ..scoring.score import Difference, Score
from ..search.result import Insight

RESULT_FILE = "result.json"
OWN_CODE = "search_own_code"
"""Among the seconds by stage: the part of the search that did not wait for answers; no stage of its own."""


class Cost(BaseModel):
    """What one stage cost; ``seconds`` are wall time of the stage, ``money`` 0 where no prices were given."""

    calls: int = 0
    reused: int = 0
    """Answers found in the ledger instead of being asked again."""
    failures: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    call_seconds: float = 0.0
    """Sum over calls."""
    money: float = 0.0


class Comparison(BaseModel):
    """The unchanged and the compiled student on the same examples."""

    baseline: Score
    compiled: Score
    difference: Difference


class PLDResult(BaseModel):
    """The outcome of one compile.

    Attributes:
        labels: the label set.
        predictor, label_field: where the decision is made.
        untouched: predictors left as they were.
        improved: False where nothing beat the unchanged student, which then is what came back.
        rules: the chosen rules in order, each with its estimated effect on validation.
        bench: the rules not chosen.
        searched: what the search chose, where kept patches changed it afterwards; None otherwise.
        instructions: the instructed predictor's full instructions.
        validation: what the search saw; optimistic, since it chose by it.
        test: on examples no stage saw; None without a test set.
        costs: "student" and "teacher" -> stage -> cost.
        seconds: stage -> wall seconds; "search_own_code" is the part of the search that did not wait for answers.
        calibration: what offsets and temperatures make of both students; None where they were not asked for, or not
            to be had.
        insight: what the search's log says besides: effects, order, shorter sets; None where it learned no model.
        rule_tokens: prompt tokens that the rules add to a call, by the student's own count; None if unknown.
        suspects: training examples whose label is doubted, the most doubtful first; empty where nobody asked.
        counts: micro_rules, rules, trials, and rows of each split.
        stopped: why the search ended early, if it did.
        notes: what a reader should know, a line each.
        seed, versions: for reproduction.
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
    insight: Insight | None = None
    rule_tokens: float | None
    suspects: list[Suspect] = []
    counts: dict[str, int]
    stopped: str | None
    notes: list[str]
    seed: int
    versions: dict[str, str]

    def at_budget(self, *, tokens: int) -> RuleSet:
        """Return the best rules whose rendered block takes at most ``tokens`` prompt tokens.

        Read off the search's log, without a call: sets that the search asked in full, and its choice shortened where
        the model loses least; where the conflict loop changed the choice, that as a whole before any other.
        :meth:`RuleSet.instruct` puts them into instructions, in place of other rules.

        Args:
            tokens: counted with the student's tokenizer where it is served locally, else estimated.

        Returns:
            An empty set where no set is that short, or none of them beat the unchanged student. Of a search that
            learned no effects (``screen_calls=0``), the chosen rules or none.
        """
        if self.insight is None or self.searched is not None:
            fits = self.rule_tokens is not None and self.rule_tokens <= tokens
            if fits or self.insight is None:
                return self.rules if fits else RuleSet()
        found = self.improved if self.searched is None else len(self.searched) > 0
        rungs = self.insight.ladder if found else []  # none worth less than a shorter one
        fitting = [rung for rung in rungs if rung.tokens <= tokens]
        return max(fitting, key=lambda rung: rung.tokens).rules if fitting else RuleSet()

    def wall_times(self) -> Iterator[tuple[str, float]]:
        """Yield rows of a table of wall time: each stage with its seconds, a part of one right below it."""
        for stage, seconds in self.seconds.items():
            if stage != OWN_CODE:
                yield stage, seconds
            if stage == "search" and OWN_CODE in self.seconds:
                yield "of which own code", self.seconds[OWN_CODE]

    def save(self, folder: Path) -> Path:
        """Write result.json into ``folder``; return its path."""
        path = folder / RESULT_FILE
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: Path) -> PLDResult:
        """Read result.json of a finished run.

        Raises:
            RunError: the run is not finished, or the file is damaged.
        """
        path = folder / RESULT_FILE
        if not path.is_file():
            raise RunError(f"{folder} has no {RESULT_FILE}: not a run folder, or its compile has not finished.")
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}. Compile again.") from error


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a result."""
    packages = ("pld-dspy", "dspy", "optuna", "scikit-learn", "numpy", "mlflow", "xllamacpp")
    found = {package: _version(package) for package in packages}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
