"""Test scores after each stage of a finished compile: all rules, the searched ones, those after resolving.

They are kept in stages.json, for commands that call no student themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import dspy
from pydantic import ValidationError
from scipy.stats import binomtest

from pld_dspy.errors import RunError, Stored
from pld_dspy.ledger.jsonl import write_whole
from pld_dspy.ledger.keys import digest
from pld_dspy.rules import RuleSet
from pld_dspy.run.result import OWN_CODE, PLDResult
from pld_dspy.scoring.difference import Difference, difference
from pld_dspy.scoring.score import Score
from pld_dspy.search.storage import find_study
from pld_dspy.student.evaluator import Evaluation

from .run_student import RunStudent, change_text, score_text

FILE = "stages.json"
COMMAND = "python -m experiments stages"
UNCHANGED, ALL, REWORDED, EXTRACTED, EXTRACTED_REWORDED, SEARCHED, LOOP = (
    "unchanged",
    "all rules",
    "all rules, reworded",
    "extracted rules",
    "extracted rules, reworded",
    "searched",
    "after the loop",
)
CHOICE, WORDINGS, ORDER = "its choice alone", "its wordings alone", "its order alone"
"""Of the searched rules; the rest is as in all rules."""
WHOLE = {
    "all rules": ALL,
    "reworded": REWORDED,
    "extracted rules": EXTRACTED,
    "extracted reworded": EXTRACTED_REWORDED,
}
HEADER = (
    "| student | rules | validation macro-F1 | test macro-F1 | above the unchanged student | calibrated | accuracy "
    "| above the unchanged student's |\n|---|---|---|---|---|---|---|---|"
)


class Stage(Stored):
    """The student under the rules of one stage.

    Attributes:
        name: one of the ten above; there are extracted rules where the others are a teacher's.
        rules: number of rules.
        validation, test: scores of its own answers.
        difference: on test, this stage minus the unchanged student; None without rules.
        calibrated: on test, with offsets fitted on the validation answers alone; None without log-probabilities.
    """

    name: str
    rules: int
    validation: Score
    test: Score
    difference: Difference | None = None
    calibrated: Score | None = None


class Stages(Stored):
    """The stages of one run, in order.

    Attributes:
        outcome: digest of the rules and scores in the run's result.json, to which these stages belong.
        stages: the unchanged student first.
    """

    outcome: str
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, result: PLDResult, stages: tuple[Stage, ...]) -> Stages:
        """Return the stages of the run with that result."""
        return cls(outcome=_outcome(result), stages=stages)

    def test(self, name: str) -> Score | None:
        """Return the test score of a stage; None if the run has no such stage."""
        return next((stage.test for stage in self.stages if stage.name == name), None)

    def calibrated(self, name: str) -> Score | None:
        """Return the test score of a stage with offsets from validation alone, if it has one."""
        return next((stage.calibrated for stage in self.stages if stage.name == name), None)

    def save(self, run: Path) -> Path:
        """Write stages.json into the run folder, whole or not at all."""
        path = run / FILE
        write_whole(path, self.model_dump_json(indent=2) + "\n")
        return path

    @classmethod
    def load(cls, run: Path, result: PLDResult) -> Stages | None:
        """Read stages.json of a run folder.

        Args:
            run: the folder.
            result: its result.

        Returns:
            None if there is no file, or if it is older than the folder's compile.

        Raises:
            RunError: the file is damaged.
        """
        path = run / FILE
        if not path.is_file():
            return None
        try:
            found = cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}. Run {COMMAND} {run} again.") from error
        return found if found.outcome == _outcome(result) else None


def stages(run: Path, *, parts: bool = False) -> str:
    """Score the test examples under the rules of each stage, write stages.json, and return a table.

    "All rules" are those of the search's study in their first wordings, the most supported first: the result of
    Prompt-Level Distillation without a search. "Reworded", they have their second wordings, which the search also
    tries before it chooses anything. Calibrated figures use offsets fitted for these rules on the validation examples
    alone. Answers from the compile cost nothing; intervals are 95% intervals.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        parts: score what the search chose in parts, too: which rules, their wordings, and their order, each alone.
    """
    with RunStudent.of(run) as student:
        test = student.opened.examples(None)
        found = tuple(_stages(student, test, parts=parts))
    Stages.of(student.opened.result, found).save(run)
    return "\n".join([HEADER, *(_row(stage) for stage in found), "", _spent(student, len(test))])


def _stages(student: RunStudent, test: Sequence[dspy.Example], *, parts: bool) -> Iterator[Stage]:
    task = student.opened.task
    unchanged: Evaluation | None = None
    for name, rules in _rule_sets(student, parts=parts):
        asked = rules if len(rules) else None
        on_val, on_test = (student.evaluate(asked, examples) for examples in (student.val, test))
        unchanged = unchanged or on_test
        calibrated = student.with_offsets(on_test, test, on_val)
        gap = difference(task.golds(test), unchanged.labels, on_test.labels, task.labels) if asked else None
        yield Stage(
            name=name,
            rules=len(rules),
            validation=on_val.score,
            test=on_test.score,
            difference=gap,
            calibrated=None if calibrated is None else calibrated.score,
        )


def _rule_sets(student: RunStudent, *, parts: bool) -> Iterator[tuple[str, RuleSet]]:
    result, folder = student.opened.result, student.opened.folder
    _, space = find_study(folder.study, prefix=f"{folder.fingerprint}-")
    yield UNCHANGED, RuleSet()
    yield from ((WHOLE[kind], space.rule_set(candidate)) for kind, candidate in space.whole_lists.items())
    searched = result.rules if result.searched is None else result.searched
    yield SEARCHED, searched
    if parts:
        yield from _parts(searched, space.rule_set(space.all()))
    if result.searched is not None:
        yield LOOP, result.rules


def _parts(searched: RuleSet, everything: RuleSet) -> Iterator[tuple[str, RuleSet]]:
    """Yield all rules in their first wordings, each time with one part of what the search chose."""
    chosen, first = ({rule.id: rule for rule in rules.rules} for rules in (searched, everything))
    yield CHOICE, RuleSet(rules=tuple(rule for name, rule in first.items() if name in chosen))
    yield WORDINGS, RuleSet(rules=tuple(chosen.get(name, rule) for name, rule in first.items()))
    yield ORDER, RuleSet(rules=tuple(first[name] for name in dict.fromkeys([*chosen, *first])))


def _row(stage: Stage) -> str:
    gap, gained, more_right = stage.difference, "", ""
    if gap is not None:
        gained = change_text(gap.macro_f1, gap.interval, gap.p_value)
        more_right = change_text(gap.accuracy.value, gap.accuracy.interval, gap.accuracy.p_value)
    return (
        f"| {stage.name} | {stage.rules} | {stage.validation.macro_f1:.3f} | {score_text(stage.test)} | {gained} "
        f"| {score_text(stage.calibrated)} | {_accuracy(stage.test)} | {more_right} |"
    )


def _accuracy(score: Score) -> str:
    """Return accuracy with its Wilson interval."""
    low, high = binomtest(round(score.accuracy * score.n), score.n).proportion_ci(method="wilson")
    return f"{score.accuracy:.3f} [{low:.3f}, {high:.3f}]"


def _spent(student: RunStudent, n: int) -> str:
    result = student.opened.result
    student_calls = sum(cost.calls for stage, cost in result.costs["student"].items() if stage != "test")
    teacher = sum(cost.calls for cost in result.costs["teacher"].values())
    seconds = sum(spent for stage, spent in result.seconds.items() if stage not in ("test", OWN_CODE))
    patches = result.counts.get("patches")
    loop = "no loop" if patches is None else f"{patches} changes proposed, {result.counts['patches_kept']} chosen"
    return (
        f"{n} test examples, {len(student.val)} validation examples. The compile took {student_calls} student calls, "
        f"{teacher} teacher calls and {seconds:.0f} s before the test; {loop}."
    )


def _outcome(result: PLDResult) -> str:
    return digest(result.model_dump(mode="json", include={"rules", "bench", "searched", "validation", "test"}))
