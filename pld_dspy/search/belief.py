"""What the search believes: the model of rule effects fitted to all answers so far, and candidates' values by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..scoring.objective import Objective
from .config import SearchConfig
from .effects import EffectModel, Observation
from .gaussian import GaussianPosterior
from .logits import LogitModel
from .space import Candidate, Space
from .surrogate import Floats, Surrogate
from .trials import Asked, Seen

SCALES = (0.25, 0.5, 1.0)
"""Scales of the prior on effects to choose from: how much rules move a student differs from student to student."""

PRIOR_EXAMPLES = 60
"""A trial's value weighs its own answers against the model as if the model were this many answers."""

DRAWS = 48
"""Draws from the posterior by which two candidates are compared."""

LOGIT_LABELS = 16
"""With more labels than this the log-probabilities are too many to model."""

MOST_WITHOUT = 0.05
"""Where more of the answers lack log-probabilities, most likely for being no label, these tell too little of a set."""


class Belief:
    """The model that predicts unseen screened candidates best, and what it says.

    Args:
        space: the rules.
        golds: n gold labels of the validation set.
        labels: the label set.
        config: of the search; without screening there is no model.
        known: number of trials, guards and screened sets, after which the model is chosen and used; 0 for never.
        about: n x K, how much an example is like those a rule came from; used only if it predicts better.
        objective: what is maximized; it says how examples are weighed.
        calibrated: whether answers are decided with offsets, where there are log-probabilities.
    """

    def __init__(
        self,
        space: Space,
        golds: Sequence[str],
        labels: Sequence[str],
        config: SearchConfig,
        *,
        known: int,
        about: Floats | None = None,
        objective: Objective = Objective(),  # noqa: B008 - frozen
        calibrated: bool = False,
    ) -> None:
        self.space = space
        self.golds = golds
        self.labels = labels
        self.config = config
        self.known = known
        self.calibrated = calibrated
        self.weights = objective.example_weights(golds, labels)
        self._provenance = [None] if about is None else [None, about]
        self._model: EffectModel | LogitModel | None = None
        self._fit: tuple[list[int], GaussianPosterior | None] = ([], None)

    def posterior(self, seen: Sequence[Seen]) -> GaussianPosterior | None:
        """Return what was learned; None before the screening is over, or where answers teach nothing."""
        screened = [trial for trial in seen if trial.kind not in ("race", "confirm")]
        if not self.known or len(screened) < self.known:
            return None
        if self._model is None:
            self._model = self._chosen(_observations(screened))
        steps = [trial.step for trial in seen]
        if self._fit[0] != steps:
            self._fit = steps, self._model.fit(_observations(seen))
        return self._fit[1]

    def value(self, seen: Sequence[Seen], candidate: Candidate, asked: Asked, objective: float | None) -> float:
        """Return a candidate's value, less the cost of its rules, on one scale for half-asked and fully asked ones.

        Its own answers are blended with what the model expects: Optuna would otherwise compare the luck of a few
        examples with the mean of all.

        Args:
            seen: the finished trials to believe by.
            candidate: what was asked.
            asked: what it answered.
            objective: on the whole validation set; None where it was not asked in full.
        """
        weights = self.weights[asked.rows]
        own = objective if objective is not None else float(weights @ asked.correct / weights.sum())
        cost = self.config.parsimony * candidate.size
        if not self.known:
            return own - cost
        posterior = self.posterior(seen)
        if posterior is not None:
            believed = posterior.surrogate.value(candidate)
        else:
            believed = float(np.mean([trial.asked.correct.mean() for trial in seen] or [own]))
        share = len(asked.rows) / (len(asked.rows) + PRIOR_EXAMPLES)
        return share * own + (1 - share) * believed - cost

    def chance_to_win(
        self, seen: Sequence[Seen], candidate: Candidate, asked: Asked, rival: Candidate, rng: np.random.Generator
    ) -> float | None:
        """Return P(candidate is worth more than ``rival``), from the log-probabilities of its answers so far.

        None where the model knows right and wrong only, or an answer has none, most likely for being no label at all:
        then the answers that differ tell more.
        """
        new = Observation(candidate, asked.rows, asked.correct, asked.logits)
        if not _has_all_logits(new) or not isinstance(self._model, LogitModel) or self.posterior(seen) is None:
            return None
        posterior = self._model.fit([*_observations(seen), new])
        costs = self.config.parsimony * (candidate.size - rival.size)
        values = np.array([drawn.values([candidate, rival]) for drawn in _draws(posterior, rng)])
        return float((1 + np.sum(values[:, 0] - values[:, 1] > costs)) / (2 + len(values)))

    def _chosen(self, screened: Sequence[Observation]) -> EffectModel | LogitModel:
        """Choose the model by what it says of unseen candidates."""
        if len(self.labels) <= LOGIT_LABELS and _without_logits(screened) <= MOST_WITHOUT:
            rich = [
                LogitModel(self.space, self.golds, self.labels, known, weights=self.weights, calibrated=self.calibrated)
                for known in self._provenance
            ]
            return min(rich, key=lambda model: model.error(screened)) if len(rich) > 1 else rich[0]
        plain = [
            EffectModel(self.space, self.golds, known, labels=self.labels, weights=self.weights, scale=scale)
            for known in self._provenance
            for scale in SCALES
        ]
        return min(plain, key=lambda model: model.log_loss(screened))


def _draws(posterior: GaussianPosterior, rng: np.random.Generator) -> list[Surrogate]:
    return [posterior.draw(rng) for _ in range(DRAWS)]


def _has_all_logits(one: Observation) -> bool:
    return one.logits is not None and not np.isnan(one.logits).any()


def _without_logits(screened: Sequence[Observation]) -> float:
    """Return the share of answers that have no log-probabilities."""
    missing = [len(one.rows) if one.logits is None else np.isnan(one.logits).any(axis=1).sum() for one in screened]
    return float(sum(missing) / sum(len(one.rows) for one in screened))


def _observations(seen: Sequence[Seen]) -> list[Observation]:
    return [Observation(trial.candidate, trial.asked.rows, trial.asked.correct, trial.asked.logits) for trial in seen]
