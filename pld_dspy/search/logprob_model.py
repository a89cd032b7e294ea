"""The model of label log-probabilities: where the server gives them, an answer says far more than right or wrong.

Most of what a rule set does to a small student is to shift its leaning between labels, on all examples alike. A bit per
answer hides that, log-probabilities show it. A linear mixed model explains them:

    log p(label | example, rules) = the example's own effect + what the rules for the label push
                                    + shares of labels among the rules + what the demonstrations do
                                    + the set's own effect + noise

With the sets' own effects, some twenty answers tell a set's quality almost as well as all examples would. How the model
is fitted is in ``mixed_model.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from ..rules import Rule
from ..scoring.f1 import Floats
from ..scoring.offsets import match
from .mixed_model import SET_SD, Answers, MixedModel, centred
from .space import Candidate, Space
from .surrogate import Posterior, Surrogate
from .trials import FinishedTrial

FLOOR = -9.0  # log-probabilities below this would weigh too much

PUSH_SD, PLACE_SD, GOLD_SD, WORDING_SD = 0.6, 0.3, 0.5, 0.3
SHARE_SD = 2.0
DEMOS_SD, DEMOS_GOLD_SD = 1.0, 0.5
NOISE, LEAST_NOISE = 0.7, 0.2
SHARPNESS = 0.9  # temperature in units of the noise: the softmax is close to the chance that the noisiest label wins
MATCH_ROUNDS = 8  # offsets are then correct to some hundredths, at a sixth of the cost


@dataclass(frozen=True, kw_only=True)
class LogprobPosterior(Posterior):
    """The posterior of all effects but the examples' own, which follow from the others."""

    model: LogprobModel
    answers: MixedModel
    assumed: float  # standard deviation of the noise, for the fit
    noise: float  # the same, estimated from the fit

    def student(self, effects: Floats) -> Surrogate:
        """Return the student under given effects."""
        model, space = self.model, self.model.space
        k, c = len(space), model.labels
        push, place, gold = effects[: 3 * k].reshape(3, k)
        share = effects[3 * k : 3 * k + c * c].reshape(c, c) * SHARE_SD
        wording = effects[3 * k + c * c : model.first_demo].reshape(k, space.wordings) * WORDING_SD
        shown = effects[model.first_demo : model.fixed - c].reshape(-1, c + 1)
        intercept = effects[model.fixed - c : model.fixed]
        on_all = (push * PUSH_SD)[:, None] + wording
        on_examples = (model.gold * (gold * GOLD_SD)).T
        temperature = SHARPNESS * self.noise
        rows = np.arange(len(model.weights))
        demos = np.zeros((len(space.demos), len(rows), c))
        demos[1:] = shown[:, None, :-1] * DEMOS_SD
        demos[1:, rows, model.truth] += shown[:, -1:] * DEMOS_GOLD_SD

        def chance(utilities: Floats) -> Floats:
            return np.asarray(softmax(model.matched(utilities) / temperature, axis=-1)[..., rows, model.truth])

        return Surrogate(
            space=space,
            weights=model.weights,
            chance=chance,
            empty=self.answers.examples(effects, self.assumed) + intercept,
            column=model.column,
            base=on_all[:, :, None] + on_examples[:, None, :],
            slope=np.repeat((place * PLACE_SD)[:, None], len(rows), axis=1),
            demos=demos,
            share=share,
            set_effects={
                lines: effects[model.fixed + c * number : model.fixed + c * (number + 1)] * SET_SD
                for number, lines in enumerate(self.answers.sets)
            },
        )

    def gold_logprobs(self, utilities: Floats) -> Floats:
        """Return the ... x n log-probabilities of the gold labels, given ... x n x C utilities."""
        model = self.model
        given = log_softmax(model.matched(utilities), axis=-1)
        return np.asarray(given[..., np.arange(len(model.truth)), model.truth])


