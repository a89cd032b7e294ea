"""The race: stop asking about a candidate as soon as it is unlikely to beat the incumbent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta


def chance_to_win(candidate: NDArray[np.bool_], incumbent: NDArray[np.bool_]) -> float:
    """Return P(the candidate is right more often than the incumbent), given their answers to the same examples.

    Only examples where one is right and the other wrong say anything; with a uniform prior on the candidate's
    share of these, the posterior is a Beta distribution.

    Args:
        candidate: n flags, whether the candidate was correct.
        incumbent: n flags of the incumbent on the same examples.
    """
    wins = int((candidate & ~incumbent).sum())
    losses = int((incumbent & ~candidate).sum())
    return float(beta.sf(0.5, 1 + wins, 1 + losses))
