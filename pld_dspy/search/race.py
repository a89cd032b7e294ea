"""When a race ends early: a candidate is asked block by block, until it is unlikely to beat the best set so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from .trials import FinishedTrial


def is_beaten(trial: FinishedTrial, rival: FinishedTrial, alpha: float, chance: float | None) -> bool:
    """Return whether the candidate of ``trial`` has a smaller chance than ``alpha`` to be worth more than ``rival``.

    ``rival`` was asked in full. ``chance`` is the chance by the model of all answers; where None, right answers decide.
    """
    if chance is None:
        chance = chance_to_win(trial.correct, rival.by_row(rival.asked)[trial.rows])
    return chance < alpha


def chance_to_win(candidate: NDArray[np.bool_], incumbent: NDArray[np.bool_]) -> float:
    """Return P(the candidate is right more often than the incumbent), given n flags of which answers were right.

    Only examples that exactly one of the two gets right count. With a uniform prior on the candidate's share of these,
    the posterior is a Beta distribution.
    """
    return float(beta.sf(0.5, 1 + (candidate & ~incumbent).sum(), 1 + (incumbent & ~candidate).sum()))
