"""The result of a compile, built from what its stages left in the context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dspy
import numpy as np

from ..audit.labels import Suspect
from ..audit.lint import lint_learned
from ..calibrate.calibration import Calibration
from ..calibrate.confidence import fewest_answers
from ..ledger.budget import Cost
from ..rules import RuleSet, is_cues
from ..run.result import Comparison, PLDResult, versions
from ..scoring.difference import difference
from ..search.search_config import LEAST
from ..search.search_result import Insight
from ..student.evaluator import Evaluation
from ..task.task import example_id
from .context import CompileContext, Pair
from .updating import listed, update_notes

INDUCED = ("about_format", "suspects_dropped", "suspects_down_weighted", "in_parts", "labels_without_rule")
SUSPECTS_SHOWN = 5


def build_result(context: CompileContext, compiled: dspy.Module) -> PLDResult:
    """Return the result of a compile whose stages are all done; ``compiled`` is the student under the rules found."""
    task, splits, found = context.task, context.splits, context.found
    costs: dict[str, dict[str, Cost]] = {"student": {}, "teacher": {}}
    for (role, stage), spent in context.ledger.spent.items():
        costs[role][stage] = spent.model_copy(update={"call_seconds": round(spent.call_seconds, 2)})
    test = None if context.test is None else compared(context, splits.test, context.test)
    return PLDResult(
        labels=task.labels,
        predictor=task.predictor,
        label_field=task.label_field,
        untouched=task.untouched,
        improved=found.objective > context.unchanged,
        rules=found.best or RuleSet(),
        bench=[*found.bench, *context.policy.banned],
        searched=context.searched.best or RuleSet() if _is_revised(context) else None,
        instructions=dict(compiled.named_predictors())[task.predictor].signature.instructions,
        validation=compared(context, splits.val, context.validation),
        test=test,
        costs=costs,
        seconds={stage: round(value, 2) for stage, value in context.seconds.items()},
        calibration=context.calibration,
        baselines=context.baselines,
        insight=found.insight,
        rule_tokens=rule_tokens(*context.validation),
        suspects=context.audit.suspects,
        counts=_counts(context),
        stopped=context.searched.stopped,
        notes=[
            *loss_note(test),
            *update_notes(context),
            *context.notes,
            *_notes(context),
            *filter(None, [context.baselines.verdict]),
        ],
        seed=context.seed,
        versions=versions(),
    )


def loss_note(test: Comparison | None) -> Iterator[str]:
    """Yield a warning where the rules make the student worse on the test split, by more than chance."""
    if test is not None and test.difference.interval[1] < 0:
        yield (
            f"The rules make this student worse: macro-F1 on test {test.difference.short}. Use it as it was, and give "
            "more validation examples or another student."
        )


def compared(context: CompileContext, examples: Sequence[dspy.Example], pair: Pair) -> Comparison:
    """Return the scores of the unchanged and the compiled student, and their difference."""
    baseline, compiled = pair
    task, golds = context.task, context.task.golds(examples)
    return Comparison(
        baseline=baseline.score,
        compiled=compiled.score,
        difference=difference(golds, baseline.labels, compiled.labels, task.labels, seed=context.seed),
    )


def _counts(context: CompileContext) -> dict[str, int]:
    explanations, induction, resolution = context.explanations, context.induction, context.resolution
    counts = {
        "micro_rules": len(explanations.micro_rules),
        "doubtful": len(explanations.doubtful),
        "unmatched": len(explanations.unmatched),
        "unexplained": len(explanations.unexplained),
        "noise": induction.counts["noise"],
        "rules": len(context.pool),
        **{name: induction.counts[name] for name in INDUCED},
        "trials": len(context.found.trials),
    }
    if resolution is not None:
        counts["patches"] = len(resolution.patches)
        counts["patches_kept"] = len(resolution.kept)
        counts["patches_unusable"] = sum(not patch.usable for patch in resolution.patches)
    return {**counts, **{name: len(examples) for name, examples in context.splits.non_empty()}}


def _notes(context: CompileContext) -> Iterator[str]:
    """Yield what a reader should know, in the order of the stages."""
    induction = context.induction
    if induction.diagnosis:
        yield induction.diagnosis
    for stage, cause in context.ledger.stopped.items():
        yield f"The stage {stage!r} stopped early: {cause}"
    yield from failure_notes(context)
    unexplained = context.explanations.unexplained
    if context.teacher is not None and unexplained and "explain" not in context.ledger.stopped:
        yield f"The teacher gave no usable micro-rule for {listed(unexplained)} ({len(unexplained)} in all)."
    if context.teacher is None and not context.new:
        yield _without_teacher(context)
    if induction.fallbacks:
        yield (
            f"The teacher gave no usable wording of {', '.join(induction.fallbacks)} (unusable, lost or past a cap): "
            "their micro-rules are used instead."
        )
    if context.audit.unreadable:
        yield (
            f"The teacher's answer about the label could not be read for {context.audit.unreadable} of "
            f"{len(context.explanations.micro_rules)} examples: these labels it neither confirms nor doubts."
        )
    if context.audit.suspects:
        yield _suspects_note(context.audit.suspects)
    yield from _search_notes(context)
    yield from _resolve_notes(context)
    if context.calibration is not None:
        yield from _calibration_notes(context.calibration)
    if context.searched.stopped:
        yield f"The search stopped early: {context.searched.stopped}"


def _without_teacher(context: CompileContext) -> str:
    if (source := context.source) is None:
        return "No teacher: each rule's wordings are the micro-rules nearest its cluster's centre, and its cue words."
    return (
        f"The rules to choose from are those of the run {source.path.name} (fingerprint {source.fingerprint}): no "
        "example was explained, and no rule induced."
    )


def failure_notes(context: CompileContext) -> Iterator[str]:
    """Yield which examples the student never answered, and why."""
    errors: dict[str, str] = {}
    for split, examples in context.splits.non_empty():
        failed = context.ledger.failed("student", [context.task.arguments(example) for example in examples])
        errors |= {f"{split} {example_id(examples[row], row)}": error for row, error in failed.items()}
    if errors:
        yield (
            f"Not answered by the student's model, at least under one prompt, and wrong there: {listed(errors)} "
            f"({len(errors)} in all). First causes: {listed(dict.fromkeys(errors.values()), most=2)}. Mend the cause, "
            "or leave these examples out."
        )


def _search_notes(context: CompileContext) -> Iterator[str]:
    n, (low, high) = len(context.splits.val), context.validation[1].score.interval
    if n < LEAST:
        yield (
            f"Only {n} examples chose the rules: the compiled student's macro-F1 on them has the 95% interval "
            f"[{low:.2f}, {high:.2f}], and is too hopeful besides. Smaller differences between rule sets are chance."
        )
        if not (context.search.screen_calls or context.search.trials):
            yield "So few cannot choose rules: only whole lists were compared. To search all the same, set trials."
    if context.found.objective <= context.unchanged:
        none, kept = "No rule set beat", "the pinned rules came back all the same"
        if context.found.best is None:
            kept = "the student came back unchanged"
        elif context.new:
            none, kept = "The rules do not beat", "an update keeps those of the run all the same"
        yield f"{none} the unchanged student on validation: {kept}."
    if (pinned := context.policy.pinned) and not context.new:  # an update does not ask about these alone
        yield _pins_note(context, len(pinned))
    if context.found.insight is not None:
        yield from sentences_note(context.found.insight, context.found.best or RuleSet())
    rules = (context.found.best or RuleSet()).rules
    if found := lint_learned(rules, context.task.labels, context.explanations.micro_rules):
        yield f"Findings in the rules: {len(found)}. To list them: pld-dspy lint RUN"


def _pins_note(context: CompileContext, number: int) -> str:
    """Say what the pinned rules alone do on validation; the search has asked about them first of all."""
    pinned, task, val = context.found.trials[0].rules, context.task, context.splits.val
    labels = context.evaluator.labels(pinned, val, stage="search")
    gain = difference(task.golds(val), context.validation[0].labels, labels, task.labels, seed=context.seed)
    return (
        f"What the pinned rules alone ({number}) change on validation, against the unchanged student: macro-F1 {gain}."
    )


def sentences_note(insight: Insight, chosen: RuleSet) -> Iterator[str]:
    """Yield what it would cost to have all chosen rules as sentences, where the search's model can tell."""
    cues = [rule for rule in chosen.rules if rule.origins and is_cues(rule.origins[rule.chosen]) and not rule.pin]
    fitting = [
        row
        for row in insight.origins
        if not is_cues(row.origin) and all(rule.wording_from(row.origin) is not None for rule in cues)
    ]
    if cues and fitting:
        best = max(fitting, key=lambda row: row.expected)
        yield (
            f"{len(cues)} of the {len(chosen)} chosen rules are lists of cue words. With sentences in their place "
            f"({best.origin}), the search's model expects {best.expected:.3f} on validation instead of "
            f"{insight.order.own:.3f}; --style rules insists on them."
        )


