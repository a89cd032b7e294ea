"""Calibrate both students of a compile on their answers to training and validation, and grade them on the test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import dspy
import numpy as np
from pydantic_core import to_jsonable_python

from ..errors import BudgetExceeded
from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.difference import difference
from ..scoring.f1 import Floats
from ..scoring.offsets import Offsets, replace_answers
from ..student.evaluator import Evaluation, Evaluator, logprobs_of
from ..student.redecide import decision_of, redecide
from ..task.labels import LABEL_LOGPROBS
from ..task.task import Task, example_id
from .calibration import Bin, Calibration, Grade, StudentCalibration, Weighed
from .confidence import (
    are_right,
    choose_threshold,
    count_answered,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from .fit_offsets import fit_out_of_fold, fit_temperature
from .precedents import Precedents, fit_weights

STAGE = "calibrate"
CURVE_POINTS = 100  # most points of a risk-coverage curve that are kept

NO_LOGPROBS = (
    "the student's answers carry no label log-probabilities. They need a LabelAdapter, a program that returns the "
    "prediction of its deciding predictor, and a server that gives them, such as llama.cpp or vLLM."
)
"""Why nothing could be calibrated, as the end of a sentence."""


def fit_students(
    rules: RuleSet | None,
    train: Sequence[dspy.Example],
    val: Sequence[dspy.Example],
    evaluator: Evaluator,
    *,
    precedents: Precedents | None = None,
    error_rate: float | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Calibration | None:
    """Fit offsets and a temperature for the unchanged student and for the one under ``rules``.

    With ``precedents``, of ``val`` and ``train`` in this order, also for both students weighed against them. Training
    examples that the student sees as demonstrations are not asked.

    None, and no call, where the answers to ``val``, which are in the ledger, carry no log-probabilities. Offsets are 0
    for a student whose offsets do not pay. Where a cap on calls is reached, the validation examples alone are used,
    since rules that were searched for their offsets are worth little without any; then there is no threshold, since
    the same examples chose the rules.
    """
    if decision_of(evaluator) is None:
        return None
    task, students, capped = evaluator.task, (None, rules), None
    on_val = [evaluator.answers(student, val, stage=STAGE, on_answer=on_answer) for student in students]
    if any(np.isnan(logprobs_of(answers, task)).any(axis=1).all() for answers in on_val):
        return None
    shown = rules.shown if rules else frozenset()
    rows = [row for row, example in enumerate(train) if example_id(example, row) not in shown]
    try:
        more = [train[row] for row in rows]
        on_train = [evaluator.answers(student, more, stage=STAGE, on_answer=on_answer) for student in students]
    except BudgetExceeded as error:
        capped, rows, on_train, error_rate = str(error), [], [[], []], None
    examples = [*val, *(train[row] for row in rows)]
    fit = partial(
        _fit_student, examples=examples, task=task, n_val=len(val), error_rate=error_rate, seed=evaluator.seed
    )
    answers = [[*first, *second] for first, second in zip(on_val, on_train, strict=True)]
    baseline, compiled = (fit(given) for given in answers)
    found = Calibration(baseline=baseline[0], compiled=compiled[0], n=len(examples), capped=capped)
    if precedents is None:
        return found
    evidence = precedents.evidence_out_of_fold(seed=evaluator.seed)
    evidence = evidence[[*range(len(val)), *(len(val) + row for row in rows)]]
    golds = task.golds(examples)
    gold = np.array([task.labels.index(label) for label in golds])
    weighed = []
    for given in answers:
        weights = fit_weights(logprobs_of(given, task), evidence, gold)
        side = precedents.with_weights(weights)
        weighed.append((weights, fit(weigh(side, given, evidence, evaluator))))
    (first, unchanged), (second, ruled) = weighed
    gain = difference(golds, compiled[1], ruled[1], task.labels, seed=evaluator.seed)
    return found.model_copy(
        update={
            "baseline_weighed": Weighed(student=unchanged[0], weights=first),
            "compiled_weighed": Weighed(student=ruled[0], weights=second, gain=gain),
        }
    )


def grade_students(
    calibration: Calibration,
    examples: Sequence[dspy.Example],
    pair: tuple[Evaluation, Evaluation],
    evaluator: Evaluator,
    *,
    precedents: Precedents | None = None,
    texts: Sequence[str] = (),
) -> Calibration:
    """Return the calibration with the grades of a ``pair`` of students on the test examples; no call is made.

    ``texts`` are what the deciding predictor reads of the examples; they are looked at with ``precedents`` only.
    """
    (baseline, compiled), task, seed = pair, evaluator.task, evaluator.seed
    golds = task.golds(examples)
    baseline_side, _ = _grade_student(calibration.baseline, examples, baseline, evaluator)
    compiled_side, calibrated = _grade_student(calibration.compiled, examples, compiled, evaluator)
    more: dict[str, Weighed] = {}
    weighed, ruled = calibration.baseline_weighed, calibration.compiled_weighed
    if precedents is not None and weighed is not None and ruled is not None:
        evidence = precedents.evidence(texts)

        def graded(found: Weighed, own: Evaluation) -> tuple[StudentCalibration, Evaluation]:
            side = precedents.with_weights(found.weights)
            answers = weigh(side, own.answers, evidence, evaluator)
            return _grade_student(found.student, examples, evaluator.scored(examples, answers), evaluator)

        (unchanged_side, unchanged), (side, final) = graded(weighed, baseline), graded(ruled, compiled)
        gains = {"difference": calibrated, "by_rules": unchanged}
        found = {
            name: difference(golds, one.labels, final.labels, task.labels, seed=seed) for name, one in gains.items()
        }
        more["baseline_weighed"] = weighed.model_copy(update={"student": unchanged_side})
        more["compiled_weighed"] = ruled.model_copy(update={"student": side, **found})
    return calibration.model_copy(
        update={
            **more,
            "baseline": baseline_side,
            "compiled": compiled_side,
            "difference": difference(golds, compiled.labels, calibrated.labels, task.labels, seed=seed),
            "difference_to_baseline": difference(golds, baseline.labels, calibrated.labels, task.labels, seed=seed),
        }
    )


def weigh(precedents: Precedents, answers: Sequence[Answer], evidence: Floats, evaluator: Evaluator) -> list[Answer]:
    """Return m answers as all sides decide them, given the m x C x 2 evidence of the precedents; no call is made.

    An answer without log-probabilities stays.
    """
    task, decision, found = evaluator.task, decision_of(evaluator), []
    for answer, row in zip(answers, precedents.combined(logprobs_of(answers, task), evidence), strict=True):
        if decision is None or np.isnan(row).any():
            found.append(answer)
            continue
        value = to_jsonable_python(decision.values[task.labels[int(row.argmax())]])
        scores = dict(zip(task.labels, row.tolist(), strict=True))
        outputs = {**(answer.outputs or {}), decision.field: value, LABEL_LOGPROBS: scores}
        found.append(replace(answer, outputs=outputs))
    return found


def _fit_student(
    answers: Sequence[Answer],
    examples: Sequence[dspy.Example],
    task: Task,
    *,
    n_val: int,
    error_rate: float | None,
    seed: int,
) -> tuple[StudentCalibration, list[str | None]]:
    """Fit offsets where they pay, else a temperature alone, and a threshold; return the out-of-fold decisions too."""
    logprobs, golds = logprobs_of(answers, task), task.golds(examples)
    own = [task.read(answer.outputs) for answer in answers]
    fit = fit_out_of_fold(logprobs, golds, task.labels, answers=own, seed=seed)
    if fit is None:
        offsets = Offsets.none(task.labels, temperature=fit_temperature(logprobs, golds, task.labels))
        labels, confidence = offsets.answer(logprobs, own)
    else:
        offsets, sums = fit
        plain = Offsets.none(task.labels, temperature=offsets.temperature)
        labels, confidence = plain.answer(sums, replace_answers(own, plain.decide(sums)))
    if error_rate is None:
        return StudentCalibration(offsets=offsets), labels
    abstention = choose_threshold(confidence, are_right(labels, golds), n_val=n_val, error_rate=error_rate)
    return StudentCalibration(offsets=offsets, abstention=abstention), labels


def _grade_student(
    side: StudentCalibration, examples: Sequence[dspy.Example], own: Evaluation, evaluator: Evaluator
) -> tuple[StudentCalibration, Evaluation]:
    """Grade a student without and with offsets; return the evaluation with offsets too."""
    task, abstention = evaluator.task, side.abstention
    golds, logprobs = task.golds(examples), logprobs_of(own.answers, task)
    calibrated = evaluator.scored(examples, redecide(own.answers, side.offsets, evaluator))
    _, own_confidence = Offsets.none(task.labels).answer(logprobs, own.labels)
    _, confidence = side.offsets.answer(logprobs, own.labels)
    if abstention is not None:
        answered = count_answered(confidence, are_right(calibrated.labels, golds), abstention.threshold)
        abstention = abstention.model_copy(update={"test": answered})
    graded = StudentCalibration(
        offsets=side.offsets,
        plain=_grade(own, golds, own_confidence),
        calibrated=_grade(calibrated, golds, confidence),
        abstention=abstention,
    )
    return graded, calibrated


def _grade(evaluation: Evaluation, golds: Sequence[str], confidence: Floats) -> Grade:
    sure, right = np.nan_to_num(confidence, nan=0.0), are_right(evaluation.labels, golds)
    coverage, risk = risk_coverage(sure, right)
    points = np.unique(np.linspace(0, len(risk) - 1, CURVE_POINTS).round().astype(int))
    bins = (values.round(4).tolist() for values in reliability(sure, right))
    return Grade(
        score=evaluation.score,
        calibration_error=expected_calibration_error(sure, right),
        error_at_80=float(risk[np.searchsorted(coverage, 0.8 - 1e-9)]),
        coverage=tuple(coverage[points].round(4).tolist()),
        risk=tuple(risk[points].round(4).tolist()),
        reliability=tuple(Bin(confidence=mean, accuracy=share, n=int(n)) for mean, share, n in zip(*bins, strict=True)),
    )
