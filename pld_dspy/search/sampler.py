"""How a candidate that the search has in mind becomes an Optuna trial: by a sampler, Optuna's own way."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler

from .space import Parameters


def proposing(parameters: Parameters) -> BaseSampler:
    """Return a sampler that samples the given point, whatever the study says."""
    with warnings.catch_warnings():  # experimental since Optuna 2.4, and part of every release since
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(parameters, RandomSampler())
