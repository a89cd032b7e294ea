"""New inputs and answers compared with a run's own, and the choice of inputs to label."""

import math

import numpy as np
import pytest

from pld_dspy.local.embedding import Floats
from pld_dspy.release.label_next import choose_to_label
from pld_dspy.release.monitor import NOTHING_UNUSUAL, Monitored, Served, compare


def near(place: int, count: int, seed: int, spread: float = 0.3) -> Floats:
    """Unit vectors around one of eight axes."""
    found = np.eye(8)[place] + spread * np.random.default_rng(seed).normal(size=(count, 8))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def served(vectors: Floats, labels: str = "", confidences: tuple[float, ...] = ()) -> Served:
    return Served([f"text {row}" for row in range(len(vectors))], vectors, list(labels), confidences)


def checks(found: Monitored) -> dict[str, float]:
    return {check.name: check.p_value for check in found.checks}


TRAINING, OWN = near(0, 80, 1), near(0, 60, 2)


class TestCompare:
    def test_more_of_the_same_is_seldom_unusual(self) -> None:
        found = [compare(TRAINING, served(OWN), served(near(0, 60, seed)), seed=seed) for seed in range(10, 17)]

        assert sum(bool(one.unusual) for one in found) <= 1
        assert found[0].verdict == NOTHING_UNUSUAL

    def test_inputs_from_elsewhere_are_others(self) -> None:
        found = compare(TRAINING, served(OWN), served(near(3, 60, 3, spread=0.1)))

        assert found.unusual == ["distance", "kind"]
        assert found.verdict.startswith("These inputs are others")
        assert found.checks[0].text.startswith("100% of the inputs are farther")

    def test_a_part_that_is_far_is_seen_by_its_distance(self) -> None:
        mixed = np.concatenate([near(0, 55, 4), near(3, 9, 5, spread=0.1)])

        found = compare(TRAINING, served(OWN), served(mixed))

        assert "distance" in found.unusual
        assert 0.1 < found.checks[0].value < 0.25
        assert found.verdict == f"Look at this: {', '.join(found.unusual)}."

    def test_inputs_between_the_examples_are_of_another_kind_and_no_farther(self) -> None:
        training = np.concatenate([near(0, 40, 1), near(1, 40, 2)])
        own = np.concatenate([near(0, 40, 3), near(1, 40, 4)])

        found = compare(training, served(own), served(near(1, 60, 5)))

        assert found.unusual == ["kind"]
        assert found.verdict == "Look at this: kind."
        assert "kind" not in checks(compare(training, served(own), served(near(1, 49, 5))))

    def test_a_text_that_comes_again_and_again_counts_once(self) -> None:
        again = Served(["The same!", "the same"] * 50, np.repeat(near(3, 1, 1), 100, axis=0))

        found = compare(TRAINING, served(OWN), again)

        assert found.n == 1
        assert found.unusual == []
        assert "With so few inputs" in found.verdict

    def test_labels_that_become_more_frequent_are_seen_and_few_are_not(self) -> None:
        def p_value(before: str, now: str) -> float:
            own, new = served(OWN[: len(before)], before), served(near(0, len(now), 3), now)
            return checks(compare(TRAINING, own, new))["labels"]

        assert p_value("a" * 30 + "b" * 30, "a" * 50 + "b" * 10) < 0.001
        assert p_value("a" * 30 + "b" * 30, "a" * 29 + "b" * 31) > 0.5
        assert p_value("aab", "bbb") > 0.1
        assert p_value("aaa", "aaa") == 1.0

    def test_a_failed_answer_is_a_kind_of_answer(self) -> None:
        now = Served(["x", "y"], near(0, 2, 3), ["a", None])

        assert compare(TRAINING, served(OWN[:3], "aab"), now).labels == {"a": (2, 1), "b": (1, 0), "(none)": (0, 1)}

    def test_confidences_that_fall_are_seen(self) -> None:
        own = served(OWN, confidences=tuple(np.linspace(0.6, 1.0, 60)))
        new = served(near(0, 60, 3), confidences=(math.nan, *np.linspace(0.3, 0.8, 59)))

        found = compare(TRAINING, own, new, threshold=0.7)

        assert found.unusual == ["confidence"]
        assert found.checks[-1].text == "median 0.80 -> 0.55; under the threshold 25% -> 80%"

    def test_what_is_not_known_on_both_sides_is_not_compared(self) -> None:
        assert list(checks(compare(TRAINING, served(OWN, "a" * 60), served(near(0, 5, 3))))) == ["distance"]


class TestLabelNext:
    def test_copies_and_labelled_texts_are_left_out(self) -> None:
        new = np.eye(8)[[1, 2, 2, 3, 0]]

        assert choose_to_label(new, np.eye(8)[[0]], (), 5) == [0, 1, 3]

    @pytest.mark.parametrize(("confidences", "first"), [((0.9, 0.4, 0.9), 1), ((0.9, 0.4, math.nan), 2)])
    def test_the_least_sure_come_first(self, confidences: tuple[float, ...], first: int) -> None:
        new = np.eye(8)[[1, 2, 3]]

        assert choose_to_label(new, np.eye(8)[[0]], confidences, 1) == [first]

    def test_of_near_copies_one_is_taken_before_others(self) -> None:
        new = np.concatenate([near(1, 3, 1, spread=0.01), near(2, 1, 2, spread=0.01)])

        chosen = choose_to_label(new, np.eye(8)[[0]], (0.3, 0.3, 0.3, 0.7), 2)

        assert chosen[1] == 3
        assert chosen[0] in (0, 1, 2)

    def test_a_text_without_a_vector_is_taken_once(self) -> None:
        assert choose_to_label(np.zeros((1, 8)), np.eye(8)[[0]], (), 3) == [0]
