"""Optuna's samplers as the search needs them: one that samples what it has in mind, and TPE, made anew each step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from .space import Parameters


def proposing(parameters: Parameters) -> BaseSampler:
    """Return a sampler that samples the given point, whatever the study says."""
    with warnings.catch_warnings():  # experimental since Optuna 2.4, and part of every release since
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(parameters, RandomSampler())


class SeededTPE(TPESampler):
    """Multivariate TPE that is made anew for each step, so that a resumed search samples as an uninterrupted one.

    Optuna would look for the search space in all earlier trials, at each step anew; every trial of a search has the
    same one, so it is told.

    Args:
        seed: of this step.
        distributions: the search space.
    """

    def __init__(self, seed: int, distributions: Mapping[str, BaseDistribution]) -> None:
        super().__init__(seed=seed, multivariate=True, constant_liar=True)
        self._known = dict(sorted(distributions.items()))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the search space, in Optuna's own order."""
        return self._known
