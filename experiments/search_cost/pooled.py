"""The effect of each rule on answers, estimated from the answers of all arms together.

A linear version of the search's own model: the chance of a correct answer is the example's ease, plus the effects of
the arm's rules, each with one effect on examples of its own label and one on others. It is solved in closed form, so
that thousands of replays take seconds.
"""

from __future__ import annotations

import numpy as np

from pld_dspy.scoring.f1 import Floats

from .arms import Arms

NOISE, EFFECT = 0.2, 0.1
"""Variance of an answer around its expectation, and prior standard deviation of an effect."""
EASE_ANSWERS = 2.0
"""How many answers the mean ease weighs as much as in the ease of each example."""
SWEEPS = 3


def expected(arms: Arms) -> Floats:
    """Return the expected macro recall of each arm on the validation examples, 0 to 1.

    An effect depends on an example's gold label alone, so answers are summed by arm and label first.
    """
    labels = np.unique(arms.golds)
    member = (arms.golds[:, None] == labels).astype(float)
    own = (labels[:, None] == arms.rule_labels).astype(float)
    features = np.concatenate([arms.use[:, None] * own, arms.use[:, None] * (1 - own)], axis=2)
    rows = features.reshape(-1, features.shape[2])
    counts = (arms.asked @ member).ravel()
    precision = (rows * counts[:, None]).T @ rows / NOISE + np.eye(rows.shape[1]) / EFFECT**2

    hits = arms.correct().astype(float)
    asked_of = arms.asked.sum(axis=0)
    pushes = np.zeros(features.shape[:2])
    for _ in range(SWEEPS):
        rest = (hits - arms.asked * (pushes @ member.T)).sum(axis=0)
        ease = (rest + EASE_ANSWERS * rest.sum() / max(arms.calls, 1)) / (asked_of + EASE_ANSWERS)
        sums = ((hits - arms.asked * ease) @ member).ravel()
        pushes = features @ np.linalg.solve(precision, rows.T @ sums / NOISE)
    return np.asarray((ease @ member / member.sum(axis=0) + pushes).mean(axis=1))