class LogprobModel:
    """Effects of K rules on the log-probabilities of C labels for n examples; ``calibrated``: see RuleSearch."""

    def __init__(
        self,
        space: Space,
        golds: Sequence[str],
        labels: Sequence[str],
        weights: Floats,
        *,
        calibrated: bool = False,
    ) -> None:
        self.space = space
        self.labels = len(labels)
        self.weights = weights
        self.truth = np.array([labels.index(gold) for gold in golds])
        self.column = np.array([_pushed_label(rule, labels) for rule in space.rules], dtype=np.int64)
        self.gold = (self.truth[:, None] == self.column[None, :]).astype(float)
        self.shares = np.bincount(self.truth, minlength=self.labels) / len(self.truth) if calibrated else None
        k, c = len(space), self.labels
        self.first_demo = 3 * k + c * c + k * space.wordings
        # Effects that are not of single sets or examples: each choice of demonstrations has one per label, and one on
        # the gold label.
        self.fixed = self.first_demo + (len(space.demos) - 1) * (c + 1) + c
        self._built: dict[FinishedTrial, sp.csr_matrix] = {}
        self._summed: tuple[list[FinishedTrial], MixedModel] = [], MixedModel(len(golds), c, self.fixed)

    def matched(self, utilities: Floats) -> Floats:
        """Return ... x n x C utilities with the offsets that undo a leaning, where answers will be decided so."""
        if self.shares is None:
            return utilities
        return utilities + match(utilities, self.shares, rounds=MATCH_ROUNDS)[..., None, :]

    def fit(self, trials: Sequence[FinishedTrial]) -> LogprobPosterior:
        """Fit all log-probabilities so far, twice: the second fit assumes the noise that the first one found."""
        answers = self._answers(trials)
        return self._fitted(answers, self._fitted(answers, NOISE).noise)

    def _answers(self, trials: Sequence[FinishedTrial]) -> MixedModel:
        """Sum up the trials; the sums of all but the last are kept, since a race grows only that, block by block."""
        trials = _with_logprobs(trials)
        known, answers = self._summed
        if known != trials[: len(known)] or len(known) == len(trials):
            known, answers = [], MixedModel(len(self.weights), self.labels, self.fixed)
        for trial in trials[len(known) : -1]:
            answers = answers.plus(self._as_answers(trial))
        self._summed = trials[:-1], answers
        return answers.plus(self._as_answers(trials[-1], keep=False))

    def _as_answers(self, trial: FinishedTrial, *, keep: bool = True) -> Answers:
        """Return a trial's answers that have log-probabilities; ``keep`` their features, for the next sum."""
        given = trial.has_logprobs
        rows = trial.rows[given]
        features = self._built.get(trial)
        if features is None:
            features = self._features(trial.candidate, rows)
            if keep:
                self._built[trial] = features
        target = centred(np.maximum(trial.logprobs[given], FLOOR), axis=1)
        return Answers(self.space.lines(trial.candidate), rows, features, target)

    def _fitted(self, answers: MixedModel, noise: float) -> LogprobPosterior:
        mean, precision = answers.fit(noise)
        left = max(answers.residual(mean, noise), LEAST_NOISE)
        return LogprobPosterior(mean=mean, precision=precision, model=self, answers=answers, assumed=noise, noise=left)

    def _features(self, candidate: Candidate, rows: NDArray[np.int64]) -> sp.csr_matrix:
        """Return the features that all sets share, in units of their prior sd: one row per answer and label."""
        m, c, k = len(rows), self.labels, len(self.space)
        used = np.flatnonzero(candidate.use)
        columns = self.column[used]
        place = 2 * candidate.key[used] - 1
        fixed = sp.lil_matrix((c, self.fixed))  # what does not depend on the example
        fixed[columns, used] = PUSH_SD
        fixed[columns, k + used] = place * PLACE_SD
        shares = np.bincount(columns, minlength=c) / max(len(used), 1)
        for label in range(c):
            fixed[label, 3 * k + label * c : 3 * k + (label + 1) * c] = shares * SHARE_SD
        fixed[columns, 3 * k + c * c + used * self.space.wordings + candidate.wording[used]] = WORDING_SD
        fixed[np.arange(c), self.fixed - c + np.arange(c)] = 1.0
        first = self.first_demo + (candidate.demos - 1) * (c + 1)
        if candidate.demos:
            fixed[np.arange(c), first + np.arange(c)] = DEMOS_SD
        repeated = sp.kron(np.ones((m, 1)), fixed.tocsr(), format="csr")
        row_of = (np.arange(m)[:, None] * c + columns[None, :]).ravel()
        gold = (self.gold[rows][:, used] * GOLD_SD).ravel()
        features = repeated + sp.csr_matrix((gold, (row_of, np.tile(2 * k + used, m))), shape=repeated.shape)
        if candidate.demos:
            places = np.arange(m) * c + self.truth[rows], np.full(m, first + c)
            features += sp.csr_matrix((np.full(m, DEMOS_GOLD_SD), places), shape=features.shape)
        return features.tocsr()


def _with_logprobs(trials: Sequence[FinishedTrial]) -> list[FinishedTrial]:
    """Return the trials in which some answer has log-probabilities."""
    return [trial for trial in trials if trial.has_logprobs.any()]


def _pushed_label(rule: Rule, labels: Sequence[str]) -> int:
    """Return the label that a rule pushes, up or down; the first of all where the rule has no label of the set."""
    return labels.index(rule.labels[0]) if rule.labels and rule.labels[0] in labels else 0
