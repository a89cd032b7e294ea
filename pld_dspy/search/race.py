"""When a race ends early: a candidate is asked block by block, until it is unlikely to beat the best set so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from .student_model import StudentModel
from .trials import FinishedTrial


def is_beaten(
    trial: FinishedTrial,
    rival: FinishedTrial,
    trials: Sequence[FinishedTrial],
    model: StudentModel,
    alpha: float,
    rng: np.random.Generator,
) -> bool:
    """Return whether the candidate of ``trial`` has a smaller chance than ``alpha`` to be worth more than ``rival``.

    The chance is that of the ``model`` of all ``trials`` where there are log-probabilities, else that of right answers.
    """
    if not alpha:
        return False
    chance = model.chance_to_win(trials, trial, rival.candidate, rng)
    if chance is None:
        chance = chance_to_win(trial.correct, rival.by_row(rival.asked)[trial.rows])  # the rival was asked in full
    return chance < alpha


def chance_to_win(candidate: NDArray[np.bool_], incumbent: NDArray[np.bool_]) -> float:
    """Return P(the candidate is right more often than the incumbent), given n flags of which answers were right.

    Only examples that exactly one of the two gets right count. With a uniform prior on the candidate's share of these,
    the posterior is a Beta distribution.
    """
    return float(beta.sf(0.5, 1 + (candidate & ~incumbent).sum(), 1 + (incumbent & ~candidate).sum()))
