"""The stages that search: the first search, the rounds of resolving that go on from it, and workers that join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from optuna import Study

from ..errors import DataError
from ..induce.extend import with_support
from ..ledger.jsonl import write_jsonl
from ..ledger.keys import digest
from ..local.lm import LocalLM
from ..resolve.loop import Resolver
from ..resolve.records import Choice
from ..resolve.resolve_config import ResolveConfig
from ..rules import Rule, RuleSet
from ..run.progress import Progress, bar, timed, write_trials
from ..run.result import OWN_CODE
from ..search.demonstrations import draw_demonstrations
from ..search.search_config import Style
from ..search.search_result import SearchResult
from ..search.space import Space
from ..search.storage import CONTINUED, open_study, publish_space
from ..search.study import RuleSearch
from ..student.redecide import objective_of
from .context import CompileContext
from .policy import in_style
from .updating import gain_on_validation, holding, released


def search_rules(context: CompileContext, *, progress: Progress, storage: str | None, calibrated: bool) -> None:
    """Search for the best rules, wordings, order and demonstrations, or continue a search that was killed."""
    folder, doubted = context.folder, {suspect.example_id for suspect in context.audit.suspects}
    context.demos = draw_demonstrations(
        context.reads_by_id,
        context.task.golds(context.splits.train),
        most=0 if context.new else context.search.demos,
        doubted=doubted,
        seed=context.seed,
    )
    context.pool = _pool(context, context.search.style)
    pool = [rule for rule in context.pool if not context.new or rule.pin or rule.id in context.added]
    space = Space.of(pool, context.demos)
    with timed(context.seconds, "search"):
        study = _study_of(context, space, storage, kind="-")
        search = rule_search(context, space, study, calibrated=calibrated, on_trial=progress)
        publish_space(study, space)
        progress.best = max((trial.objective or 0.0 for trial in search.trials), default=progress.best)
        with bar("search", "trial", total=search.plan.steps) as progress.bar:
            progress.bar.update(len(search.trials))
            context.searched = _if_it_pays(context, search.run(), calibrated=calibrated)
        if context.new:
            context.searched = released(context, context.searched, calibrated=calibrated)
        context.unchanged = context.searched.baseline
        if space.pinned:  # the search began with these; the unchanged student was asked before it
            val, evaluator = context.splits.val, context.evaluator
            context.unchanged = objective_of(None, val, evaluator, stage="search", calibrated=calibrated)
        write_trials(folder.trials, context.searched.trials)
    context.seconds[OWN_CODE] = context.searched.own_seconds


def _pool(context: CompileContext, style: Style) -> list[Rule]:
    """Return the rules to choose from; DataError where none is left."""
    found = context.induction
    pool = with_support(context.policy.pool([*found.rules, *found.extracted]), found.joined)
    if context.new:
        pool = holding(context, pool)
    kept = in_style(pool, style)
    if not kept:
        raise DataError(
            f"No rule is left to choose from, after bans and in style {style!r}. Ban less, or allow any style."
        )
    if lost := len(pool) - len(kept):
        context.notes.append(f"Rules without a wording in style {style!r} were left out: {lost} of {len(pool)}.")
    return kept


def _study_of(context: CompileContext, space: Space, storage: str | None, *, kind: str, more: Any = None) -> Study:
    """Open the study of a search over ``space``, named by all that decides what its trials are.

    A teacher's answer that was lost before, and came now, changes the rules: old trials are then of other rules.
    """
    parts = [rule.model_dump(exclude={"origins", "reason", "comment"}) for rule in space.pool]
    parts += [demo.model_dump() for choice in space.demos for demo in choice]
    name = digest(parts if more is None else [parts, more])
    return open_study(storage or context.folder.study, name=f"{context.folder.fingerprint}{kind}{name}")


def rule_search(context: CompileContext, space: Space, study: Study, **options: Any) -> RuleSearch:
    """Return the search over ``space``, ready to run."""
    config = context.search
    lm, val, cap = context.student_lm, context.splits.val, context.ledger.budget.student_calls
    if own := study.user_attrs.get(CONTINUED):  # that of a round of resolving
        config, options = config.model_copy(update=own), {**options, "stage": "resolve"}
    elif config.calls is not None and cap is not None:  # else the last races and the confirmation are lost
        left = cap - context.ledger.reserved.get("search", 0)
        config = config.model_copy(update={"calls": min(config.calls, left)})
    if not space.rules:  # all that is left are pinned
        config = config.model_copy(update={"screen_calls": 0, "trials": 0})
    return RuleSearch(
        space.pool,
        context.evaluator,
        val,
        study=study,
        config=config,
        demos=space.demos,
        seed=context.seed,
        count_tokens=lm.count_tokens if isinstance(lm, LocalLM) else None,
        stop=context.folder.stop,
        **options,
    )


def reserved(
    resolve: ResolveConfig | None, cap: int | None, *, train: int, val: int, calibrate: bool
) -> dict[str, int]:
    """Return the student calls under ``cap`` that search and resolving leave to later stages, if errors are resolved.

    Calibration asks both students all training examples. Where that would take more than a third of the cap, nothing is
    kept for it: offsets are then fitted on validation alone.
    """
    if resolve is None or cap is None:
        return {}
    own = 2 * train if calibrate and 6 * train <= cap else 0
    return {"search": resolve.reserved_calls(cap, train=train, val=val) + own, "resolve": own}


def resolve_errors(context: CompileContext, *, progress: Progress, storage: str | None, calibrated: bool) -> None:
    """Let the teacher revise the rules by the errors that remain, and search on.

    Labels that were dropped, or that their rationale doubts, show no errors.
    """
    config = context.resolve
    if config is None or context.folder.stop.exists():
        return
    if context.teacher is None:
        context.notes.append("Nothing was resolved: that takes a teacher.")
        return
    sizes = {"train": len(context.splits.train), "val": len(context.splits.val)}
    cap = context.ledger.budget.student_calls
    if cap is not None:  # what was left when the first round began, also in a resumed run
        spent = context.ledger.total("student", stages=("baseline", "frame", "search")).calls
        cap = max(cap - spent - context.ledger.reserved.get("resolve", 0), 0)
    sample, calls = config.round_calls(**sizes, left=cap)

    def go_on(pool: Sequence[Rule], revised: RuleSet) -> Choice:
        before, space = context.found, Space.of(pool, context.demos)
        own = context.search.continued(calls, sizes["val"])
        rest = [revised.model_dump(), own, [trial.encode(sizes["val"]) for trial in before.trials]]
        study = _study_of(context, space, storage, kind="+", more=rest)
        study.set_user_attr(CONTINUED, own)
        more = rule_search(
            context, space, study, calibrated=calibrated, on_trial=progress, before=before, revised=revised
        )
        publish_space(study, space)
        context.resolved = _kept(context, before, more.run(), "revised list", calibrated=calibrated)
        write_trials(context.folder.trials, context.resolved.trials)
        return choice()

    def choice() -> Choice:
        return Choice(context.found.best, context.found.objective, context.found.stopped)

    doubted = {*context.induction.dropped, *context.explanations.doubtful}
    teacher = context.teacher and replace(context.teacher, task=context.induction.brief or context.teacher.task)
    with timed(context.seconds, "resolve"), bar("resolve", "trial") as progress.bar:
        context.resolution = Resolver(
            evaluator=context.evaluator,
            teacher=teacher,
            config=config.model_copy(update={"sample": sample}),
            unshown=partial(context.unshown, but=doubted),
            text=context.reader.text,
            go_on=go_on,
            banned=context.policy.banned,
            calibrated=calibrated,
            seed=context.seed,
        ).run(choice(), context.pool)
        write_jsonl(context.folder.patches, context.resolution.patches)


def _if_it_pays(context: CompileContext, found: SearchResult, *, calibrated: bool) -> SearchResult:
    """Return what the search found, but without rules of a teacher that do not pay.

    Notes lie closer to examples than what a teacher generalizes, and a small student follows that better.
    """
    better = [(one.rules, one.objective or 0.0) for one in found.trials if (one.objective or 0.0) > found.baseline]
    plain = [(rules, value) for rules, value in better if rules is not None and not _has_teachers(rules)]
    if found.best is None or not _has_teachers(found.best) or not plain:
        return found
    best, value = max(plain, key=lambda one: one[1])
    before = replace(found, best=best, objective=value)
    return _kept(context, before, found, "list with rules of a teacher", calibrated=calibrated)


def _has_teachers(rules: RuleSet) -> bool:
    return any(rule.is_teachers for rule in rules.rules)


def _kept(
    context: CompileContext, before: SearchResult, found: SearchResult, name: str, *, calibrated: bool
) -> SearchResult:
    """Return what a search found, with the list before it unless the new one gains more than chance gives.

    The best of some lists is ahead on the examples that chose it, whether or not it is better.
    """
    gain, _ = gain_on_validation(context, before.best, found.best, calibrated=calibrated)
    if gain is None or gain.pays_twice:
        return found
    context.notes.append(
        f"The best {name} gains {gain} on validation, not more than its standard error: the list before stays."
    )
    used = {rule.id for rule in (before.best or RuleSet()).rules}
    others = [*(found.best or RuleSet()).rules, *found.bench]
    return replace(
        found,
        best=before.best,
        bench=[rule for rule in others if rule.id not in used],
        objective=before.objective,
    )
