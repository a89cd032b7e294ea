"""The stages of a compile, each with its progress bar, on checked inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna import Study

from .audit import Suspect, audit
from .calibration import Fitted, Uncalibrated, fitted
from .evaluation import Evaluator
from .explain import Explanations, explain
from .induce import InduceConfig, Induction, induce
from .inputs import Inputs, student_lm
from .ledger import Ledger
from .progress import bar, timed
from .resolve import Resolution, ResolveConfig, resolve
from .rules import Rule, RuleSet
from .search import RuleSearch, SearchConfig, SearchResult, applicability


def score_baseline(inputs: Inputs, evaluator: Evaluator) -> None:
    """Score the unchanged student before anything is paid for; the search finds its answers in the ledger."""
    with bar("baseline", "call", total=len(inputs.splits.val)) as shown:
        evaluator.answers(None, inputs.splits.val, stage="baseline", on_answer=shown.update)


def explain_examples(inputs: Inputs, ledger: Ledger) -> Explanations:
    """Have each training example explained, by records or by the teacher."""
    with bar("explain", "example") as shown:
        return explain(
            inputs.splits.train,
            inputs.task,
            instructions=inputs.instructions,
            texts=inputs.texts(inputs.splits.train),
            recorded=inputs.recorded,
            teacher=inputs.teacher and inputs.teacher.explainer,
            ledger=ledger,
            lm=inputs.teacher and inputs.teacher.lm,
            on_answer=shown.update,
        )


def audit_labels(
    inputs: Inputs, explanations: Explanations, config: InduceConfig, ledger: Ledger, seconds: dict[str, float]
) -> list[Suspect] | None:
    """Have the labels of explained examples doubted by the data and by the teacher; None where that is not asked for.

    The seconds are noted here, since most compiles leave this out.
    """
    if config.audit != "teacher":
        return None
    with timed(seconds, "audit"), bar("audit", "example", total=len(explanations.micro_rules)) as shown:
        return audit(
            explanations.micro_rules,
            inputs.task,
            instructions=inputs.instructions,
            ledger=ledger,
            texts=inputs.texts_by_id,
            lm=inputs.teacher and inputs.teacher.lm,
            on_answer=shown.update,
        )


def induce_rules(
    inputs: Inputs,
    explanations: Explanations,
    config: InduceConfig,
    ledger: Ledger,
    doubted: Sequence[Suspect] | None = None,
) -> Induction:
    """Generalize the micro-rules into rules; ``doubted`` labels are as for ``induce``."""
    with bar("induce", "rule") as shown:
        return induce(
            explanations.micro_rules,
            inputs.task,
            instructions=inputs.instructions,
            reads=inputs.reads_by_id,
            config=config,
            teacher=inputs.teacher and inputs.teacher.generalizer,
            ledger=ledger,
            lm=inputs.teacher and inputs.teacher.lm,
            on_answer=shown.update,
            doubted=doubted,
        )


def rule_search(
    inputs: Inputs,
    rules: Sequence[Rule],
    evaluator: Evaluator,
    study: Study,
    *,
    config: SearchConfig,
    seed: int,
    **options: Any,
) -> RuleSearch:
    """Return the search over ``rules``, set up and not yet begun; ``options`` are further ones of ``RuleSearch``."""
    return RuleSearch(
        rules,
        evaluator,
        inputs.splits.val,
        study=study,
        config=config,
        about=applicability(rules, inputs.texts_by_id, inputs.texts(inputs.splits.val)),
        seed=seed,
        count_tokens=getattr(student_lm(inputs.student), "pld_count_tokens", None),
        **options,
    )


def resolve_errors(
    inputs: Inputs, found: SearchResult, evaluator: Evaluator, config: ResolveConfig, *, seed: int
) -> Resolution:
    """Put the student's remaining errors to the teacher, and keep the patches that pay."""
    with bar("resolve", "patch") as shown:
        return resolve(
            found.best or RuleSet(),
            found.bench,
            inputs.splits.train,
            inputs.splits.val,
            evaluator,
            instructions=inputs.instructions,
            texts=inputs.texts([*inputs.splits.train, *inputs.splits.val]),
            teacher=inputs.teacher and inputs.teacher.resolver,
            lm=inputs.teacher and inputs.teacher.lm,
            config=config,
            seed=seed,
            on_patch=lambda _: shown.update(),
        )


def fit_calibration(inputs: Inputs, best: RuleSet | None, evaluator: Evaluator, *, seed: int) -> Fitted | Uncalibrated:
    """Fit offsets for the unchanged and the chosen student, on all that is not the test set."""
    train, val = inputs.splits.train, inputs.splits.val
    with bar("calibrate", "call", total=2 * (len(train) + len(val))) as shown:
        return fitted(best, train, val, evaluator, seed=seed, on_answer=shown.update)
