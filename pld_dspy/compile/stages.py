"""The stages of a compile: each takes what those before it found, is timed, and has its progress bar."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import dspy
from optuna import Study

from ..audit import Audit, Suspect, audit
from ..calibrate.fit import Fitted, Uncalibrated, fitted
from ..explain import Explanations, explain
from ..induce.config import InduceConfig
from ..induce.induce import Induction, induce
from ..ledger.budget import UNCAPPED
from ..ledger.jsonl import write_jsonl
from ..ledger.keys import digest
from ..local.lm import LocalLM
from ..resolve.config import ResolveConfig
from ..resolve.loop import resolve
from ..resolve.result import Resolution
from ..rules import Rule, RuleSet
from ..run.progress import Progress, bar, timed
from ..run.result import OWN_CODE
from ..run.trials import write_trials
from ..search.applicability import applicability
from ..search.config import CappedSearchConfig, SearchConfig
from ..search.result import SearchResult
from ..search.storage import open_study, publish_rules
from ..search.study import RuleSearch
from ..student.evaluator import Evaluation
from ..task.task import example_id
from .context import Job
from .inputs import student_lm

Pair: TypeAlias = tuple[Evaluation, Evaluation]
"""The unchanged and the compiled student on the same examples."""


FEWEST_UNREADABLE = 10
"""So many first answers without a label may be a weak student's bad luck, however few errors are allowed."""


def score_baseline(job: Job) -> None:
    """Score the unchanged student before anything is paid for; the search finds its answers in the ledger.

    Raises:
        TooManyErrors: not one of its first answers is a label, of more than ``max_errors`` and ``FEWEST_UNREADABLE``.
    """
    val, few = job.inputs.splits.val, max(job.ledger.max_errors, FEWEST_UNREADABLE) + 1
    with timed(job.seconds, "baseline"), bar("baseline", "call", total=len(val)) as shown:
        first = job.evaluator.answers(None, val[:few], stage="baseline", on_answer=shown.update)
        if len(first) == few:
            job.evaluator.check_readable(first)
        job.evaluator.answers(None, val[few:], stage="baseline", on_answer=shown.update)


def explain_examples(job: Job) -> Explanations:
    """Have each training example explained, by records or by the teacher."""
    inputs = job.inputs
    with timed(job.seconds, "explain"), bar("explain", "example") as shown:
        found = explain(
            inputs.splits.train,
            inputs.task,
            texts=inputs.texts(inputs.splits.train),
            recorded=inputs.recorded,
            teacher=job.teacher,
            on_answer=shown.update,
        )
        write_jsonl(job.folder.micro_rules, found.micro_rules)
        return found


def audit_labels(job: Job, explanations: Explanations, config: InduceConfig) -> Audit | None:
    """Have the labels of explained examples doubted by the data and the teacher; None where that is not asked for."""
    if config.audit != "teacher" or job.teacher is None:
        return None
    inputs = job.inputs
    with timed(job.seconds, "audit"), bar("audit", "example", total=len(explanations.micro_rules)) as shown:
        return audit(
            explanations.micro_rules,
            inputs.task,
            teacher=job.teacher,
            texts=inputs.texts_by_id,
            on_answer=shown.update,
        )


def induce_rules(
    job: Job, explanations: Explanations, config: InduceConfig, doubted: Sequence[Suspect] | None
) -> Induction:
    """Generalize the micro-rules into rules; ``doubted`` labels are as for ``induce``."""
    inputs = job.inputs
    with timed(job.seconds, "induce"), bar("induce", "rule") as shown:
        return induce(
            explanations.micro_rules,
            inputs.task,
            reads=inputs.reads_by_id,
            config=config,
            teacher=job.teacher,
            on_answer=shown.update,
            doubted=doubted,
        )


