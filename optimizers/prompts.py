"""DSPy's own prompt optimizers, with the settings that their documentation recommends for so many student calls.

Each proposes instructions with the setting's teacher, or with the student itself where there is none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import dspy

from pld_dspy.student.compose import copied

from .metric import feedback_metric, metric_of, teacher_settings

if TYPE_CHECKING:
    from . import Setting

MINIBATCH = 35  # MIPROv2's own
FULL_EVERY = 5  # MIPROv2 asks the whole validation set after so many minibatches
CANDIDATES = 6, 12, 18  # of MIPROv2's light, medium and heavy runs
SIMBA_BATCHES, SIMBA_CANDIDATES, SIMBA_STEPS = (32, 16), (6, 5, 4), 8  # the first of each, and the steps, are its own


class MoreRight:
    """GEPA's own test of a proposal on a minibatch: more right answers. Macro-F1 of three examples would say little."""

    def should_accept(self, proposal: Any, state: Any) -> bool:
        """Say whether more answers are right than before."""
        before, after = proposal.subsample_scores_before or [], proposal.subsample_scores_after or []
        return sum(map(float, after)) > sum(map(float, before))


def copro(setting: Setting) -> dspy.Module:
    """Instructions by coordinate ascent (``dspy.COPRO``), three rounds, as broad as the budget allows."""
    breadth = max(setting.budget // (3 * len(setting.valset)), 2)
    optimizer = dspy.COPRO(prompt_model=_proposer(setting), metric=metric_of(setting), breadth=breadth, depth=3)
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
        teacher_settings=teacher_settings(setting),
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
    asked = (trials + 1) * n if n <= MINIBATCH else trials * MINIBATCH + (1 + math.ceil(trials / FULL_EVERY)) * n
    # Two of the sets have no bootstrapped answers. Every second answer is assumed to be right.
    bootstrapped = 0 if setting.teacher else 2 * max(demos, 3) * (candidates - 2)
    return asked + bootstrapped


def gepa(setting: Setting) -> dspy.Module:
    """Instructions by reflection on errors (``dspy.GEPA``); feedback is the gold label and the recorded reasons."""
    optimizer = dspy.GEPA(
        metric=feedback_metric(setting),
        reflection_lm=_proposer(setting),
        max_metric_calls=setting.budget,
        log_dir=None if setting.folder is None else str(setting.folder / "gepa"),
        seed=setting.seed,
        gepa_kwargs={"acceptance_criterion": MoreRight()},
    )
    return optimizer.compile(copied(setting.student), trainset=list(setting.trainset), valset=list(setting.valset))


def simba(setting: Setting) -> dspy.Module:
    """Rules and demonstrations from the most variable examples (``dspy.SIMBA``), which has no validation set.

    Its batches and candidates are made smaller until two steps fit into the budget, so that one builds on another.
    """
    examples = list(setting.trainset)
    sizes = [(min(batch, len(examples)), most) for batch in SIMBA_BATCHES for most in SIMBA_CANDIDATES]
    batch, candidates = next((size for size in sizes if _simba_steps(setting, *size) >= 2), sizes[-1])
    optimizer = dspy.SIMBA(
        metric=feedback_metric(setting),
        bsize=batch,
        num_candidates=candidates,
        max_steps=max(min(_simba_steps(setting, batch, candidates), SIMBA_STEPS), 1),
        prompt_model=_proposer(setting),
        teacher_settings=teacher_settings(setting),
    )
    return optimizer.compile(copied(setting.student), trainset=examples, seed=setting.seed)


def _simba_steps(setting: Setting, batch: int, candidates: int) -> int:
    """Return the steps that fit.

    Each samples answers, of which the teacher gives its share, and scores one candidate more than it has; the best of
    each step, and the student, are scored on all examples at the end.
    """
    n, asked = len(setting.trainset), 2 * candidates + (0 if setting.teacher else 1)
    return (setting.budget - n) // (batch * asked + n)


def _proposer(setting: Setting) -> Any:
    return setting.teacher or dspy.settings.lm
