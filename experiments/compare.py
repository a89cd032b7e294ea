"""Two finished runs on the same test examples, paired; and several such pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.errors import DataError, RunError
from pld_dspy.scoring.difference import Difference, difference
from pld_dspy.student.evaluator import Evaluation
from pld_dspy.student.redecide import redecide

from .classifiers import mean_text
from .run_student import on_same_test, score_text

HEADER = "| first | second | by | first, test macro-F1 | second | second less first |\n|---|---|---|---|---|---|"
RULES, WHOLE = "rules", "as the program answers"


def compare(runs: Sequence[Path]) -> str:
    """Return a table of pairs of runs: by their rules alone, with offsets if calibrated, and as their programs answer.

    No call is made. With several pairs, the last lines are mean differences over these.

    Args:
        runs: the first and the second run of each pair in turn, on the same test examples.

    Raises:
        DataError: the number of runs is odd, or the two of a pair have no test split, or not the same.
        RunError: a folder holds no finished run, or not all answers to its test examples.
    """
    if not runs or len(runs) % 2:
        raise DataError(f"The number of run folders is {len(runs)}. Give two, or several pairs.")
    rows, gains = [HEADER], defaultdict[str, list[Difference]](list)
    pairs = iter(runs)
    while pair := tuple(islice(pairs, 2)):
        one, other = on_same_test(pair)
        (golds, first), (_, second) = _answered(one), _answered(other)
        for way in (RULES, WHOLE):
            gain = difference(golds, first[way].labels, second[way].labels, one.task.labels)
            gains[way].append(gain)
            scores = f"{score_text(first[way].score)} | {score_text(second[way].score)}"
            rows.append(f"| {pair[0].name} | {pair[1].name} | {way} | {scores} | {gain.short} |")
    if len(runs) > 2:
        rows += [f"| mean of {len(found)} | | {way} | | | {mean_text(found)} |" for way, found in gains.items()]
    return "\n".join(rows)


def _answered(opened: FinishedRun) -> tuple[list[str], dict[str, Evaluation]]:
    """Return the gold labels of the test examples, and the run's answers to them in both ways."""
    with opened.opened() as context:
        test, evaluator, rules = context.splits.test, context.evaluator, opened.result.rules or None
        whole = opened.kept(context, "test")
        if whole is None or evaluator.unanswered(rules, test):
            raise RunError(f"{opened.folder.path} does not hold all answers to its test examples. Compile it again.")
        answers = evaluator.answers(rules, test, stage="compare")
        if opened.result.calibration is not None:
            answers = redecide(answers, opened.result.calibration.compiled.offsets, evaluator)
        return opened.task.golds(test), {RULES: evaluator.scored(test, answers), WHOLE: whole}
