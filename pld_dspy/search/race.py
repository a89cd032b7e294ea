"""When a race ends early: a candidate is asked block by block, until it is unlikely to beat the best set so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta


def chance_to_win(candidate: NDArray[np.bool_], incumbent: NDArray[np.bool_]) -> float:
    """Return P(the candidate is right more often than the incumbent), given n flags of which answers were right.

    Only examples that exactly one of the two gets right count. With a uniform prior on the candidate's share of these,
    the posterior is a Beta distribution.
    """
    return float(beta.sf(0.5, 1 + (candidate & ~incumbent).sum(), 1 + (incumbent & ~candidate).sum()))
