"""What the search has learned about the student: the model that predicts it best, and candidates' values by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from ..scoring.f1 import Floats
from .correctness_model import CorrectnessModel
from .logprob_model import LogprobModel
from .search_config import SearchConfig
from .space import Candidate, Space
from .surrogate import Posterior
from .trials import FinishedTrial

SCALES = (0.25, 0.5, 1.0)  # of the prior, to choose from: rules move one student more than another
PRIOR_EXAMPLES = 60  # in a trial's value, the model's expectation weighs as much as this many answers
DRAWS = 48  # from the posterior, to compare two candidates by
MOST_LABELS = 16  # with more labels the log-probabilities are too many to model
MOST_MISSING = 0.05  # with a larger share of answers without log-probabilities, the others say too little


@dataclass(eq=False)
class StudentModel:
    """The model that predicts screened candidates best when they are left out of its fit; n examples, K rules."""

    space: Space
    golds: Sequence[str]
    labels: Sequence[str]
    weights: Floats  # of the n examples, sum 1
    config: SearchConfig
    _: KW_ONLY
    screened: int  # carried trials, guards and screened sets after which the model is chosen and used; 0 for no model
    calibrated: bool = False
    _model: CorrectnessModel | LogprobModel | None = field(default=None, init=False)
    _fit: tuple[list[int], Posterior | None] = field(default=([], None), init=False)

    def posterior(self, trials: Sequence[FinishedTrial]) -> Posterior | None:
        """Return what was learned; None before the screening is over, or where the answers say nothing."""
        screened = [trial for trial in trials if trial.carried or trial.kind not in ("race", "confirm")]
        if not self.screened or len(screened) < self.screened:
            return None
        if self._model is None:
            self._model = self._best_model(screened)
        steps = [trial.step for trial in trials]
        if self._fit[0] != steps:
            self._fit = steps, self._model.fit(trials)
        return self._fit[1]

    def value(self, trials: Sequence[FinishedTrial], trial: FinishedTrial) -> float:
        """Return a trial's value, less the cost of its rules, on one scale for partly and fully asked ones.

        Its own answers are blended with what the model expects after ``trials``: few answers are a matter of luck.
        """
        weights = self.weights[trial.rows]
        own = trial.objective if trial.objective is not None else float(weights @ trial.correct / weights.sum())
        cost = self.config.parsimony * trial.candidate.size
        if not self.screened:
            return own - cost
        posterior = self.posterior(trials)
        if posterior is not None:
            expected = posterior.surrogate.value(trial.candidate)
        else:
            expected = float(np.mean([one.correct.mean() for one in trials] or [own]))
        share = trial.asked / (trial.asked + PRIOR_EXAMPLES)
        return share * own + (1 - share) * expected - cost

    def chance_to_win(
        self, trials: Sequence[FinishedTrial], trial: FinishedTrial, rival: Candidate, rng: np.random.Generator
    ) -> float | None:
        """Return P(the trial's candidate is worth more than ``rival``); None where log-probabilities are missing."""
        if not trial.has_logprobs.all() or not isinstance(self._model, LogprobModel) or self.posterior(trials) is None:
            return None
        posterior = self._model.fit([*trials, trial])
        costs = self.config.parsimony * (trial.candidate.size - rival.size)
        values = np.array([posterior.draw(rng).values([trial.candidate, rival]) for _ in range(DRAWS)])
        return float((1 + np.sum(values[:, 0] - values[:, 1] > costs)) / (2 + len(values)))

    def _best_model(self, screened: Sequence[FinishedTrial]) -> CorrectnessModel | LogprobModel:
        """Return the model of log-probabilities where they are given, else that of right and wrong which errs least."""
        given = (self.space, self.golds, self.labels, self.weights)
        missing = np.mean(np.concatenate([~trial.has_logprobs for trial in screened]))
        if len(self.labels) <= MOST_LABELS and missing <= MOST_MISSING:
            return LogprobModel(*given, calibrated=self.calibrated)
        models = [CorrectnessModel(*given, scale=scale) for scale in SCALES]
        return min(models, key=lambda model: model.error(screened))
