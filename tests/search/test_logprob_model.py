"""The model of log-probabilities finds what rules do to a simulated student, from far fewer answers than bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import log_softmax
from tasks import finished_trial, rule

from pld_dspy.scoring.objective import Objective
from pld_dspy.search.correctness_model import CorrectnessModel
from pld_dspy.search.logprob_model import LogprobModel
from pld_dspy.search.mixed_model import SET_SD
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.space import Candidate, Space
from pld_dspy.search.student_model import StudentModel
from pld_dspy.search.trials import FinishedTrial

LABELS = ("spam", "work", "home")
GOLDS = [LABELS[row % 3] for row in range(90)]
WEIGHTS = Objective().example_weights(GOLDS)
K = 12


class Student:
    """Log-probabilities that follow from pushes of rules, the examples' own leanings and a little noise."""

    def __init__(self, seed: int, *, noise: float = 0.4) -> None:
        rng = np.random.default_rng(seed)
        self.noise, self.rng = noise, rng
        self.space = Space(tuple(rule(f"r{j}", "x", LABELS[j % 3], "y") for j in range(K)))
        self.push = rng.normal(0.3, 0.6, K)
        self.gold = rng.normal(0.3, 0.3, K)
        truth = np.array([LABELS.index(gold) for gold in GOLDS])
        self.truth = truth
        self.examples = rng.normal(0, 1.2, (90, 3)) + 0.8 * np.eye(3)[truth]

    def utilities(self, candidate: Candidate) -> np.ndarray:
        total = self.examples.copy()
        for j in np.flatnonzero(candidate.use):
            total[:, j % 3] += self.push[j] + self.gold[j] * (self.truth == j % 3)
        return total

    def quality(self, candidate: Candidate) -> float:
        return float((self.utilities(candidate).argmax(axis=1) == self.truth).mean())

    def asked(self, candidate: Candidate, rows: np.ndarray) -> FinishedTrial:
        noisy = self.utilities(candidate)[rows] + self.rng.normal(0, self.noise, (len(rows), 3))
        return finished_trial(candidate, rows, noisy.argmax(axis=1) == self.truth[rows], log_softmax(noisy, axis=1))

    def screened(self, sets: int, size: int) -> list[FinishedTrial]:
        return [self.asked(self.space.random(self.rng), self.rng.choice(90, size, replace=False)) for _ in range(sets)]


def correlation(a: list[float], b: list[float]) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_unseen_sets_are_told_apart_better_than_by_right_and_wrong(seed):
    student = Student(seed)
    seen = student.screened(24, 18)
    unseen = [student.space.random(student.rng) for _ in range(60)]
    truth = [student.quality(candidate) for candidate in unseen]
    rich = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS).fit(seen).surrogate
    plain = CorrectnessModel(student.space, GOLDS, LABELS, WEIGHTS).fit(seen).surrogate
    found = correlation([rich.value(one) for one in unseen], truth)
    assert found > 0.75
    assert found > correlation([plain.value(one) for one in unseen], truth)


def test_few_answers_of_a_set_tell_what_it_has_beyond_its_rules():
    """One set is given a leaning of its own, as real sets have from what their rules do together."""
    student = Student(1)
    candidate = student.space.random(np.random.default_rng(5))
    seen = student.screened(24, 18)
    rows = np.arange(18)
    odd = student.asked(candidate, rows)
    logits = odd.logprobs + np.array([2.5, 0.0, 0.0])
    odd = finished_trial(candidate, rows, odd.correct, log_softmax(logits, axis=1))
    leaning = np.array([2.5, 0.0, 0.0])
    truth = float(((student.utilities(candidate) + leaning).argmax(axis=1) == student.truth).mean())
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    before = model.fit(seen).surrogate.value(candidate)
    after = model.fit([*seen, odd]).surrogate.value(candidate)
    assert abs(after - truth) < abs(before - truth) / 2


def test_the_posterior_covers_the_truth_and_narrows():
    student = Student(2)
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    seen = student.screened(40, 30)
    candidate = student.space.random(np.random.default_rng(3))
    spreads = []
    for known in (seen[:10], seen):
        posterior = model.fit(known)
        rng = np.random.default_rng(0)
        spreads.append(np.std([posterior.draw(rng).value(candidate) for _ in range(60)]))
    assert spreads[1] < spreads[0]
    assert abs(model.fit(seen).surrogate.value(candidate) - student.quality(candidate)) < 0.08


def test_the_noise_is_estimated():
    for noise in (0.3, 1.0):
        student = Student(0, noise=noise)
        fitted = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS).fit(student.screened(30, 30)).noise
        assert fitted == pytest.approx(noise, rel=0.35)


def test_examples_that_were_asked_at_different_times_count_the_same():
    """Integrating the examples' own effects out must not depend on the order of trials."""
    student = Student(4)
    seen = student.screened(12, 20)
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    candidate = student.space.all()
    values = [model.fit(known).surrogate.value(candidate) for known in (seen, seen[::-1])]
    assert values[0] == pytest.approx(values[1], abs=1e-9)


