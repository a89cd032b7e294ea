"""What a cell's program does on test: both objectives with intervals, seconds and tokens a call."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import dspy
import numpy as np
from scipy.stats import binomtest

from pld_dspy.ledger.ledger import Ledger
from pld_dspy.run.progress import bar
from pld_dspy.scoring.objective import Objective
from pld_dspy.scoring.score import Score
from pld_dspy.student.evaluator import Evaluation, Evaluator
from pld_dspy.task.task import Task

from .config import Cell

logger = logging.getLogger(__name__)


def figures_on_test(cell: Cell, program: dspy.Module, task: Task, testset: Sequence[dspy.Example]) -> dict[str, float]:
    """Ask a cell's program all test examples, and return what its MLflow run records of that.

    Args:
        cell: whose folder keeps the answers: what was asked before an interruption is not asked again.
        program: what the cell's optimizer made.
        task: the labelled decision.
        testset: labelled examples, none of which the optimizer saw.
    """
    # Shared: equal prompts of two cells are asked once. An answer keeps the seconds that it took when it was asked.
    ledger = Ledger(cell.folder.parent / "test.jsonl")
    evaluator = Evaluator(
        student=program, task=task, ledger=ledger, objective=Objective(cell.experiment.objective), seed=cell.seed
    )
    with bar("test", "answer", total=len(testset)) as progress:
        evaluation = evaluator.evaluate(None, testset, stage="test", on_answer=progress.update)
    metrics = {**_scores(evaluation.score), **_per_call(evaluation)}
    figures = (cell.experiment.objective, evaluation.score.objective, metrics["seconds_per_call"])
    logger.info("%s: test %s %.3f, %.3f s a call", cell, *figures)
    return metrics


def _scores(score: Score) -> dict[str, float]:
    """Both objectives with 95% intervals: of macro-F1 by bootstrap, of accuracy by Wilson's score."""
    low, high = score.interval
    right = binomtest(round(score.accuracy * score.n), score.n).proportion_ci(method="wilson")
    return {
        "test_macro_f1": score.macro_f1,
        "test_macro_f1_low": low,
        "test_macro_f1_high": high,
        "test_accuracy": score.accuracy,
        "test_accuracy_low": float(right.low),
        "test_accuracy_high": float(right.high),
        "test_n": score.n,
        "test_failures": score.failures,
    }


def _per_call(evaluation: Evaluation) -> dict[str, float]:
    """Medians after the first call, which reads the shared prompt for all."""
    rest = evaluation.answers[1:] or evaluation.answers
    return {
        "seconds_per_call": float(np.median([answer.seconds for answer in rest])),
        "prompt_tokens": float(np.median([answer.tokens_in for answer in rest])),
        "answer_tokens": float(np.median([answer.tokens_out for answer in rest])),
    }
