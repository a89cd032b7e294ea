"""Best-arm methods: find the best of many candidates with far fewer calls than all of them on all examples take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import wilcoxon as signed_rank

from pld_dspy.scoring.f1 import Floats, Ints
from pld_dspy.search.race import chance_to_win

from .arms import Arms
from .pooled import expected

BLOCK = 20
P_VALUE = 0.1
ALPHA = 0.15
MINIBATCH = 35
FULL_EVERY = 5
SCREENED = 0.4
"""Share of the budget for screening many arms on slices, before the first race."""
PRIOR_ANSWERS = 60
"""How many of an arm's own answers the model's estimate weighs as much as."""

Chooser = Callable[[Arms, np.random.Generator], int]


def random_search(arms: Arms, rng: np.random.Generator) -> int:
    """Ask as many random arms as the budget allows about all examples, and return the best."""
    for arm in rng.permutation(len(arms)):
        if not arms.ask(arm):
            break
    return _best_whole(arms)


def successive_halving(arms: Arms, rng: np.random.Generator) -> int:
    """Ask random arms about a block of examples, then the better half about twice as many, until all examples.

    One bracket of Hyperband (Li et al. 2018), with as many arms as the budget allows.
    """
    order = rng.permutation(arms.n)
    most = max(size for size in range(1, len(arms) + 1) if _bracket_calls(size, arms.n) <= arms.budget)
    alive = rng.permutation(len(arms))[:most]
    for asked, size in _bracket(most, arms.n):
        values = [arms.macro_f1(arm) for arm in alive] if len(alive) > size else []
        alive = alive[np.argsort(np.negative(values), kind="stable")][:size] if values else alive
        for arm in alive:
            arms.ask(arm, order[:asked])
    return _best_whole(arms)


def wilcoxon_race(arms: Arms, rng: np.random.Generator) -> int:
    """Race random arms against the best so far; a signed-rank test may drop them after each block."""

    def worse(arm: int, best: int, rows: Ints) -> bool:
        gained = arms.right(arm, rows).astype(float) - arms.right(best, rows)
        if gained.sum() >= 0:
            return False
        return bool(signed_rank(gained, alternative="less", zero_method="zsplit").pvalue < P_VALUE)

    best: int | None = None
    for arm in rng.permutation(len(arms)):
        if arms.out_of_budget:
            break
        if _race(arms, rng, arm, best, worse) and (best is None or arms.macro_f1(arm) > arms.macro_f1(best)):
            best = arm
    return _best_whole(arms)


def minibatch(arms: Arms, rng: np.random.Generator) -> int:
    """As MIPROv2: random arms on random minibatches; every fifth time, and last, the best mean on all examples."""
    means: dict[int, list[float]] = {}

    def ask_best_mean() -> None:
        waiting = set(means) - set(arms.asked_in_full())
        if waiting:
            arms.ask(max(waiting, key=lambda arm: float(np.mean(means[arm]))))

    number, size = 0, min(MINIBATCH, arms.n)
    while arms.calls_left >= size + arms.n and len(arms.asked_in_full()) < len(arms):
        number += 1
        arm, rows = int(rng.integers(len(arms))), rng.choice(arms.n, size=size, replace=False)
        arms.ask(arm, rows)
        means.setdefault(arm, []).append(arms.macro_f1(arm, rows))
        if number % FULL_EVERY == 0:
            ask_best_mean()
    ask_best_mean()
    if not arms.asked_in_full():
        arms.ask(int(rng.integers(len(arms))))
    return _best_whole(arms)


def posterior_race(arms: Arms, rng: np.random.Generator) -> int:
    """Screen many arms on slices, then race the most promising ones against the best so far."""
    return _screen_and_race(arms, rng, lambda: np.full(len(arms), arms.correct().sum() / max(arms.calls, 1)))


def pooled_race(arms: Arms, rng: np.random.Generator) -> int:
    """The same, with a model of each rule's effect, fitted to the answers of all arms."""
    return _screen_and_race(arms, rng, lambda: expected(arms))


METHODS: dict[str, Chooser] = {
    "random_search": random_search,
    "successive_halving": successive_halving,
    "wilcoxon_race": wilcoxon_race,
    "minibatch": minibatch,
    "posterior_race": posterior_race,
    "pooled_race": pooled_race,
}


def _screen_and_race(arms: Arms, rng: np.random.Generator, estimate: Callable[[], Floats]) -> int:
    def worse(arm: int, best: int, rows: Ints) -> bool:
        return chance_to_win(arms.right(arm, rows), arms.right(best, rows)) < ALPHA

    _screen(arms, rng)
    best: int | None = None
    done: set[int] = set()
    while len(done) < len(arms) and not arms.out_of_budget:
        values = _blended(arms, estimate())
        values[list(done)] = -np.inf
        arm = int(values.argmax())
        done.add(arm)
        if _race(arms, rng, arm, best, worse) and (best is None or arms.macro_f1(arm) > arms.macro_f1(best)):
            best = arm
    views = estimate()
    return max(arms.asked_in_full(), key=lambda one: arms.macro_f1(one) + views[one])


def _screen(arms: Arms, rng: np.random.Generator) -> None:
    """Ask arms in turn about one slice each; slices rotate, so that all examples are asked about equally often.

    The cost of one arm on all examples is reserved, so that there is a winner in the end.
    """
    slices = int(min(SCREENED * arms.budget, arms.calls_left - arms.n) // BLOCK)
    order, turns = rng.permutation(arms.n), rng.permutation(len(arms))
    for number in range(slices):
        turn, place = divmod(number, len(arms))
        start = (turn + place) * BLOCK
        arms.ask(int(turns[place]), order[np.arange(start, start + min(BLOCK, arms.n)) % arms.n])


def _race(
    arms: Arms, rng: np.random.Generator, arm: int, best: int | None, worse: Callable[[int, int, Ints], bool]
) -> bool:
    """Ask an arm block by block; return whether it reached the end: neither worse than the best nor out of budget."""
    order = rng.permutation(arms.n)
    for end in range(BLOCK, arms.n + BLOCK, BLOCK):
        if not arms.ask(arm, order[:end]):
            return False
        if end < arms.n and best is not None and worse(arm, best, order[:end]):
            return False
    return True


def _blended(arms: Arms, estimate: Floats) -> Floats:
    """Average each arm's own answers with its estimate, by number of answers."""
    return np.asarray(
        (arms.correct().sum(axis=1) + PRIOR_ANSWERS * estimate) / (arms.asked.sum(axis=1) + PRIOR_ANSWERS)
    )


def _bracket(size: int, n: int) -> Iterator[tuple[int, int]]:
    """Yield (examples asked, arms alive) of each rung."""
    asked = min(BLOCK, n)
    yield asked, size
    while asked < n:
        asked, size = min(2 * asked, n), max(size // 2, 1)
        yield asked, size


def _bracket_calls(size: int, n: int) -> int:
    before, calls = 0, 0
    for asked, alive in _bracket(size, n):
        before, calls = asked, calls + alive * (asked - before)
    return calls


def _best_whole(arms: Arms) -> int:
    return max(arms.asked_in_full(), key=arms.macro_f1)
