"""Put what the stages found into one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import dspy
import numpy as np

from ..audit import Audit, Suspect
from ..calibrate.fit import Uncalibrated
from ..calibrate.result import Abstention, Calibration
from ..calibrate.risk import fewest_answers
from ..explain import Explanations
from ..induce.induce import Induction
from ..ledger.ledger import Ledger
from ..resolve.result import Resolution
from ..rules import RuleSet
from ..run.result import Comparison, Cost, PLDResult, versions
from ..scoring.difference import difference
from ..search.result import SearchResult
from ..student.evaluator import Evaluation
from ..task.task import Task
from .context import Job
from .stages import Pair

INDUCED = ("about_format", "suspects_dropped", "suspects_down_weighted", "in_parts", "labels_without_rule")
"""Counts of ``Induction.counts`` that a result repeats."""

SUSPECTS_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the stages of a compile found.

    Attributes:
        explanations, induction: what explaining and inducing found.
        searched: what the search found.
        search: the same after patches; ``searched`` itself where none changed it.
        audit: what the teacher's audit of labels found; None where it was not asked for.
        resolution: what resolving did; None where it was left out.
        validation: evaluations of the unchanged and of the compiled student.
        test: the same on the test set; None without one.
        calibration: what calibrating found, or why it could not be; None where it was not asked for.
    """

    explanations: Explanations
    audit: Audit | None
    induction: Induction
    searched: SearchResult
    search: SearchResult
    resolution: Resolution | None
    validation: Pair
    test: Pair | None
    calibration: Calibration | Uncalibrated | None


def comparison(
    task: Task, examples: Sequence[dspy.Example], baseline: Evaluation, compiled: Evaluation, *, seed: int
) -> Comparison:
    """Compare two evaluations of the same examples."""
    return Comparison(
        baseline=baseline.score,
        compiled=compiled.score,
        difference=difference(task.golds(examples), baseline.labels, compiled.labels, task.labels, seed=seed),
    )


def outcome(job: Job, found: Found, *, instructions: str) -> PLDResult:
    """Return the result of a compile.

    Args:
        job: the compile, all stages of it done.
        found: what the stages found.
        instructions: the instructed predictor's full instructions.
    """
    task, splits, search, seed = job.inputs.task, job.inputs.splits, found.search, job.seed
    return PLDResult(
        labels=task.labels,
        predictor=task.predictor,
        label_field=task.label_field,
        untouched=task.untouched,
        improved=search.best is not None,
        rules=search.best or RuleSet(),
        bench=search.bench,
        searched=None if search is found.searched else found.searched.best or RuleSet(),
        instructions=instructions,
        validation=comparison(task, splits.val, *found.validation, seed=seed),
        test=None if found.test is None else comparison(task, splits.test, *found.test, seed=seed),
        costs=_costs(job.ledger),
        seconds={stage: round(value, 2) for stage, value in job.seconds.items()},
        calibration=found.calibration if isinstance(found.calibration, Calibration) else None,
        insight=search.insight,
        rule_tokens=_rule_tokens(*found.validation),
        suspects=found.induction.suspects,
        counts={**_counts(found), **{name: len(examples) for name, examples in splits.non_empty()}},
        stopped=search.stopped,
        notes=[*job.inputs.notes, *_notes(job, found)],
        seed=seed,
        versions=versions(),
    )


def _counts(found: Found) -> dict[str, int]:
    explanations = found.explanations
    return {
        "micro_rules": len(explanations.micro_rules),
        "doubtful": len(explanations.doubtful),
        "unmatched": len(explanations.unmatched),
        "unexplained": len(explanations.failed) + len(explanations.unexplained),
        "noise": len(found.induction.noise),
        "rules": len(found.induction.rules),
        **{name: found.induction.counts[name] for name in INDUCED},
        "trials": len(found.search.trials),
        **_patch_counts(found.resolution),
    }


