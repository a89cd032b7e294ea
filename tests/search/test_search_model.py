"""The parts of the search on their own: its space, its model of effects, and its race."""

import dataclasses

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from scipy.special import expit
from sklearn.metrics import f1_score
from tasks import finished_trial, rule

from pld_dspy.scoring.objective import Objective
from pld_dspy.search.correctness_model import CorrectnessModel, own_labels
from pld_dspy.search.race import chance_to_win
from pld_dspy.search.space import Candidate, Space
from pld_dspy.search.trials import FinishedTrial

SPACE = Space((rule("a", "x", "spam", "y", "z"), rule("b", "x", "work"), rule("c", "x", "home", "y")))


@pytest.mark.parametrize("seed", range(20))
def test_candidates_survive_encoding(seed):
    rng = np.random.default_rng(seed)
    candidate = SPACE.random(rng)
    parameters = SPACE.parameters(candidate)
    distributions = SPACE.distributions()
    assert set(parameters) == set(distributions)
    for name, value in parameters.items():
        assert distributions[name]._contains(distributions[name].to_internal_repr(value))
    decoded = SPACE.candidate(parameters)
    assert SPACE.rule_set(decoded) == SPACE.rule_set(candidate)
    assert SPACE.parameters(decoded) == parameters


def test_the_space_has_a_wording_only_where_there_is_a_choice():
    found = SPACE.distributions()
    assert set(found) == {"use:a", "key:a", "wording:a", "use:b", "key:b", "use:c", "key:c", "wording:c"}
    assert found["wording:a"] == CategoricalDistribution([0, 1, 2])
    assert found["key:b"] == FloatDistribution(0.0, 1.0)


def test_rules_in_use_stand_in_order_of_their_keys():
    candidate = Candidate(np.array([True, False, True]), np.array([0.9, 0.5, 0.1]), np.array([2, 0, 1]))
    found = SPACE.rule_set(candidate)
    assert [(one.id, one.chosen) for one in found.rules] == [("c", 1), ("a", 2)]
    assert candidate.size == 2
    assert [one.id for one in SPACE.rule_set(SPACE.all()).rules] == ["a", "b", "c"]
    assert len(SPACE.rule_set(SPACE.none())) == 0


@pytest.mark.parametrize(("size", "mean"), [(8, 4), (40, 20)])
def test_random_sets_are_of_all_sizes(size, mean):
    space = Space(tuple(rule(f"r{i}", "x", "spam", "y") for i in range(size)))
    rng = np.random.default_rng(0)
    drawn = [space.random(rng) for _ in range(600)]
    sizes = np.array([one.size for one in drawn])
    assert sizes.mean() == pytest.approx(mean, rel=0.1)
    assert np.quantile(sizes, 0.05) < 0.6 * mean
    assert np.quantile(sizes, 0.95) > 1.4 * mean
    assert np.mean([one.wording for one in drawn]) == pytest.approx(0.5, abs=0.05)


def correctness_model(space: Space, golds: list[str]) -> CorrectnessModel:
    return CorrectnessModel(space, golds, (), Objective().example_weights(golds))


def simulated(
    effects: np.ndarray, golds: list[str], *, n: int, seed: int
) -> tuple[CorrectnessModel, list[FinishedTrial], np.ndarray]:
    """Answers of a student to whom each rule does a known thing on examples of its own label."""
    space = Space(tuple(rule(f"r{j}", "x", ("spam", "work")[j % 2]) for j in range(len(effects))))
    rng = np.random.default_rng(seed)
    own, difficulty = own_labels(space.rules, golds), rng.normal(0, 1, len(golds))
    seen = []
    for _ in range(n):
        candidate, rows = space.random(rng), rng.choice(len(golds), 24, replace=False)
        chance = expit(difficulty[rows] + (own[rows] * candidate.use) @ effects)
        seen.append(finished_trial(candidate, rows, rng.random(24) < chance))
    return correctness_model(space, golds), seen, effects


@pytest.mark.parametrize("seed", range(3))
def test_the_model_recovers_the_signs_of_known_effects(seed):
    true = np.array([2.5, 2.5, -2.5, -2.5, 0.0, 0.0])
    model, seen, _ = simulated(true, ["spam", "work"] * 40, n=80, seed=seed)
    posterior = model.fit(seen)
    none = model.space.none()
    whole, *alone = posterior.surrogate.neighbours(none, [none, *(none.with_rule(j, use=True) for j in range(6))])
    effects = np.array(alone) - whole
    assert (np.sign(effects[:4]) == np.sign(true[:4])).all()
    assert np.abs(effects[4:]).max() < 0.5 * np.abs(effects[:4]).min()


