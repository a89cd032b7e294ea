"""DSPy's own prompt optimizers, with the settings that their documentation recommends for so many student calls.

Each proposes instructions with the setting's teacher, or with the student itself where there is none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.compose import copied

from .metric import feedback_metric, metric_of

if TYPE_CHECKING:
    from . import Setting

MINIBATCH = 35  # MIPROv2's own
FULL_EVERY = 5  # MIPROv2 asks the whole validation set after so many minibatches
CANDIDATES = 6, 12, 18  # of MIPROv2's light, medium and heavy runs
SIMBA_BATCH, SIMBA_CANDIDATES, SIMBA_STEPS = 32, 6, 8  # SIMBA's own


def copro(setting: Setting) -> dspy.Module:
    """Instructions by coordinate ascent (``dspy.COPRO``), three rounds, as broad as the budget allows."""
    breadth = max(setting.budget // (3 * len(setting.valset)), 2)
    optimizer = dspy.COPRO(
        prompt_model=_proposer(setting), metric=metric_of(setting), breadth=min(breadth, 10), depth=3
    )
    quiet = {"display_progress": False, "display_table": 0}
    return optimizer.compile(copied(setting.student), trainset=list(setting.valset), eval_kwargs=quiet)


def mipro(setting: Setting, *, demos: int = 4) -> dspy.Module:
    """Instructions and ``demos`` demonstrations by ``dspy.MIPROv2``; instructions alone with 0.

    Trials follow its own formula for the number of candidates, which is the largest of its three sizes that fits the
    budget, or less than the smallest.
    """
    candidates = max(
        (n for n in range(2, CANDIDATES[-1] + 1) if _mipro_calls(setting, n, demos) <= setting.budget), default=2
    )
    fitting = [n for n in CANDIDATES if n <= candidates]
    candidates = fitting[-1] if fitting else candidates
    optimizer = dspy.MIPROv2(
        metric=metric_of(setting),
        prompt_model=_proposer(setting),
        max_bootstrapped_demos=demos,
        max_labeled_demos=demos,
        auto=None,
        num_candidates=candidates,
        seed=setting.seed + 1,  # 0 would stand for its default
    )
    return optimizer.compile(
        copied(setting.student),
        trainset=list(setting.trainset),
        valset=list(setting.valset),
        num_trials=_mipro_trials(candidates, demos),
        minibatch=len(setting.valset) > MINIBATCH,
        minibatch_size=min(MINIBATCH, len(setting.valset)),
        minibatch_full_eval_steps=FULL_EVERY,
    )


def _mipro_trials(candidates: int, demos: int) -> int:
    """Return MIPROv2's own number of trials for a program with one predictor."""
    return int(max(2 * (2 if demos else 1) * math.log2(candidates), 1.5 * candidates))


def _mipro_calls(setting: Setting, candidates: int, demos: int) -> int:
    """Return about how many student calls MIPROv2 makes: bootstrapping, minibatches, and full evaluations."""
    n, trials = len(setting.valset), _mipro_trials(candidates, demos)
    full = trials + 1 if n <= MINIBATCH else 2 + trials // FULL_EVERY
    minibatches = 0 if n <= MINIBATCH else trials * MINIBATCH
    bootstrapped = 2 * max(demos, 3) * candidates  # every second answer is assumed to be right
    return bootstrapped + minibatches + full * n


def gepa(setting: Setting) -> dspy.Module:
    """Instructions by reflection on errors (``dspy.GEPA``); feedback is the gold label and the recorded rationale."""
    optimizer = dspy.GEPA(
        metric=feedback_metric(setting),
        reflection_lm=_proposer(setting),
        max_metric_calls=setting.budget,
        log_dir=None if setting.folder is None else str(setting.folder / "gepa"),
        seed=setting.seed,
    )
    return optimizer.compile(copied(setting.student), trainset=list(setting.trainset), valset=list(setting.valset))


def simba(setting: Setting) -> dspy.Module:
    """Rules and demonstrations from the most variable examples (``dspy.SIMBA``), which has no validation set."""
    examples = [*setting.trainset, *setting.valset]
    batch, candidates = min(SIMBA_BATCH, len(examples)), SIMBA_CANDIDATES
    while candidates > 2 and _simba_steps(setting.budget, len(examples), batch, candidates) < 2:
        candidates -= 1
    optimizer = dspy.SIMBA(
        metric=metric_of(setting),
        bsize=batch,
        num_candidates=candidates,
        max_steps=max(min(_simba_steps(setting.budget, len(examples), batch, candidates), SIMBA_STEPS), 1),
        prompt_model=_proposer(setting),
    )
    return optimizer.compile(copied(setting.student), trainset=examples, seed=setting.seed)


def _simba_steps(budget: int, n: int, batch: int, candidates: int) -> int:
    """Return the steps that fit: each samples and then scores so many programs; the best of all are scored on all."""
    return (budget - (candidates + 1) * n) // (2 * batch * candidates)


def _proposer(setting: Setting) -> Any:
    return setting.teacher or dspy.settings.lm
