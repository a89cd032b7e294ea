"""Matching: offsets under which each label is answered as often as it is right, whatever the prompt favours.

Only the frequency of each label is fitted, not single answers, so a few dozen examples are enough.
"""

from __future__ import annotations

import numpy as np

from .f1 import Floats, Ints

ROUNDS = 50
"""Rounds after which offsets are stable to three digits."""

LEAST = -600.0
"""Log-probabilities further than this below a row's largest are raised to it: a probability of 0 cannot be scaled."""


def match(logprobs: Floats, shares: Floats, *, rounds: int = ROUNDS) -> Floats:
    """Return the ... x C offsets under which the mean probability of each label is its share.

    Rows of NaN in the ... x m x C ``logprobs`` are left out. The offset is 0 for the commonest label and for those of
    share 0, and for all labels where no row remains. ``shares`` sum to 1.

    Source: prior matching, Liusie, Manakul & Gales 2023, "Mitigating word bias in zero-shot prompt-based
    classifiers"; the iteration is that of iterative proportional fitting.
    """
    values = np.asarray(logprobs, dtype=float)
    known = ~np.isnan(values).any(axis=-1, keepdims=True)
    values = np.where(known, values, 0.0)
    weights = np.exp(np.maximum(values - values.max(axis=-1, keepdims=True), LEAST))
    each = known / np.maximum(known.sum(axis=-2, keepdims=True), 1)
    given, some = shares > 0, known.any(axis=-2, keepdims=True)
    factor = np.ones((*values.shape[:-2], 1, len(shares)))
    for _ in range(rounds):
        sums = weights * factor
        means = (sums * (each / sums.sum(axis=-1, keepdims=True))).sum(axis=-2, keepdims=True)
        factor = np.where(given & some, factor * shares / np.maximum(means, np.finfo(float).tiny), 1.0)
    offsets = np.log(factor[..., 0, :])
    return np.asarray(np.where(given, offsets - offsets[..., [int(shares.argmax())]], 0.0))


def match_gold(logprobs: Floats, gold: Ints) -> Floats:
    """Return the offsets under which m x C ``logprobs`` answer each label as often as it is right in ``gold``."""
    return match(logprobs, np.bincount(gold, minlength=np.shape(logprobs)[1]) / len(gold))
