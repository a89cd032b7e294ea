"""What calibration left behind: the offsets of both students, what they do on the test set, and where to abstain."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from ..scoring.difference import Difference
from ..scoring.offsets import Offsets
from ..scoring.score import Score


class Bin(BaseModel):
    """The answers of one range of confidence.

    Attributes:
        confidence: their mean confidence, 0 to 1.
        accuracy: the share of right ones among them.
        n: how many they are.
    """

    model_config = ConfigDict(frozen=True)

    confidence: float
    accuracy: float
    n: int


class Grade(BaseModel):
    """How one student did on the test set, and what its confidence is worth.

    An answer without log-probabilities has the confidence 0.

    Attributes:
        score: macro-F1 and the rest.
        calibration_error: expected calibration error, 0 to 1.
        error_at_80: error rate among the most confident answers that make up 80% of all.
        coverage, risk: points of the risk-coverage curve, from few answers to all; at most ``CURVE_POINTS``.
        reliability: the ranges that ``calibration_error`` is a mean over; none in results of earlier versions.
    """

    model_config = ConfigDict(frozen=True)

    score: Score
    calibration_error: float
    error_at_80: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    reliability: tuple[Bin, ...] = ()


class Answered(BaseModel):
    """How much a student answers with a threshold, and how often that is wrong; and without one.

    An example whose call failed, or whose answer has no log-probabilities, is not answered where there is a threshold,
    and is answered, a failed one wrongly, where there is none.

    Attributes:
        n: examples.
        n_wrong: wrong ones, if the student answers all.
        answered: examples whose confidence is at the threshold or over; all where there is none.
        wrong: wrong ones among them.
        coverage: answered / n.
        error_rate: wrong / answered; None where nothing is answered.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    n_wrong: int
    answered: int
    wrong: int
    coverage: float
    error_rate: float | None


class Abstention(BaseModel):
    """The threshold that a wanted error rate asks for.

    Attributes:
        error_rate: the wanted one, among what is answered.
        delta: the probability with which ``threshold_for`` may fail.
        n: out-of-fold confidences, of training and validation examples, that the threshold was chosen on.
        threshold: None where no threshold can promise the rate on so many: the student then answers everything.
        validation: of the same out-of-fold confidences, those of validation examples.
        test: on the test set; None without one.
    """

    model_config = ConfigDict(frozen=True)

    error_rate: float
    delta: float
    n: int
    threshold: float | None
    validation: Answered
    test: Answered | None = None


class Applied(Offsets):
    """What a calibrated program applies, as calibration.json holds it.

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


class StudentCalibration(BaseModel):
    """One student's calibration.

    Attributes:
        offsets: as fitted on training and validation answers. Where no offsets paid, all are 0 and ``gain`` is None:
            the student decides as it did, and the temperature alone is fitted.
        plain: the student on the test set as it is, with its own probabilities for confidence; None without a test
            set.
        calibrated: the same with offsets and temperature.
        abstention: the threshold for the wanted error rate; None where none was wanted.
    """

    model_config = ConfigDict(frozen=True)

    offsets: Offsets
    plain: Grade | None = None
    calibrated: Grade | None = None
    abstention: Abstention | None = None

    @property
    def applied(self) -> Offsets:
        """What calibration.json holds: the offsets; with the threshold, where an error rate was wanted."""
        if self.abstention is None:
            return self.offsets
        wanted, threshold = self.abstention.error_rate, self.abstention.threshold
        return Applied(**dict(self.offsets), error_rate=wanted, threshold=threshold)

    @model_serializer(mode="wrap")
    def _only_what_was_wanted(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {name: value for name, value in found.items() if name != "abstention" or value is not None}


class Calibration(BaseModel):
    """The outcome of the calibration of a compile.

    Attributes:
        baseline, compiled: of the unchanged and of the compiled student.
        n: training and validation examples that it was fitted on.
        capped: the cap on calls that kept the training examples out of it; None where they are in.
        difference: on the test set, the compiled student with calibration minus without; None without a test set.
        difference_to_baseline: the compiled student with calibration minus the unchanged student without.
    """

    model_config = ConfigDict(frozen=True)

    baseline: StudentCalibration
    compiled: StudentCalibration
    n: int
    capped: str | None = None
    difference: Difference | None = None
    difference_to_baseline: Difference | None = None
