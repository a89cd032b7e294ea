"""Make a table from a finished run: of the rule sets that its searches scored on all validation examples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from optuna import Study
from optuna.trial import TrialState

from pld_dspy.cli.finished_run import FinishedRun
from pld_dspy.errors import DataError
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.search.space import Space
from pld_dspy.search.storage import find_study
from pld_dspy.search.trials import FinishedTrial, asked_in_full

from ..plain_search import STUDY, plain_study
from ..run_student import RunStudent, drawn_examples
from ..stages import WHOLE
from .table import Header, extend

logger = logging.getLogger(__name__)

GUARDS = ("baseline", *WHOLE)
"""The kinds of trial that a search begins with; extracted rules are a list of their own beside a teacher's alone."""

Named = tuple[str, RuleSet]
"""(kind, as in a table's candidates; rules)."""


def collect_run(run: Path, path: Path, *, test: int, candidates: int) -> None:
    """Score fully evaluated rule sets of a run's own search and of its plain search on some test examples too.

    Their validation answers come from the run's ledger, and test answers are kept there: no call is repeated. A table
    holds answers without offsets, even if the run calibrates.

    Args:
        run: a run folder made by ``pld-dspy compile`` or ``pld-dspy demo``; ``python -m experiments plain`` adds sets.
        path: the table to make or to continue.
        test: number of test examples, stratified by label and drawn with the run's seed; all if there are fewer.
        candidates: most rule sets, guards included.

    Raises:
        DataError: the run evaluated the guards alone in full, has no test split, or has several labels per answer.
        RunError: there is no finished run in the folder, or the file is a table of something else.
    """
    with RunStudent.of(run) as student:
        opened = student.opened
        if opened.task.several:
            raise DataError(
                f"{run} decides for several labels at once, and a table holds one label per answer. Give another run."
            )
        rules, sets = _asked_in_full(opened)
        chosen = spread(sets, candidates)
        if len(chosen) == len(_guards(sets)):
            raise DataError(
                f"{run} asked no rule set in full but the {len(chosen)} guards. Add some first: "
                f"python -m experiments plain {run}."
            )
        drawn = drawn_examples(opened, test)
        logger.info("%d rule sets, %d validation and %d test examples", len(chosen), len(student.val), len(drawn))
        extend(
            path,
            Header.of(opened.spec.student.spec, opened.task, rules, student.val, drawn),
            chosen,
            lambda one: (student.evaluate(one, student.val).labels, student.evaluate(one, drawn).labels),
        )


def spread(sets: Sequence[Named], most: int) -> list[Named]:
    """Return the guards and as many others as ``most`` allows, at even distances in the order of the search.

    A search's sets get better with time: the first ones alone would all be poor, the last ones much alike.
    """
    guards = _guards(sets)
    others = [one for one in sets if one[0] != "guard"]
    places = np.linspace(0, len(others) - 1, min(most - len(guards), len(others))).round().astype(int)
    return [*guards, *(others[place] for place in places)]


def _guards(sets: Sequence[Named]) -> list[Named]:
    return [one for one in sets if one[0] == "guard"]


def _asked_in_full(opened: FinishedRun) -> tuple[list[Rule], list[Named]]:
    """Return the rules that a run searched, and its fully evaluated rule sets, each once, in the search's order."""
    folder = opened.folder
    study, space = find_study(folder.study, prefix=f"{folder.fingerprint}-")
    rows = _rows(study, space)
    if (folder.path / STUDY).is_file():
        rows += _rows(plain_study(folder), Space(space.rules))
    found: dict[str, Named] = {}
    for row in rows:
        chosen = row.rules or RuleSet()
        found.setdefault(chosen.digest, ("guard" if row.kind in GUARDS else "searched", chosen))
    return list(space.rules), list(found.values())


def _rows(study: Study, space: Space) -> list[FinishedTrial]:
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return asked_in_full([FinishedTrial.decode(trial, space) for trial in finished])
