"""What each stage of a finished compile is worth on test: all rules, those searched, those after the conflict loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import dspy
from scipy.stats import binomtest

from pld_dspy.rules import RuleSet
from pld_dspy.run.result import OWN_CODE
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.score import Score
from pld_dspy.search.space import Space
from pld_dspy.search.storage import find_study
from pld_dspy.student.evaluator import Evaluation

from .asker import Asker, shown
from .staged import ALL, LOOP, REWORDED, SEARCHED, UNCHANGED, Stage, Stages

HEADER = (
    "| student | rules | validation macro-F1 | test macro-F1 | above the unchanged student | calibrated | accuracy "
    "| above the unchanged student's |\n|---|---|---|---|---|---|---|---|"
)


def stages(run: Path) -> str:
    """Ask the test examples under the rules of each stage, leave stages.json in the run folder, and return a table.

    All rules are those of the search's study in their first wordings, the most supported first: what Prompt-Level
    Distillation gives without a search. Reworded, they stand in their second wordings: what the search asks before it
    chooses anything. Calibrated figures are with offsets fitted for these rules on the validation examples alone.
    Answers that the compile has had cost nothing; intervals are 95% ones.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
    """
    with Asker.of(run) as asker:
        test = asker.opened.examples(None)
        found = tuple(_asked(asker, test))
    Stages.of(asker.opened.result, found).save(run)
    return "\n".join([HEADER, *(_row(stage) for stage in found), "", _spent(asker, len(test))])


def _asked(asker: Asker, test: Sequence[dspy.Example]) -> Iterator[Stage]:
    task = asker.opened.task
    unchanged: Evaluation | None = None
    for name, rules in _rule_sets(asker):
        asked = rules if len(rules) else None
        on_val, on_test = (asker.ask(asked, examples) for examples in (asker.val, test))
        unchanged = unchanged or on_test
        gap = difference(task.golds(test), unchanged.labels, on_test.labels, task.labels) if asked else None
        yield Stage(
            name=name,
            rules=len(rules),
            validation=on_val.score,
            test=on_test.score,
            difference=gap,
            calibrated=asker.calibrated(on_test, test, on_val),
        )


def _rule_sets(asker: Asker) -> Iterator[tuple[str, RuleSet]]:
    result, folder = asker.opened.result, asker.opened.folder
    _, rules = find_study(folder.study, prefix=folder.fingerprint)
    yield UNCHANGED, RuleSet()
    space = Space(tuple(rules))
    yield ALL, space.rule_set(space.all())
    if space.wordings > 1:
        yield REWORDED, space.rule_set(space.all(wording=1))
    yield SEARCHED, result.rules if result.searched is None else result.searched
    if result.searched is not None:
        yield LOOP, result.rules


def _row(stage: Stage) -> str:
    gap, gained, more_right = stage.difference, "", ""
    if gap is not None:
        gained = f"{gap.macro_f1:+.3f} [{gap.interval[0]:+.3f}, {gap.interval[1]:+.3f}], p = {gap.p_value:.4f}"
        if (right := gap.accuracy) is not None:
            more_right = (
                f"{right.value:+.3f} [{right.interval[0]:+.3f}, {right.interval[1]:+.3f}], p = {right.p_value:.4f}"
            )
    return (
        f"| {stage.name} | {stage.rules} | {stage.validation.macro_f1:.3f} | {shown(stage.test)} | {gained} "
        f"| {shown(stage.calibrated)} | {_accuracy(stage.test)} | {more_right} |"
    )


def _accuracy(score: Score) -> str:
    """Accuracy with its Wilson interval."""
    low, high = binomtest(round(score.accuracy * score.n), score.n).proportion_ci(method="wilson")
    return f"{score.accuracy:.3f} [{low:.3f}, {high:.3f}]"


def _spent(asker: Asker, n: int) -> str:
    result = asker.opened.result
    student = sum(cost.calls for stage, cost in result.costs["student"].items() if stage != "test")
    teacher = sum(cost.calls for cost in result.costs["teacher"].values())
    seconds = sum(spent for stage, spent in result.seconds.items() if stage not in ("test", OWN_CODE))
    patches = result.counts.get("patches")
    loop = "no loop" if patches is None else f"{patches} patches offered, {result.counts['patches_kept']} kept"
    return (
        f"{n} test examples, {len(asker.val)} validation ones. The compile took {student} student calls, {teacher} "
        f"teacher calls and {seconds:.0f} s before test; {loop}."
    )
