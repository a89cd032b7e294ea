"""The student of a finished run, called again under other rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dspy
import numpy as np

from pld_dspy.calibrate.fit_offsets import fit_offsets
from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.errors import DataError
from pld_dspy.rules import RuleSet
from pld_dspy.run.progress import bar
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.scoring.score import Score
from pld_dspy.student.evaluator import Evaluation, Evaluator, logprobs_of
from pld_dspy.student.redecide import objective_of, redecide
from pld_dspy.task.splits import stratified

STAGE = "asked again"


@dataclass(frozen=True)
class RunStudent:
    """A finished run's student under any of its rules; answers are kept with the run's own."""

    opened: FinishedRun
    evaluator: Evaluator
    val: list[dspy.Example]

    @classmethod
    @contextmanager
    def of(cls, run: Path) -> Iterator[RunStudent]:
        """Serve the run's student, with the ledger of its compile: answers from there cost nothing here."""
        opened = FinishedRun.open(run)
        with opened.opened(opened.spec.student.lm()) as context:
            yield cls(opened, context.evaluator, context.splits.val)

    def evaluate(self, rules: RuleSet | None, examples: Sequence[dspy.Example]) -> Evaluation:
        """Ask all of ``examples`` under ``rules``, with a progress bar, and score the answers."""
        with bar(STAGE, "call", total=len(examples)) as shown:
            return self.evaluator.evaluate(rules, examples, stage=STAGE, on_answer=shown.update)

    def value(self, rules: RuleSet | None) -> float:
        """Return the objective on validation as the run's search saw it: with matched offsets if it calibrates."""
        return objective_of(rules, self.val, self.evaluator, stage=STAGE, calibrated=self.opened.calibrated)

    def with_offsets(
        self, evaluation: Evaluation, examples: Sequence[dspy.Example], on_val: Evaluation
    ) -> Evaluation | None:
        """Return :func:`with_offsets` for the validation examples of the run."""
        return with_offsets(self.evaluator, evaluation, examples, on_val, self.val)


def on_same_test(runs: Sequence[Path]) -> list[FinishedRun]:
    """Open finished runs; DataError where one has no test split, or other labels or test examples than the first."""
    opened = [FinishedRun.open(run) for run in runs]
    data = [(one.result.labels, one.folder.settings()["data"].get("test")) for one in opened]
    for one, own in zip(opened, data, strict=True):
        if one.result.test is None or own != data[0]:
            raise DataError(
                f"{one.folder.path} has no test split, or other labels or test examples than {opened[0].folder.path}. "
                "Give finished runs on the same data."
            )
    return opened


def drawn_examples(opened: FinishedRun, size: int) -> list[dspy.Example]:
    """Return ``size`` test examples, stratified by label and drawn with the run's seed; all if there are fewer."""
    examples, rng = opened.examples(None), np.random.default_rng(opened.spec.seed)
    return [examples[row] for row in stratified(opened.task.strata(examples), size, rng)]


def with_offsets(
    evaluator: Evaluator,
    evaluation: Evaluation,
    examples: Sequence[dspy.Example],
    on_val: Evaluation,
    val: Sequence[dspy.Example],
) -> Evaluation | None:
    """Return an evaluation as decided with offsets that are fitted on validation answers alone.

    Args:
        evaluator: the student.
        evaluation: its answers to ``examples``.
        examples: n labelled examples.
        on_val: its answers to ``val`` under the same rules.
        val: the validation examples.

    Returns:
        None without log-probabilities; if offsets do not pay, the evaluation as it is.
    """
    task = evaluator.task
    logprobs = logprobs_of(on_val.answers, task)
    if np.isnan(logprobs).any():
        return None
    fitted = fit_offsets(logprobs, task.golds(val), task.labels, answers=on_val.labels)
    answers = redecide(evaluation.answers, fitted or Offsets.none(task.labels), evaluator)
    return evaluator.scored(examples, answers)


def per_call(evaluation: Evaluation) -> dict[str, float]:
    """Return medians without the first call, in which the server reads the prompt that all calls share."""
    rest = evaluation.answers[1:] or evaluation.answers
    return {
        "seconds_per_call": float(np.median([answer.seconds for answer in rest])),
        "prompt_tokens": float(np.median([answer.tokens_in for answer in rest])),
        "answer_tokens": float(np.median([answer.tokens_out for answer in rest])),
    }


def change_text(value: float, interval: tuple[float, float], p_value: float | None = None) -> str:
    """Return a difference, its interval and, if given, its p-value as a table cell."""
    p = "" if p_value is None else ", p < 0.001" if p_value < 0.001 else f", p = {p_value:.4f}"
    return f"{value:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]{p}"


def score_text(score: Score | None) -> str:
    """Return macro-F1 and its interval as a table cell; empty without a score."""
    return "" if score is None else f"{score.macro_f1:.3f} [{score.interval[0]:.3f}, {score.interval[1]:.3f}]"
