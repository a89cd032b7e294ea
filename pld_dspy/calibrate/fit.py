"""The stage of a compile: both students calibrated on answers to training and validation, and graded on the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dspy
import numpy as np

from ..errors import BudgetExceeded
from ..ledger.answer import Answer
from ..rules import RuleSet
from ..scoring.difference import difference
from ..scoring.f1 import Floats
from ..scoring.offsets import Offsets, fit_out_of_fold, fit_temperature, settled
from ..student.evaluator import Evaluation, Evaluator
from ..student.redecide import decided, decision_of, logprobs_of
from ..task.task import Task
from .promise import Decisions, promise
from .result import Abstention, Bin, Calibration, Grade, StudentCalibration
from .risk import error_at, expected_calibration_error, reliability, risk_coverage

STAGE = "calibrate"
CURVE_POINTS = 100
COVERAGE = 0.8

NO_LOGPROBS = (
    "the student's answers carry no label log-probabilities. They need a LabelAdapter, a program that returns the "
    "prediction of its deciding predictor, and a server that gives them, such as llama.cpp or vLLM."
)


@dataclass(frozen=True)
class Uncalibrated:
    """Why nothing could be calibrated, as the end of a sentence."""

    reason: str


@dataclass(frozen=True)
class StudentFit:
    """One student's offsets, and its decisions on the examples they were fitted on, each by offsets of other folds."""

    offsets: Offsets
    unseen: Decisions


@dataclass(frozen=True)
class Fitted:
    """What the unchanged and the compiled student were fitted to on ``n`` examples, the first ``n_val`` validation.

    ``capped`` is the cap on calls that kept the training examples out, if one did.
    """

    baseline: StudentFit
    compiled: StudentFit
    n: int
    n_val: int
    capped: str | None = None


def fitted(
    rules: RuleSet | None,
    train: Sequence[dspy.Example],
    val: Sequence[dspy.Example],
    evaluator: Evaluator,
    *,
    seed: int = 0,
    on_answer: Callable[[], object] | None = None,
) -> Fitted | Uncalibrated:
    """Fit offsets and a temperature for the unchanged student and for the one under ``rules``.

    Args:
        rules: the compiled student's; None where it is the unchanged one.
        train: labelled examples to fit on.
        val: more of them, asked first, since their answers are in the ledger: where these carry no log-probabilities,
            no call is made.
        evaluator: the student as a function of its rules, under an adapter that asks for log-probabilities.
        seed: as of ``fit_offsets``.
        on_answer: called once an answer.

    Returns:
        Offsets of 0 for a student whose offsets do not pay. Those of validation alone where a cap on calls is in the
        way: its answers are there, and rules that were searched for their offsets are worth little without any.
        ``Uncalibrated`` where there are no log-probabilities.

    Raises:
        TooManyErrors: more calls failed than the ledger allows.
        ModelError: a model rejects credentials or settings.
    """
    if decision_of(evaluator) is None:
        return Uncalibrated(NO_LOGPROBS)
    task, students, capped = evaluator.task, (None, rules), None
    on_val = [evaluator.answers(student, val, stage=STAGE, on_answer=on_answer) for student in students]
    if any(np.isnan(logprobs_of(answers, task)).any(axis=1).all() for answers in on_val):
        return Uncalibrated(NO_LOGPROBS)
    try:
        on_train = [evaluator.answers(student, train, stage=STAGE, on_answer=on_answer) for student in students]
    except BudgetExceeded as error:
        capped, train, on_train = str(error), [], [[], []]
    examples = [*val, *train]
    baseline, compiled = (
        _fit([*first, *more], examples, task, seed=seed) for first, more in zip(on_val, on_train, strict=True)
    )
    return Fitted(baseline=baseline, compiled=compiled, n=len(examples), n_val=len(val), capped=capped)


