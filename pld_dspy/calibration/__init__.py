"""Calibration: offsets that move a student's decisions to where macro-F1 is best, and how far to trust each answer."""

from .calibrated import Calibrated as Calibrated
from .decided import decided as decided
from .decided import logprobs_of as logprobs_of
from .decided import matched as matched
from .matching import match as match
from .offsets import Offsets as Offsets
from .offsets import fit_offsets as fit_offsets
from .offsets import fit_temperature as fit_temperature
from .offsets import logprob_matrix as logprob_matrix
from .result import Calibration as Calibration
from .result import Grade as Grade
from .result import StudentCalibration as StudentCalibration
from .risk import error_at as error_at
from .risk import expected_calibration_error as expected_calibration_error
from .risk import risk_coverage as risk_coverage
from .risk import threshold_for as threshold_for
from .stage import Fitted as Fitted
from .stage import Uncalibrated as Uncalibrated
from .stage import fitted as fitted
from .stage import graded as graded