def _notes(job: Job, found: Found) -> list[str]:
    induction, search, resolution = found.induction, found.search, found.resolution
    notes = [induction.diagnosis] if induction.diagnosis else []
    notes += [f"The stage {stage!r} stopped early: {cause}" for stage, cause in job.ledger.stopped.items()]
    if job.inputs.teacher is None:
        notes.append(
            "No teacher: each rule's wordings are the micro-rules nearest its cluster's centre, and its cue words."
        )
    if induction.fallbacks:
        notes.append(
            f"The teacher gave no usable synthesis of {', '.join(induction.fallbacks)} (unusable, lost or past a cap): "
            "micro-rules stand in."
        )
    if found.audit is not None and found.audit.unreadable:
        notes.append(
            f"The teacher's audit could not be read for {found.audit.unreadable} of "
            f"{len(found.explanations.micro_rules)} labels: these it neither confirms nor doubts."
        )
    if induction.suspects:
        notes.append(_doubts(induction.suspects))
    if search.best is None:
        notes.append("No rule set beat the unchanged student on validation: the student came back unchanged.")
    if resolution is not None and resolution.kept and search is found.searched:
        notes.append(
            f"{len(resolution.kept)} patches passed the guard, but with them the rules did not beat the unchanged "
            "student on validation, so they were left out."
        )
    notes += [
        f"{spent.failures} of the {spent.calls} calls of the teacher in the stage {stage!r} failed."
        for (role, stage), spent in job.ledger.spent.items()
        if role == "teacher" and spent.failures
    ]
    if resolution is not None and resolution.stopped:
        notes.append(f"Resolving stopped early: {resolution.stopped}")
    if resolution is not None and resolution.dismissed:
        notes.append(resolution.dismissed)
    notes += _calibration_notes(found.calibration)
    if search.stopped:
        notes.append(f"The search stopped early: {search.stopped}")
    return notes


def _calibration_notes(calibration: Calibration | Uncalibrated | None) -> list[str]:
    if calibration is None:
        return []
    if isinstance(calibration, Uncalibrated):
        return [f"Nothing was calibrated: {calibration.reason}"]
    if calibration.capped:
        return [
            "Offsets were fitted on the validation examples alone, which also chose the rules, and give no threshold: "
            f"{calibration.capped}"
        ]
    return _unpromised(calibration.compiled.abstention)


def _unpromised(abstention: Abstention | None) -> list[str]:
    """That no threshold can promise the wanted error rate, where none can."""
    if abstention is None or abstention.threshold is not None:
        return []
    fewest = fewest_answers(error_rate=abstention.error_rate, delta=abstention.delta)
    return [
        f"No confidence can promise the error rate {abstention.error_rate:g} on {abstention.n} training and validation "
        f"examples: even without an error it takes {fewest}. So there is no threshold, and every question is answered. "
        "Give more examples, or a higher rate."
    ]


def _doubts(suspects: Sequence[Suspect]) -> str:
    named = [
        f"{one.example_id} ({one.label}{f', rather {one.suggested}' if one.suggested else ''})"
        for one in suspects[:SUSPECTS_NAMED]
    ]
    more = ["..."] if len(suspects) > SUSPECTS_NAMED else []
    return f"Training labels that are doubted: {len(suspects)}, the most doubtful first: {', '.join([*named, *more])}."


def patched(found: SearchResult, resolution: Resolution | None) -> SearchResult:
    """Return what the search found with the patches that were kept, where they beat the unchanged student."""
    if resolution is None or not resolution.kept:
        return found
    objective = resolution.objective or 0.0
    if objective <= found.baseline:
        return found
    best = resolution.rules if len(resolution.rules) else None
    return replace(found, best=best, bench=resolution.bench, objective=objective)


def _patch_counts(resolution: Resolution | None) -> dict[str, int]:
    if resolution is None:
        return {}
    return {
        "patches": len(resolution.patches),
        "patches_kept": len(resolution.kept),
        "patches_unusable": sum(not patch.usable for patch in resolution.patches),
    }


def _costs(ledger: Ledger) -> dict[str, dict[str, Cost]]:
    costs: dict[str, dict[str, Cost]] = {"student": {}, "teacher": {}}
    for (role, stage), spent in ledger.spent.items():
        costs[role][stage] = Cost(
            calls=spent.calls,
            reused=spent.reused,
            failures=spent.failures,
            tokens_in=spent.tokens_in,
            tokens_out=spent.tokens_out,
            tokens_cached=spent.tokens_cached,
            call_seconds=round(spent.seconds, 2),
            money=spent.money,
        )
    return costs


def _rule_tokens(baseline: Evaluation, compiled: Evaluation) -> float | None:
    """Return the mean prompt tokens that the rules add to a call, as the student's own server counted them."""
    pairs = [
        (before.tokens_in, after.tokens_in)
        for before, after in zip(baseline.answers, compiled.answers, strict=True)
        if before.calls == after.calls == 1 and before.tokens_in and after.tokens_in
    ]
    return float(np.mean([after - before for before, after in pairs])) if pairs else None
