"""What calibration left behind: the offsets of both students, and what they do on the test set."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ..scoring import Difference, Score
from .offsets import Offsets


class Grade(BaseModel):
    """How one student did on the test set, and what its confidence is worth.

    An answer without log-probabilities has the confidence 0.

    Attributes:
        score: macro-F1 and the rest.
        calibration_error: expected calibration error, 0 to 1.
        error_at_80: error rate among the most confident answers that make up 80% of all.
        coverage, risk: points of the risk-coverage curve, from few answers to all; at most ``CURVE_POINTS``.
    """

    model_config = ConfigDict(frozen=True)

    score: Score
    calibration_error: float
    error_at_80: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


class StudentCalibration(BaseModel):
    """One student's calibration.

    Attributes:
        offsets: as fitted on training and validation answers. Where no offsets paid, all are 0 and ``gain`` is None:
            the student decides as it did, and the temperature alone is fitted.
        plain: the student on the test set as it is, with its own probabilities for confidence; None without a test
            set.
        calibrated: the same with offsets and temperature.
    """

    model_config = ConfigDict(frozen=True)

    offsets: Offsets
    plain: Grade | None = None
    calibrated: Grade | None = None


class Calibration(BaseModel):
    """The outcome of the calibration of a compile.

    Attributes:
        baseline, compiled: of the unchanged and of the compiled student.
        n: training and validation examples that it was fitted on.
        difference: on the test set, the compiled student with calibration minus without; None without a test set.
        difference_to_baseline: the compiled student with calibration minus the unchanged student without.
    """

    model_config = ConfigDict(frozen=True)

    baseline: StudentCalibration
    compiled: StudentCalibration
    n: int
    difference: Difference | None = None
    difference_to_baseline: Difference | None = None
