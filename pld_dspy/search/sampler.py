"""Optuna's samplers as the search needs them: one that returns a given point, and TPE with a seed per step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from .space import Parameters


def fixed_sampler(parameters: Parameters) -> BaseSampler:
    """Return a sampler that always samples the given point."""
    with warnings.catch_warnings():  # experimental since Optuna 2.4, and part of every release since
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PartialFixedSampler(parameters, RandomSampler())


class SeededTPE(TPESampler):
    """Multivariate TPE, made anew for each step, so that a resumed search samples as an uninterrupted one.

    Every trial of a search has the same search space, so it is given here. Optuna would infer it from all earlier
    trials, again at each step.

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