def search_rules(
    job: Job,
    rules: Sequence[Rule],
    config: SearchConfig,
    *,
    progress: Progress,
    storage: str | None = None,
    calibrated: bool = False,
) -> SearchResult:
    """Search for the best choice, wording and order of ``rules``, or go on with a search of them that was killed.

    Args:
        job: the compile.
        rules: what to search among.
        config: how to spend calls.
        progress: told of each finished trial.
        storage: where the study is kept; a journal in the run folder where None.
        calibrated: as for ``RuleSearch``.
    """
    with timed(job.seconds, "search"):
        # An answer that was lost and came on resuming changes the rules: then the old trials are not theirs.
        name = f"{job.folder.fingerprint}-{digest([rule.model_dump(exclude={'origins'}) for rule in rules])}"
        study = open_study(storage or job.folder.study, name=name)
        publish_rules(study, rules)
        search = rule_search(job, rules, study, config, calibrated=calibrated, on_trial=progress)
        progress.best = max((seen.objective or 0.0 for seen in search.seen), default=progress.best)
        with bar("search", "trial", total=search.steps) as progress.bar:
            progress.bar.update(len(search.seen))
            found = search.run()
        write_trials(job.folder.trials, found.trials)
    job.seconds[OWN_CODE] = found.own_seconds
    return found


def rule_search(job: Job, rules: Sequence[Rule], study: Study, config: SearchConfig, **options: Any) -> RuleSearch:
    """Return the search over ``rules``, set up and not yet begun; ``options`` are further ones of ``RuleSearch``."""
    inputs = job.inputs
    lm, cap = student_lm(inputs.student), job.ledger.budget.student_calls
    if isinstance(config, CappedSearchConfig) and cap is not None:  # else the last races and the confirmation are lost
        config = replace(config, calls=min(config.calls, cap - job.ledger.reserved.get("search", 0)))
    return RuleSearch(
        rules,
        job.evaluator,
        inputs.splits.val,
        study=study,
        config=config,
        about=applicability(rules, inputs.texts_by_id, inputs.texts(inputs.splits.val)),
        seed=job.seed,
        count_tokens=lm.count_tokens if isinstance(lm, LocalLM) else None,
        **options,
    )


def resolve_errors(
    job: Job,
    found: SearchResult,
    config: ResolveConfig | None,
    *,
    without: Collection[str] = (),
    calibrated: bool = False,
) -> Resolution | None:
    """Put the student's remaining errors to the teacher, and keep the patches that pay; None without ``config``.

    Args:
        job: the compile.
        found: what the search chose.
        config: how to spend calls.
        without: ids of training examples whose label is not believed: what differs from it is no error.
        calibrated: as for ``resolve``.
    """
    if config is None:
        return None
    inputs = job.inputs
    train, val = inputs.splits.train, inputs.splits.val
    if without:  # an example without an id is named after its row, which another one must not move into
        named = ((example_id(one, row), one) for row, one in enumerate(train))
        train = [one.copy(id=name) for name, one in named if name not in without]
    with timed(job.seconds, "resolve"), bar("resolve", "patch") as shown:
        resolution = resolve(
            found.best or RuleSet(),
            found.bench,
            train,
            val,
            job.evaluator,
            instructions=inputs.instructions,
            texts=inputs.texts([*train, *val]),
            teacher=job.teacher,
            config=config,
            calibrated=calibrated,
            seed=job.seed,
            on_patch=lambda _: shown.update(),
        )
        write_jsonl(job.folder.patches, resolution.patches)
        return resolution


def fit_calibration(job: Job, best: RuleSet | None) -> Fitted | Uncalibrated:
    """Fit offsets for the unchanged and the chosen student, on all that is not the test set."""
    train, val = job.inputs.splits.train, job.inputs.splits.val
    with timed(job.seconds, "calibrate"), bar("calibrate", "call", total=2 * (len(train) + len(val))) as shown:
        return fitted(best, train, val, job.evaluator, seed=job.seed, on_answer=shown.update)


def final_scores(job: Job, best: RuleSet | None) -> tuple[Pair, Pair | None]:
    """Score the unchanged and the chosen student on validation, all of it in the ledger already, and on the test set.

    Returns:
        Validation, and test; None for the latter without a test set.
    """

    def both(name: str, examples: Sequence[dspy.Example], stage: str) -> Pair:
        with bar(name, "call", total=2 * len(examples)) as shown:
            return (
                job.evaluator.evaluate(None, examples, stage=stage, on_answer=shown.update),
                job.evaluator.evaluate(best, examples, stage=stage, on_answer=shown.update),
            )

    splits = job.inputs.splits
    with timed(job.seconds, "test"):
        validation = both("validation", splits.val, "search")
        return validation, both("test", splits.test, UNCAPPED) if splits.test else None
