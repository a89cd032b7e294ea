"""Compare a finished run's search with a plain one: every trial uses all validation examples, on the same rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy
from optuna import Study

from pld_dspy.errors import DataError
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import bar
from pld_dspy.scoring.difference import difference
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.storage import find_study, open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.search.trials import FinishedTrial
from pld_dspy.student.evaluator import Evaluation

from .run_student import RunStudent, change_text, score_text

STUDY = "plain_search.log"
HEADER = (
    "| search | calls | rules | validation | test macro-F1 | calibrated | PLD's search minus this one |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Winner:
    """The rules that a search chose, and the student's answers on test under them.

    Attributes:
        name: name of the search.
        calls: student calls that it could spend.
        rules: its choice; None for the unchanged student.
        validation: the objective that the search saw.
        own: the answers as they are.
        with_offsets: the answers as decided with offsets; None without log-probabilities.
    """

    name: str
    calls: int
    rules: RuleSet | None
    validation: float
    own: Evaluation
    with_offsets: Evaluation | None

    @property
    def decided(self) -> Evaluation:
        """The answers with offsets, if there are any; else the answers as they are."""
        return self.own if self.with_offsets is None else self.with_offsets


def plain_search(run: Path, times: Sequence[int]) -> str:
    """Search a finished run's rules again with TPE, every trial on all validation examples, and return a table.

    A trial's value is computed as in the run's own search: if the run calibrates, with offsets matched on validation.
    The trials are kept in the run folder, so that an interrupted search resumes. For all rows, offsets for the test
    examples are fitted on the validation answers alone.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        times: calls of the plain search, as multiples of those of the run's own search. A longer search continues a
            shorter one.

    Raises:
        DataError: the run's search made fewer calls than one plain trial takes.
    """
    with RunStudent.of(run) as student:
        result, folder = student.opened.result, student.opened.folder
        rules = find_study(folder.study, prefix=f"{folder.fingerprint}-")[1].rules
        spent = result.costs["student"]["search"].calls
        searched = result.rules if result.searched is None else result.searched
        rules_found = searched if len(searched) else None
        test = student.opened.examples(None)
        found = [_winner(student, test, "PLD", spent, rules_found, student.value(rules_found))]
        study = plain_study(folder)
        for factor in sorted(times):
            trials = factor * spent // len(student.val) - 2
            if trials < 1:
                raise DataError(
                    f"{run} searched with {spent} calls, too few for a plain search. Give a larger --times."
                )
            best = _best_trial(student, rules, study, trials)
            name = f"plain, {factor} times"
            found.append(_winner(student, test, name, factor * spent, best.rules, best.objective or 0.0))
        rows = list(_rows(student, test, found))
    return "\n".join(
        [HEADER, *rows, "", f"{len(test)} test examples, {len(student.val)} validation examples, {len(rules)} rules."]
    )


def plain_study(folder: RunFolder) -> Study:
    """Return the study of a run's plain searches, empty where there was none."""
    return open_study(folder.path / STUDY, name=f"plain-{folder.fingerprint}")


def _best_trial(student: RunStudent, rules: Sequence[Rule], study: Study, trials: int) -> FinishedTrial:
    """Continue the search up to ``trials`` trials after the first two, and return the best of them all.

    Trials beyond that, from a longer search, do not count. The first trial is the unchanged student, which is returned
    if none is better.
    """
    with bar("plain search", "trial", total=trials + 2) as shown_bar:
        search = RuleSearch(
            rules,
            student.evaluator,
            student.val,
            study=study,
            config=SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=trials),
            calibrated=student.opened.calibrated,
            seed=student.opened.spec.seed,
            on_trial=lambda _: shown_bar.update(),
        )
        shown_bar.update(len(search.trials))
        return max(search.run().trials[: trials + 2], key=lambda trial: trial.objective or 0.0)


def _winner(
    student: RunStudent, test: Sequence[dspy.Example], name: str, calls: int, rules: RuleSet | None, validation: float
) -> Winner:
    own = student.evaluate(rules, test)
    return Winner(
        name, calls, rules, validation, own, student.with_offsets(own, test, student.evaluate(rules, student.val))
    )


def _rows(student: RunStudent, test: Sequence[dspy.Example], found: Sequence[Winner]) -> Iterator[str]:
    task = student.opened.task
    golds = task.golds(test)
    ours = found[0]
    for one in found:
        calibrated = None if one.with_offsets is None else one.with_offsets.score
        gap = difference(golds, one.decided.labels, ours.decided.labels, task.labels)
        gained = "" if one is ours else change_text(gap.macro_f1, gap.interval)
        yield (
            f"| {one.name} | {one.calls:,} | {0 if one.rules is None else len(one.rules)} | {one.validation:.3f} "
            f"| {score_text(one.own.score)} | {score_text(calibrated)} | {gained} |"
        )
