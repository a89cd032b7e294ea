"""What both models learn: a Gaussian posterior of effects, its mean and draws from it as surrogates of the student."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from .surrogate import Floats, Surrogate
from .threads import one_thread


@dataclass(frozen=True, kw_only=True)
class GaussianPosterior(ABC):
    """A Gaussian posterior of F effects, in units of their prior standard deviation.

    Attributes:
        mean: F means.
        precision: F x F, the inverse of the covariance.
    """

    mean: Floats
    precision: Floats

    @cached_property
    def surrogate(self) -> Surrogate:
        """The student under the posterior mean."""
        return self.student(self.mean)

    def draw(self, rng: np.random.Generator) -> Surrogate:
        """Return the student under one draw of the effects (Thompson sampling)."""
        noise = rng.standard_normal(len(self.mean))
        with one_thread():
            return self.student(self.mean + np.asarray(solve_triangular(self._factor.T, noise)))

    @abstractmethod
    def student(self, effects: Floats) -> Surrogate:
        """Return the student under given effects."""

    @cached_property
    def _factor(self) -> Floats:
        with one_thread():
            return np.asarray(np.linalg.cholesky(self.precision), dtype=np.float64)
