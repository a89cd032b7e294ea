"""Two finished runs on the same test examples, paired; and several such pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.errors import DataError, RunError
from pld_dspy.scoring.difference import Difference, difference
from pld_dspy.student.evaluator import Evaluation
from pld_dspy.student.redecide import redecide

from .classifiers import mean_text
from .run_student import score_text

HEADER = "| first | second | by | first, test macro-F1 | second | second less first |\n|---|---|---|---|---|---|"
RULES, WHOLE = "rules", "as the program answers"


def compare(runs: Sequence[Path]) -> str:
    """Return a table of pairs of runs: by their rules alone, with offsets if calibrated, and as their programs answer.

    No call is made. With several pairs, the last lines are mean differences over these.

    Args:
        runs: the first and the second run of each pair in turn, on the same test examples.

    Raises:
        DataError: the number of runs is odd, a run has no test set, or the two of a pair have another.
        RunError: a folder holds no finished run, or not all answers to its test examples.
    """
    if not runs or len(runs) % 2:
        raise DataError(f"The number of run folders is {len(runs)}. Give two, or several pairs.")
    rows, gains = [HEADER], defaultdict[str, list[Difference]](list)
    pairs = iter(runs)
    while pair := tuple(islice(pairs, 2)):
        (one, first), (other, second) = ((FinishedRun.open(run), dict(_answered(run))) for run in pair)
        golds = one.task.golds(one.examples(None))
        if golds != other.task.golds(other.examples(None)):
            raise DataError(f"{pair[0]} and {pair[1]} have other test examples. Give runs with the same seed and data.")
        for way in (RULES, WHOLE):
            gain = difference(golds, first[way].labels, second[way].labels, one.task.labels)
            gains[way].append(gain)
            scores = f"{score_text(first[way].score)} | {score_text(second[way].score)}"
            rows.append(f"| {pair[0].name} | {pair[1].name} | {way} | {scores} | {gain.short} |")
    if len(runs) > 2:
        rows += [f"| mean of {len(found)} | | {way} | | | {mean_text(found)} |" for way, found in gains.items()]
    return "\n".join(rows)


def _answered(run: Path) -> Iterator[tuple[str, Evaluation]]:
    opened = FinishedRun.open(run)
    with opened.opened() as context:
        test, evaluator, rules = context.splits.test, context.evaluator, opened.result.rules or None
        whole = opened.kept(context, "test")
        if whole is None or evaluator.unanswered(rules, test):
            raise RunError(f"{run} has no test set, or not all answers to it. Compile it again, with a test set.")
        answers = evaluator.answers(rules, test, stage="compare")
        if opened.result.calibration is not None:
            answers = redecide(answers, opened.result.calibration.compiled.offsets, evaluator)
        yield RULES, evaluator.scored(test, answers)
        yield WHOLE, whole