def test_a_surrogate_says_what_the_regression_says_of_any_set():
    """Its sums over rules, places and wordings, many sets at once, are the regression's own linear predictor."""
    rng = np.random.default_rng(0)
    golds = ["spam", "work"] * 20
    rules = tuple(rule(f"r{j}", "x", ("spam", "work")[j % 2], *"yz"[: j % 3]) for j in range(6))
    space = Space(rules)
    model = correctness_model(space, golds)
    sets = [space.none(), *(space.random(rng) for _ in range(8))]
    rows = np.arange(40)
    effects = rng.normal(size=model.features(sets[0], rows).shape[1])
    surrogate = model.surrogate(effects, 0.3)
    own = [float(model.weights @ expit(model.features(one, rows) @ effects + 0.3)) for one in sets]
    assert surrogate.values(sets) == pytest.approx(own)
    assert [surrogate.value(one) for one in sets] == pytest.approx(own)


@pytest.mark.parametrize("held", [1, 50, 10**9])
def test_how_many_utilities_are_held_at_once_changes_no_value(monkeypatch, held):
    model, seen, _ = simulated(np.array([1.0, -1.0, 0.5]), ["spam", "work"] * 20, n=20, seed=0)
    surrogate, sets = model.fit(seen).surrogate, [one.candidate for one in seen[:7]]
    expected = [float(model.weights @ expit(surrogate._utilities([one], np.zeros((1, 1)))[0, :, 0])) for one in sets]
    monkeypatch.setattr("pld_dspy.search.surrogate.CHUNK", held)
    assert surrogate.values(sets) == pytest.approx(expected)
    assert surrogate.value(sets[0]) == pytest.approx(expected[0])


def test_the_models_optimum_keeps_the_order_it_started_from_where_places_do_nothing():
    """A server has then read the shared beginning of the prompt before."""
    model, seen, _ = simulated(np.array([2.0, 2.0, 2.0, 2.0]), ["spam", "work"] * 40, n=120, seed=0)
    surrogate = dataclasses.replace(model.fit(seen).surrogate, slope=np.zeros((4, 80)))
    start = Candidate(np.ones(4, dtype=bool), np.array([0.3, 0.9, 0.1, 0.6]), np.zeros(4, dtype=np.int64))
    assert model.space.rule_set(surrogate.best(start, 0.0)) == model.space.rule_set(start)
    late = dataclasses.replace(surrogate, slope=np.repeat([[0.0], [-1.0], [0.0], [0.0]], 80, axis=1))
    assert [one.id for one in model.space.rule_set(late.best(start, 0.0)).rules] == ["r1", "r2", "r0", "r3"]


def test_the_models_best_set_is_the_true_one():
    true = np.array([2.5, 2.5, -2.5, -2.5, 0.0, 0.0])
    model, seen, _ = simulated(true, ["spam", "work"] * 40, n=120, seed=0)
    posterior = model.fit(seen)
    best = posterior.surrogate.best(model.space.none(), 0.02)
    assert best.use.tolist() == [True, True, False, False, False, False]


def test_too_few_candidates_or_equal_answers_teach_nothing():
    model, seen, _ = simulated(np.zeros(4), ["spam", "work"] * 40, n=20, seed=0)
    assert model.fit(seen[:7]) is None
    same = [finished_trial(one.candidate, one.rows, np.ones(24, dtype=bool)) for one in seen]
    assert model.fit(same) is None


def test_weights_are_between_accuracy_and_macro_recall():
    golds = ["a"] * 90 + ["b"] * 10
    weights = Objective().example_weights(golds)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[-1] == pytest.approx(0.5 / 20 + 0.5 / 100)
    rng = np.random.default_rng(0)
    figures, proxies = [], []
    for _ in range(50):
        answers = [gold if rng.random() < 0.4 + 0.5 * rng.random() else "ab"[gold == "a"] for gold in golds]
        figures.append(f1_score(golds, answers, average="macro"))
        proxies.append(weights @ (np.array(golds) == np.array(answers)))
    assert np.corrcoef(figures, proxies)[0, 1] > 0.8


@pytest.mark.parametrize(("wins", "losses", "chance"), [(0, 0, 0.5), (5, 5, 0.5), (0, 3, 1 / 16), (3, 0, 15 / 16)])
def test_only_differing_answers_count_in_a_race(wins, losses, chance):
    candidate = np.array([True] * wins + [False] * losses + [True] * 9 + [False] * 4)
    incumbent = np.array([False] * wins + [True] * losses + [True] * 9 + [False] * 4)
    assert chance_to_win(candidate, incumbent) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("objective", "rare"),
    [
        ("accuracy", 0.01),
        ("weighted_f1", 0.01),
        (lambda examples, predictions: 0.0, 0.01),
        ("balanced_accuracy", 0.05),
        ("f1:b", 0.03),
    ],
)
def test_weights_follow_the_objective(objective, rare):
    weights = Objective(objective).example_weights(["a"] * 90 + ["b"] * 10)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[-1] == pytest.approx(rare)