def test_the_marginal_fit_equals_the_joint_one():
    """With the examples' own effects as columns of their own, the same posterior mean must come out."""
    student = Student(5)
    seen = student.screened(10, 12)
    seen.append(student.asked(seen[0].candidate, np.arange(40, 60)))  # one set was asked twice
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    answers = model._answers(seen)
    mean, _ = answers.fit(0.7)
    sets = list(answers.sets)
    blocks, targets = [], []
    for one in seen:
        number = sets.index(student.space.lines(one.candidate))
        of_set = np.zeros((1, len(sets)))
        of_set[0, number] = SET_SD
        features = model._as_answers(one).features.toarray()
        fixed = np.hstack([features, np.kron(of_set, np.tile(np.eye(3), (len(one.rows), 1)))])
        own = np.zeros((len(one.rows) * 3, 90 * 3))
        own[np.arange(len(one.rows) * 3), (one.rows[:, None] * 3 + np.arange(3)).ravel()] = 1.5
        whole = np.hstack([fixed, own]).reshape(len(one.rows), 3, -1)
        blocks.append((whole - whole.mean(axis=1, keepdims=True)).reshape(len(one.rows) * 3, -1))
        targets.append((one.logprobs - one.logprobs.mean(axis=1, keepdims=True)).ravel())
    design, target = np.vstack(blocks), np.concatenate(targets)
    joint = np.linalg.solve(design.T @ design / 0.49 + np.eye(design.shape[1]), design.T @ target / 0.49)
    assert np.allclose(joint[: len(mean)], mean, atol=1e-6)
    own = joint[len(mean) :].reshape(90, 3) * 1.5
    assert np.allclose(answers.examples(mean, 0.7), own, atol=1e-6)


def test_a_model_that_grew_with_the_answers_is_the_one_made_of_them_all():
    """A race fits after each block, and a resumed search all at once: what they find must not differ in any digit."""
    student = Student(8)
    seen = student.screened(9, 12)
    racing = student.space.all()
    more = [student.asked(racing, np.arange(24)), student.asked(racing, np.arange(48))]
    grown = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    for known in (seen[:6], seen[:7], [*seen, more[0]], [*seen, more[1]], seen[2:], [*seen, more[1], seen[0]]):
        found, fresh = grown.fit(known), LogprobModel(student.space, GOLDS, LABELS, WEIGHTS).fit(known)
        assert np.array_equal(found.mean, fresh.mean)
        assert np.array_equal(found.precision, fresh.precision)
        assert found.noise == fresh.noise


def test_answers_without_log_probabilities_are_left_out():
    student = Student(9)
    seen = student.screened(8, 12)
    gaps = seen[3].logprobs.copy()
    gaps[[2, 7]] = np.nan
    rest = np.delete(np.arange(12), [2, 7])
    shorter = finished_trial(seen[3].candidate, seen[3].rows[rest], seen[3].correct[rest], seen[3].logprobs[rest])
    bare = dataclasses.replace(seen[5], logprobs=np.full((12, 1), np.nan))
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    found = model.fit([*seen[:3], dataclasses.replace(seen[3], logprobs=gaps), bare, seen[6]])
    assert np.array_equal(found.mean, model.fit([*seen[:3], shorter, seen[6]]).mean)


@pytest.mark.parametrize(("lost", "kind"), [(0, LogprobModel), (9, LogprobModel), (30, CorrectnessModel)])
def test_few_lost_answers_do_not_cost_a_search_its_log_probabilities(lost, kind):
    student = Student(9)
    seen = student.screened(20, 12)
    for number in range(lost):
        seen[number % 20].logprobs[number // 20] = np.nan
    model = StudentModel(student.space, GOLDS, LABELS, WEIGHTS, SearchConfig(), screened=1)
    assert isinstance(model._best_model(seen), kind)


def test_what_a_race_asked_block_by_block_is_not_held_when_it_is_over():
    student = Student(8)
    seen, racing = student.screened(6, 12), student.space.all()
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    for size in range(12, 90, 12):
        model.fit([*seen, student.asked(racing, np.arange(size))])
    assert len(model._built) == len(seen)


def test_other_answers_to_the_same_examples_are_not_taken_for_known_ones():
    student = Student(9)
    seen = student.screened(8, 12)
    model = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS)
    before = model.fit(seen).mean
    changed = dataclasses.replace(seen[0], logprobs=seen[0].logprobs[:, ::-1])
    assert not np.allclose(model.fit([changed, *seen[1:]]).mean, before)


def test_values_on_some_examples_follow_the_weights():
    student = Student(7)
    surrogate = LogprobModel(student.space, GOLDS, LABELS, WEIGHTS).fit(student.screened(20, 20)).surrogate
    candidate = student.space.all()
    halves = []
    for rows in (np.arange(45), np.arange(45, 90)):
        weights = np.zeros(90)
        weights[rows] = 1 / 45
        halves.append(dataclasses.replace(surrogate, weights=weights).value(candidate))
    whole = dataclasses.replace(surrogate, weights=np.full(90, 1 / 90)).value(candidate)
    assert whole == pytest.approx(np.mean(halves))
