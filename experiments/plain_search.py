"""The search of a finished run against a plain one that asks every set in full, on the same rules and examples."""

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
from pld_dspy.search.config import SearchConfig
from pld_dspy.search.storage import find_study, open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.search.trials import FinishedTrial
from pld_dspy.student.evaluator import Evaluation

from .asker import Asker, shown

STUDY = "plain_search.log"
HEADER = (
    "| search | calls | rules | validation | test macro-F1 | calibrated | PLD's search less this one |\n"
    "|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Winner:
    """What a search chose, and what it is worth on test.

    Attributes:
        name: of the search.
        calls: student calls that it was given.
        rules: its choice; None for the unchanged student.
        validation: what the choice was worth to the search.
        own, moved: answers to the test examples, as they are and with offsets; ``moved`` is None without offsets.
    """

    name: str
    calls: int
    rules: RuleSet | None
    validation: float
    own: Evaluation
    moved: Evaluation | None

    @property
    def decided(self) -> Evaluation:
        """The answers that count: with offsets where there are any."""
        return self.own if self.moved is None else self.moved


def plain_search(run: Path, times: Sequence[int]) -> str:
    """Search a finished run's rules again with TPE, every trial on all validation examples, and return a table.

    The plain search is told the value of each trial as the run's own search was: where the run calibrates, with offsets
    matched on validation. Its trials are kept in the run folder, so that it goes on where it was cut off. Offsets for
    test are fitted on the validation answers alone, for all rows alike.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``.
        times: calls of the plain search, in multiples of what the run's own search took; a search is the first part
            of a longer one.

    Raises:
        DataError: the run's search made fewer calls than one set in full takes.
    """
    with Asker.of(run) as asker:
        result, folder = asker.opened.result, asker.opened.folder
        _, rules = find_study(folder.study, prefix=folder.fingerprint)
        spent = result.costs["student"]["search"].calls
        searched = result.rules if result.searched is None else result.searched
        rules_found = searched if len(searched) else None
        test = asker.opened.examples(None)
        found = [_winner(asker, test, "PLD", spent, rules_found, asker.value(rules_found))]
        study = plain_study(folder)
        for factor in sorted(times):
            trials = factor * spent // len(asker.val) - 2
            if trials < 1:
                raise DataError(
                    f"{run} searched with {spent} calls, too few for a plain search. Give a larger --times."
                )
            best = _searched(asker, rules, study, trials)
            name = f"plain, {factor} times"
            found.append(_winner(asker, test, name, factor * spent, best.rules, best.objective or 0.0))
        rows = list(_rows(asker, test, found))
    return "\n".join(
        [HEADER, *rows, "", f"{len(test)} test examples, {len(asker.val)} validation ones, {len(rules)} rules."]
    )


def plain_study(folder: RunFolder) -> Study:
    """Return the study of a run's plain searches, empty where there was none."""
    return open_study(folder.path / STUDY, name=f"plain-{folder.fingerprint}")


def _searched(asker: Asker, rules: Sequence[Rule], study: Study, trials: int) -> FinishedTrial:
    """Search on until ``trials`` sets beyond the two guards were asked in full; return the best of these.

    That is the first, the unchanged student, where none is better. A study that went further has more of them.
    """
    with bar("plain search", "trial", total=trials + 2) as shown_bar:
        search = RuleSearch(
            rules,
            asker.evaluator,
            asker.val,
            study=study,
            config=SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=trials),
            calibrated=asker.opened.calibrated,
            seed=asker.opened.spec.seed,
            on_trial=lambda _: shown_bar.update(),
        )
        shown_bar.update(len(search.trials))
        return max(search.run().trials[: trials + 2], key=lambda trial: trial.objective or 0.0)


def _winner(
    asker: Asker, test: Sequence[dspy.Example], name: str, calls: int, rules: RuleSet | None, validation: float
) -> Winner:
    own = asker.ask(rules, test)
    return Winner(name, calls, rules, validation, own, asker.moved(own, test, asker.ask(rules, asker.val)))


def _rows(asker: Asker, test: Sequence[dspy.Example], found: Sequence[Winner]) -> Iterator[str]:
    task = asker.opened.task
    golds = task.golds(test)
    ours = found[0]
    for one in found:
        gap = difference(golds, one.decided.labels, ours.decided.labels, task.labels)
        gained = "" if one is ours else f"{gap.macro_f1:+.3f} [{gap.interval[0]:+.3f}, {gap.interval[1]:+.3f}]"
        yield (
            f"| {one.name} | {one.calls:,} | {0 if one.rules is None else len(one.rules)} | {one.validation:.3f} "
            f"| {shown(one.own.score)} | {'' if one.moved is None else shown(one.moved.score)} | {gained} |"
        )
