"""What each stage of a finished compile is worth on test: all rules, those searched, those after the conflict loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scipy.stats import binomtest

from pld_dspy.evaluation import Evaluation
from pld_dspy.rules import RuleSet
from pld_dspy.scoring import Score, difference
from pld_dspy.search import find_study

from .asker import Asker, shown

HEADER = (
    "| student | rules | validation macro-F1 | test macro-F1 | above the unchanged student | calibrated | accuracy |\n"
    "|---|---|---|---|---|---|---|"
)


def stages(run: Path) -> str:
    """Ask the test examples under the rules of each stage, and return a table.

    All rules are those of the search's study in their first wordings, the most supported first: what Prompt-Level
    Distillation gives without a search. Calibrated figures are with offsets fitted for these rules on the validation
    examples alone. Answers that the compile has had cost nothing; intervals are 95% ones.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
    """
    with Asker.of(run) as asker:
        test = asker.opened.examples(None)
        task = asker.opened.task
        rows: list[str] = []
        unchanged: Evaluation | None = None
        for name, rules in _stages(asker):
            asked = rules if len(rules) else None
            on_val, on_test = (asker.ask(asked, examples) for examples in (asker.val, test))
            moved = asker.calibrated(on_test, test, on_val)
            unchanged = unchanged or on_test
            gap = difference(task.golds(test), unchanged.labels, on_test.labels, task.labels)
            gained = f"{gap.macro_f1:+.3f} [{gap.interval[0]:+.3f}, {gap.interval[1]:+.3f}], p = {gap.p_value:.4f}"
            rows.append(
                f"| {name} | {len(rules)} | {on_val.score.macro_f1:.3f} | {shown(on_test.score)} "
                f"| {gained if asked else ''} | {shown(moved)} | {_accuracy(on_test.score)} |"
            )
    return "\n".join([HEADER, *rows, "", _spent(asker, len(test))])


def _stages(asker: Asker) -> Iterator[tuple[str, RuleSet]]:
    result, folder = asker.opened.result, asker.opened.folder
    _, rules = find_study(folder.study, prefix=folder.fingerprint)
    yield "unchanged", RuleSet()
    yield "all rules", RuleSet(rules=tuple(rules))
    yield "searched", result.rules if result.searched is None else result.searched
    if result.searched is not None:
        yield "after the loop", result.rules


def _accuracy(score: Score) -> str:
    """Accuracy with its Wilson interval."""
    low, high = binomtest(round(score.accuracy * score.n), score.n).proportion_ci(method="wilson")
    return f"{score.accuracy:.3f} [{low:.3f}, {high:.3f}]"


def _spent(asker: Asker, n: int) -> str:
    result = asker.opened.result
    student = sum(cost.calls for stage, cost in result.costs["student"].items() if stage != "test")
    teacher = sum(cost.calls for cost in result.costs["teacher"].values())
    seconds = sum(spent for stage, spent in result.seconds.items() if stage not in ("test", "search_own_code"))
    patches = result.counts.get("patches")
    loop = "no loop" if patches is None else f"{patches} patches offered, {result.counts['patches_kept']} kept"
    return (
        f"{n} test examples, {len(asker.val)} validation ones. The compile took {student} student calls, {teacher} "
        f"teacher calls and {seconds:.0f} s before test; {loop}."
    )
