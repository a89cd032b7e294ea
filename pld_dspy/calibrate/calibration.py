"""What calibrating left behind: the offsets of both students, what they do on the test set, and where to abstain."""

from __future__ import annotations

from pydantic import Field

from ..scoring.difference import Difference
from ..scoring.f1 import Record
from ..scoring.offsets import Offsets
from ..scoring.score import Score
from .precedents import Weights


class Bin(Record):
    """The answers in one range of confidence: their mean confidence, the share of right ones, and their number."""

    confidence: float
    accuracy: float
    n: int


class Grade(Record):
    """How one student did on the test set, and what its confidence is worth.

    An answer without log-probabilities has the confidence 0. ``coverage`` and ``risk`` are points of a curve, from few
    answers to all.
    """

    score: Score
    calibration_error: float  # expected calibration error, 0 to 1: a mean over the ranges in ``reliability``
    error_at_80: float  # error rate among the most confident answers that make up 80% of all
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    reliability: tuple[Bin, ...]


class Answered(Record):
    """How much a student answers with a threshold, and how often that is wrong; and without one.

    With a threshold, failed calls and answers without log-probabilities are left out.
    """

    n: int
    n_wrong: int  # if the student answers all
    answered: int
    wrong: int  # among those answered
    coverage: float
    error_rate: float | None  # None where nothing is answered


class Abstention(Record):
    """The threshold for a wanted error rate, chosen on n out-of-fold confidences."""

    error_rate: float
    delta: float  # the probability with which the bound on the error rate may fail
    n: int
    threshold: float | None  # None where none keeps the rate: the student then answers everything
    validation: Answered
    test: Answered | None = None


class SavedCalibration(Offsets):
    """What a calibrated program needs, as calibration.json holds it; without a threshold it never abstains."""

    error_rate: float | None = Field(default=None, gt=0.0, lt=1.0)
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)

    @property
    def abstains(self) -> bool:
        """Whether abstaining was asked for, by an error rate or by a threshold."""
        return self.error_rate is not None or self.threshold is not None


class StudentCalibration(Record):
    """One student's calibration, and its grades on the test set, where there is one."""

    offsets: Offsets  # where none paid, all are 0 and only the temperature is fitted
    plain: Grade | None = None
    calibrated: Grade | None = None
    abstention: Abstention | None = None  # None where no error rate was wanted

    @property
    def saved(self) -> SavedCalibration:
        """What calibration.json holds: the offsets and, where an error rate was wanted, the threshold."""
        wanted = {} if self.abstention is None else self.abstention.model_dump(include={"error_rate", "threshold"})
        return SavedCalibration(**dict(self.offsets), **wanted)


class Weighed(Record):
    """A student weighed against precedents: what each side weighs, and the calibration of all together."""

    student: StudentCalibration
    weights: Weights
    gain: Difference | None = None  # out of fold, with precedents minus without
    difference: Difference | None = None  # on the test set, the same
    by_rules: Difference | None = None  # on the test set, minus the unchanged student weighed against them


class Calibration(Record):
    """The calibration of the unchanged and of the compiled student; differences are on the test set."""

    baseline: StudentCalibration
    compiled: StudentCalibration
    n: int  # training and validation examples to fit on
    capped: str | None = None  # the cap on calls that left only validation examples to fit on
    baseline_weighed: Weighed | None = None  # for comparison: what precedents do without rules
    compiled_weighed: Weighed | None = None
    difference: Difference | None = None  # the compiled student with calibration minus without
    difference_to_baseline: Difference | None = None  # minus the unchanged student without calibration

    @property
    def weighs(self) -> bool:
        """Whether the compiled program weighs precedents: out of fold they lose no more than the standard error.

        They need not be sure to gain. Their weights are few and shrunk; with few labels, where they help most, no gain
        is sure; and the student's answers, which they are compared with, are to examples that made or chose its rules.
        """
        weighed = self.compiled_weighed
        if weighed is None or weighed.gain is None:
            return False
        return weighed.gain.macro_f1 > -weighed.gain.standard_error  # where no answer changes, they are left out

    @property
    def students(self) -> dict[str, StudentCalibration]:
        """The calibrated students by name, those weighed against precedents last."""
        weighed = {"unchanged + precedents": self.baseline_weighed, "compiled + precedents": self.compiled_weighed}
        more = {name: found.student for name, found in weighed.items() if found is not None}
        return {"unchanged": self.baseline, "compiled": self.compiled, **more}

    @property
    def used(self) -> StudentCalibration:
        """The calibration of the compiled program."""
        return self.compiled_weighed.student if self.compiled_weighed and self.weighs else self.compiled