def _suspects_note(suspects: Sequence[Suspect]) -> str:
    shown = [
        f"{one.example_id} ({one.label}{f', better {one.suggested}' if one.suggested else ''})"
        for one in suspects[:SUSPECTS_SHOWN]
    ]
    more = ", ..." if len(suspects) > SUSPECTS_SHOWN else ""
    subject = "1 training label is" if len(suspects) == 1 else f"{len(suspects)} training labels are"
    return f"{subject} in doubt, the most doubtful first: {', '.join(shown)}{more}."


def _resolve_notes(context: CompileContext) -> Iterator[str]:
    resolution = context.resolution
    for (role, stage), spent in context.ledger.spent.items():
        if role == "teacher" and spent.failures:
            yield f"{spent.failures} of the {spent.calls} calls of the teacher in the stage {stage!r} failed."
    if resolution is None:
        return
    usable = sum(patch.usable for patch in resolution.patches)
    yield (
        f"Resolving: of {len(resolution.patches)} changes by the teacher, {usable} were usable, and the search chose "
        f"{len(resolution.kept)}, in {len(resolution.rounds)} rounds; objective on validation "
        f"{context.searched.objective:.3f} before, {context.found.objective:.3f} after."
    )
    if resolution.stopped:
        yield f"Resolving stopped early: {resolution.stopped}"


def _is_revised(context: CompileContext) -> bool:
    """Return whether resolving changed what the search had chosen."""
    before, after = (found.best or RuleSet() for found in (context.searched, context.found))
    return before.digest != after.digest


def _calibration_notes(calibration: Calibration) -> Iterator[str]:
    if calibration.capped:
        yield (
            "Offsets were fitted on the validation examples alone, which also chose the rules, and give no threshold: "
            f"{calibration.capped}"
        )
    elif (wanted := calibration.used.abstention) and wanted.threshold is None:
        yield (
            f"No confidence can promise the error rate {wanted.error_rate:g} on {wanted.n} training and validation "
            f"examples: even without an error it takes {fewest_answers(wanted.error_rate)}. So there is no "
            "threshold, and every question is answered. Give more examples, or a higher rate."
        )


def rule_tokens(baseline: Evaluation, compiled: Evaluation) -> float | None:
    """Return the mean prompt tokens that the rules add to a call, as the student's own server counted them."""
    added = [
        after.tokens_in - before.tokens_in
        for before, after in zip(baseline.answers, compiled.answers, strict=True)
        if before.calls == after.calls == 1 and before.tokens_in and after.tokens_in
    ]
    return float(np.mean(added)) if added else None
