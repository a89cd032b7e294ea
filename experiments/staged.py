"""stages.json: what ``experiments stages`` found out about a run, for commands that ask no student themselves."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pld_dspy.errors import RunError
from pld_dspy.ledger.keys import digest
from pld_dspy.run.result import PLDResult
from pld_dspy.scoring.difference import Difference
from pld_dspy.scoring.score import Score

FILE = "stages.json"
COMMAND = "python -m experiments stages"
UNCHANGED, ALL, REWORDED, SEARCHED, LOOP = (
    "unchanged",
    "all rules",
    "all rules, reworded",
    "searched",
    "after the loop",
)


class Stage(BaseModel):
    """The student under the rules of one stage.

    Attributes:
        name: one of the five above.
        rules: how many.
        validation, test: scores of its answers as they are.
        difference: on test, this stage less the unchanged student; None without rules.
        calibrated: on test, with offsets fitted on the validation answers alone; None without log-probabilities.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rules: int
    validation: Score
    test: Score
    difference: Difference | None = None
    calibrated: Score | None = None


class Stages(BaseModel):
    """The stages of one run, in order.

    Attributes:
        outcome: digest of the rules and scores in the run's result.json; tells whether this belongs to it.
        stages: the unchanged student first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, result: PLDResult, stages: tuple[Stage, ...]) -> Stages:
        """Return the stages of the run with that result."""
        return cls(outcome=_outcome(result), stages=stages)

    def test(self, name: str) -> Score | None:
        """Return the test score of a stage; None where the run has no such stage."""
        return next((stage.test for stage in self.stages if stage.name == name), None)

    def moved(self, name: str) -> Score | None:
        """Return the test score of a stage with offsets from validation alone; None where it has none."""
        return next((stage.calibrated for stage in self.stages if stage.name == name), None)

    def save(self, run: Path) -> Path:
        """Write stages.json into the run folder, in one step: a reader finds it whole or not at all."""
        path = run / FILE
        draft = path.with_suffix(f".{os.getpid()}.partial")
        draft.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return draft.replace(path)

    @classmethod
    def load(cls, run: Path, result: PLDResult) -> Stages | None:
        """Read stages.json of a run folder.

        Args:
            run: the folder.
            result: its result.

        Returns:
            None where there is none, or it was made before the folder was compiled anew.

        Raises:
            RunError: the file is damaged.
        """
        path = run / FILE
        if not path.is_file():
            return None
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}. Run {COMMAND} {run} again.") from error
        return found if found.outcome == _outcome(result) else None


def _outcome(result: PLDResult) -> str:
    return digest(result.model_dump(mode="json", include={"rules", "bench", "searched", "validation", "test"}))