def graded(
    fit: Fitted | Uncalibrated | None,
    examples: Sequence[dspy.Example],
    pair: tuple[Evaluation, Evaluation] | None,
    evaluator: Evaluator,
    *,
    error_rate: float | None = None,
) -> Calibration | Uncalibrated | None:
    """Decide answers to the test set with and without offsets, and choose a threshold; no call is made.

    Args:
        fit: the offsets of both students; where there are none, it comes back as it is.
        examples: the test set.
        pair: evaluations of the unchanged and of the compiled student on it; None without one.
        evaluator: as for :func:`fitted`; its seed is that of the bootstrap.
        error_rate: wanted among what is answered, for a threshold that ``promise`` chooses; None chooses none. Nor
            does a fit to validation alone, which chose the rules: a promise that rests on it would be too bold.

    Raises:
        DataError: the error rate is out of range.
    """
    if not isinstance(fit, Fitted):
        return fit
    error_rate = None if fit.capped else error_rate

    def wanted(side: StudentFit, test: Decisions | None) -> Abstention | None:
        return None if error_rate is None else promise(side.unseen, n_val=fit.n_val, error_rate=error_rate, test=test)

    if pair is None:
        sides = [
            StudentCalibration(offsets=side.offsets, abstention=wanted(side, None))
            for side in (fit.baseline, fit.compiled)
        ]
        return Calibration(baseline=sides[0], compiled=sides[1], n=fit.n, capped=fit.capped)
    baseline, compiled = pair
    baseline_side, _ = _sides(fit.baseline, examples, baseline, evaluator, wanted)
    compiled_side, moved = _sides(fit.compiled, examples, compiled, evaluator, wanted)
    task, seed = evaluator.task, evaluator.seed
    golds = task.golds(examples)
    return Calibration(
        baseline=baseline_side,
        compiled=compiled_side,
        n=fit.n,
        capped=fit.capped,
        difference=difference(golds, compiled.labels, moved.labels, task.labels, seed=seed),
        difference_to_baseline=difference(golds, baseline.labels, moved.labels, task.labels, seed=seed),
    )


def _fit(answers: Sequence[Answer], examples: Sequence[dspy.Example], task: Task, *, seed: int) -> StudentFit:
    """Offsets where they pay, else none but a temperature; and what they decide out of fold."""
    logprobs, golds = logprobs_of(answers, task), task.golds(examples)
    own = [task.read(answer.outputs) for answer in answers]
    found = fit_out_of_fold(logprobs, golds, task.labels, answers=own, seed=seed)
    if found is None:
        offsets = Offsets.none(task.labels, temperature=fit_temperature(logprobs, golds, task.labels))
        labels, confidence = offsets.answer(logprobs, own)
    else:
        offsets, sums = found
        plain = Offsets.none(task.labels, temperature=offsets.temperature)
        labels, confidence = plain.answer(sums, settled(own, plain.decide(sums)))
    return StudentFit(offsets, Decisions.of(labels, golds, confidence))


def _sides(
    fit: StudentFit,
    examples: Sequence[dspy.Example],
    own: Evaluation,
    evaluator: Evaluator,
    wanted: Callable[[StudentFit, Decisions], Abstention | None],
) -> tuple[StudentCalibration, Evaluation]:
    """Grade a student's answers as they are and as offsets move them; return the latter too."""
    task = evaluator.task
    golds = task.golds(examples)
    moved, confidence = decided(own, fit.offsets, examples, evaluator)
    _, own_confidence = Offsets.none(task.labels).answer(logprobs_of(own.answers, task), own.labels)
    side = StudentCalibration(
        offsets=fit.offsets,
        plain=_grade(own, golds, own_confidence),
        calibrated=_grade(moved, golds, confidence),
        abstention=wanted(fit, Decisions.of(moved.labels, golds, confidence)),
    )
    return side, moved


def _grade(evaluation: Evaluation, golds: Sequence[str], confidence: Floats) -> Grade:
    sure = np.nan_to_num(confidence, nan=0.0).tolist()
    right = [label == gold for label, gold in zip(evaluation.labels, golds, strict=True)]
    coverage, risk = risk_coverage(sure, right)
    points = np.unique(np.linspace(0, len(risk) - 1, CURVE_POINTS).round().astype(int))
    bins = (values.round(4).tolist() for values in reliability(sure, right))
    return Grade(
        score=evaluation.score,
        calibration_error=expected_calibration_error(sure, right),
        error_at_80=error_at(sure, right, coverage=COVERAGE),
        coverage=tuple(coverage[points].round(4).tolist()),
        risk=tuple(risk[points].round(4).tolist()),
        reliability=tuple(Bin(confidence=mean, accuracy=share, n=int(n)) for mean, share, n in zip(*bins, strict=True)),
    )
