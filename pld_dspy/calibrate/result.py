"""What calibrating left behind: the offsets of both students, what they do on the test set, and where to abstain."""

from __future__ import annotations

from pydantic import Field

from ..scoring.difference import Difference
from ..scoring.f1 import Record
from ..scoring.offsets import Offsets
from ..scoring.score import Score


class Bin(Record):
    """The answers in one range of confidence: their mean confidence, the share of right ones, and their number."""

    confidence: float
    accuracy: float
    n: int


class Grade(Record):
    """How one student did on the test set, and what its confidence is worth.

    An answer without log-probabilities has the confidence 0.

    Attributes:
        score: macro-F1 and the rest.
        calibration_error: expected calibration error, 0 to 1.
        error_at_80: error rate among the most confident answers that make up 80% of all.
        coverage, risk: points of the risk-coverage curve, from few answers to all; at most ``CURVE_POINTS``.
        reliability: the ranges that ``calibration_error`` is a mean over.
    """

    score: Score
    calibration_error: float
    error_at_80: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    reliability: tuple[Bin, ...]


class Answered(Record):
    """How much a student answers with a threshold, and how often that is wrong; and without one.

    With a threshold, failed calls and answers without log-probabilities are left out.

    Attributes:
        n: examples.
        n_wrong: wrong ones, if the student answers all.
        answered: examples whose confidence is at the threshold or over; all without a threshold.
        wrong: wrong ones among them.
        coverage: answered / n.
        error_rate: wrong / answered; None where nothing is answered.
    """

    n: int
    n_wrong: int
    answered: int
    wrong: int
    coverage: float
    error_rate: float | None


class Abstention(Record):
    """The threshold for a wanted error rate.

    Attributes:
        error_rate: the wanted one, among what is answered.
        delta: the probability with which ``threshold_for`` may fail.
        n: out-of-fold confidences, of training and validation examples, that the threshold was chosen on.
        threshold: None where no threshold keeps the rate on so many examples: the student then answers everything.
        validation: what is answered of the validation examples, with these out-of-fold confidences.
        test: the same on the test set; None without one.
    """

    error_rate: float
    delta: float
    n: int
    threshold: float | None
    validation: Answered
    test: Answered | None = None


class SavedCalibration(Offsets):
    """What a calibrated program needs, as calibration.json holds it.

    Attributes:
        error_rate: the error rate that was wanted; None where none was.
        threshold: confidence below which to abstain; None never abstains.
    """

    error_rate: float | None = Field(default=None, gt=0.0, lt=1.0)
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)

    @property
    def abstains(self) -> bool:
        """Whether abstaining was asked for, by an error rate or by a threshold."""
        return self.error_rate is not None or self.threshold is not None


class StudentCalibration(Record):
    """One student's calibration.

    Attributes:
        offsets: as fitted. Where none paid, all are 0 and ``gain`` is None, and only the temperature is fitted.
        plain: the student on the test set with its own probabilities for confidence; None without a test set.
        calibrated: the same with offsets and temperature.
        abstention: the threshold for the wanted error rate; None where none was wanted.
    """

    offsets: Offsets
    plain: Grade | None = None
    calibrated: Grade | None = None
    abstention: Abstention | None = None

    @property
    def saved(self) -> SavedCalibration:
        """What calibration.json holds: the offsets and, where an error rate was wanted, the threshold."""
        wanted = {} if self.abstention is None else self.abstention.model_dump(include={"error_rate", "threshold"})
        return SavedCalibration(**dict(self.offsets), **wanted)


class Calibration(Record):
    """The outcome of the calibration of a compile.

    Attributes:
        baseline, compiled: of the unchanged and of the compiled student.
        n: training and validation examples that it was fitted on.
        capped: the cap on calls that kept the training examples out of it; None where they are in.
        difference: on the test set, the compiled student with calibration minus without; None without a test set.
        difference_to_baseline: the compiled student with calibration minus the unchanged student without.
    """

    baseline: StudentCalibration
    compiled: StudentCalibration
    n: int
    capped: str | None = None
    difference: Difference | None = None
    difference_to_baseline: Difference | None = None
