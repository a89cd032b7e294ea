"""A compile with new examples for a finished run: what its search starts from, and what came of them in words."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import TrialState

from ..rules import Rule, RuleSet
from ..run.result import PLDResult
from ..scoring.difference import difference
from ..search.ask import Asker
from ..search.search_result import SearchResult
from ..search.space import Space
from ..search.storage import find_study
from ..search.trials import STEP, FinishedTrial, asked_in_full
from ..student.redecide import objective_of

if TYPE_CHECKING:
    from .context import CompileContext

DECIDING = ("objective", "metric", "calibrate")
"""Settings under which a trial has another value."""


def start_of(context: CompileContext, space: Space, *, calibrated: bool) -> SearchResult:
    """Return what the run had found, over ``space``: its list as it is now, and the trials that still hold.

    The unchanged student (or the pinned rules alone) and the list are asked in full where no trial has them; answers
    of the run are not asked again.
    """
    context.earlier = _list_now(context, space)
    asker = Asker(context.evaluator, context.splits.val, calibrated)
    trials = _trials_that_hold(context, space)
    if not trials:
        pinned = space.rule_set(space.none()) if space.pinned else None
        trials.append(_asked(asker, space, pinned, step=0, kind="pinned rules" if pinned else "baseline"))
    wanted = (context.earlier or RuleSet()).digest
    own = next((one for one in asked_in_full(trials) if (one.rules or RuleSet()).digest == wanted), None)
    if own is None:
        own = _asked(asker, space, context.earlier, step=len(trials), kind="revised")
        trials.append(own)
    assert context.source is not None
    result = PLDResult.load(context.source.path)
    used = {rule.id for rule in (context.earlier or RuleSet()).rules}
    return SearchResult(
        best=context.earlier,
        bench=[rule for rule in space.rules if rule.id not in used],
        baseline=trials[0].objective or 0.0,
        all_rules=next((one.objective for one in trials if one.kind == "all rules"), None),
        objective=own.objective or 0.0,
        trials=trials,
        insight=result.insight if result.rules.digest == wanted else None,
    )


def extended(context: CompileContext, start: SearchResult) -> RuleSet:
    """Return the list of the run with all new rules behind it."""
    listed = start.best or RuleSet()
    return listed.with_rules([*listed.rules, *(rule for rule in context.pool if rule.id in context.added)])


def _list_now(context: CompileContext, space: Space) -> RuleSet | None:
    """Return the chosen rules in rules.yaml of the run, pinned ones first, as far as they are in the space."""
    assert context.source is not None
    listed = RuleSet.from_yaml(context.source.rules.read_text(encoding="utf-8"))
    pool = {rule.id: rule for rule in space.rules}
    rules = [
        pool[rule.id].with_wording(pool[rule.id].wordings.index(rule.text))
        for rule in listed.rules
        if rule.id in pool and rule.text in pool[rule.id].wordings
    ]
    return RuleSet(rules=(*space.pinned, *rules)) or None


def _trials_that_hold(context: CompileContext, space: Space) -> list[FinishedTrial]:
    """Return the trials of the run whose rules can be chosen in ``space``, where the same student was asked.

    There are none where the run kept its search in another storage.
    """
    source = context.source
    assert source is not None
    before, now = source.settings(), context.folder.settings()
    same = all(before[name] == now[name] for name in ("student", "adapter"))
    same = same and all(before["settings"][name] == now["settings"][name] for name in DECIDING)
    if not same or not source.study.is_file():
        return []
    with TemporaryDirectory() as copy:  # to open a study makes files beside it
        study, known = find_study(Path(shutil.copy(source.study, copy)), prefix=source.fingerprint)
        made = {one.user_attrs[STEP]: one for one in reversed(study.get_trials(states=(TrialState.COMPLETE,)))}
        trials = [FinishedTrial.decode(made[step], known) for step in sorted(made)]
    wordings = {rule.id: rule.wordings for rule in space.rules}

    def holds(rules: Sequence[Rule]) -> bool:
        pinned, free = ([rule for rule in rules if rule.pin is pin] for pin in (True, False))
        return [rule.text for rule in pinned] == [rule.text for rule in space.pinned] and all(
            rule.text in wordings.get(rule.id, ())[rule.chosen : rule.chosen + 1] for rule in free
        )

    kept = [trial for trial in trials if holds((trial.rules or RuleSet()).rules)]
    return [replace(trial, candidate=space.placed(trial.rules)) for trial in kept]


def _asked(asker: Asker, space: Space, rules: RuleSet | None, *, step: int, kind: str) -> FinishedTrial:
    """Return a trial of ``rules`` on the whole validation set."""
    val, calibrated = asker.valset, asker.calibrated
    trial = FinishedTrial(step=step, kind=kind, candidate=space.placed(rules), rules=rules)
    value = objective_of(rules, val, asker.evaluator, stage=asker.stage, calibrated=calibrated)
    return replace(asker.ask(trial, np.arange(len(val))), objective=value, value=value)


def update_notes(context: CompileContext) -> Iterator[str]:
    """Yield what became of the new examples, what that changed, and what it cost."""
    source, found = context.source, context.induction
    if source is None or not context.new:
        return
    placed = {name for names in found.joined.values() for name in names}
    made = [rule for rule in context.pool if rule.id in context.added]
    behind = {name for rule in made for name in rule.support}
    chosen = {rule.id for rule in (context.rules or RuleSet()).rules}
    left = len(context.new) - len(placed | behind)
    joined = ", ".join(f"{name} (+{len(names)})" for name, names in found.joined.items())
    ids = ", ".join(f"{rule.id} ({'chosen' if rule.id in chosen else 'on the bench'})" for rule in made)
    yield (
        f"New examples for the rules of {source.path.name}: {len(context.new)}. Joined a rule of the run: "
        f"{len(placed)}{f', {joined}' if joined else ''}. Gave new rules: {len(behind)}{f', {ids}' if ids else ''}."
        f"{f' Without a rule: {left}.' if left else ''}"
    )
    listed = context.earlier or RuleSet()
    if listed.digest == (context.rules or RuleSet()).digest:
        yield "The list of rules stays as it was in the run."
    else:
        pairs = [context.validation, context.test]
        splits = [("validation", context.splits.val), ("test", context.splits.test)]
        for (name, rows), old, pair in zip(splits, context.before, filter(None, pairs), strict=False):
            golds, task = context.task.golds(rows), context.task
            gain = difference(golds, old.labels, pair[1].labels, task.labels, seed=context.seed)
            yield f"Macro-F1 on {name} against the list of the run: {old.score.macro_f1:.3f} before, {gain}."
    spent = sum(cost.calls for (role, _), cost in context.ledger.spent.items() if role == "student")
    reused = sum(context.ledger.carried.values())
    yield f"Student calls for this: {spent:,}; answers taken over from the run: {reused:,}."
