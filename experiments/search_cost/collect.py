"""Collect a table: a real student's answers to all validation and test examples under random and searched rule sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dspy
import numpy as np

from pld_dspy.errors import DataError
from pld_dspy.induce.induce import induce
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.connect import resolve_lm
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.storage import open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.student.predictor_inputs import Reader
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task

from ..config import Experiment
from .space import random_set
from .table import Header, extend

MOST = 12
"""Most rules in a random candidate."""


def collect_table(experiment: Experiment, path: Path, *, random: int, searched: int) -> None:
    """Collect a table with the program, data, rationales and student of an experiment.

    Args:
        experiment: its optimizers, budget and tracking are ignored; its first seed decides every random choice.
        path: the table; the student's answers and the search's study are kept next to it, for resuming.
        random: random candidates.
        searched: trials of a search; their rule sets become candidates too.

    Raises:
        DataError: the experiment has no rationales to make rules from.
        RunError: the file is a table of another student, other rules or other examples.
    """
    seed, micro_rules = experiment.seeds[0], experiment.micro_rules()
    splits = experiment.module.load(experiment.data, rationales=micro_rules, seed=seed)
    student = experiment.module.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    if not micro_rules:
        raise DataError(f"The experiment {experiment.name!r} has no rationales to make rules from. Give some.")
    reader = Reader(student, task)
    reads = {str(one.id): reader.inputs(one) for one in splits.train if one.get("id") is not None}
    rules = induce(micro_rules, task, reads=reads).rules
    evaluator = Evaluator(
        student=student,
        task=task,
        ledger=Ledger(path.with_suffix(".answers.jsonl")),
        lm=resolve_lm(experiment.student),
        adapter=LabelAdapter() if experiment.adapter == "label" else dspy.ChatAdapter(),
        seed=seed,
    )
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    collect(evaluator, rules, splits, path, random=random, searched=searched, seed=seed)


def collect(
    evaluator: Evaluator, rules: list[Rule], splits: Splits, path: Path, *, random: int, searched: int, seed: int
) -> None:
    """Collect a table, candidate by candidate; a killed collection resumes.

    Args:
        evaluator: the student; a resumed collection reads answers from its ledger's file.
        rules: candidates are sets of these.
        splits: training examples are the rules' support; candidates answer all validation and test examples.
        path: the table.
        random: random candidates.
        searched: trials of a search; their rule sets become candidates too.
        seed: of every random choice.

    Raises:
        RunError: the file is a table of another student, other rules or other examples.
    """
    student = str(getattr(evaluator.lm, "model", ""))
    header = Header.of(student, evaluator.task, rules, splits.val, splits.test)

    def ask(candidate: RuleSet) -> tuple[list[str | None], list[str | None]]:
        validation = evaluator.labels(candidate, splits.val, stage="search")
        return validation, evaluator.labels(candidate, splits.test, stage="test")

    extend(path, header, _candidates(evaluator, rules, splits, path, random, searched, seed), ask)


def _candidates(
    evaluator: Evaluator, rules: list[Rule], splits: Splits, path: Path, random: int, searched: int, seed: int
) -> Iterator[tuple[str, RuleSet]]:
    """Yield the guards, random sets, and the sets of a search, which sees validation examples only."""
    yield "guard", RuleSet()
    yield "guard", RuleSet(rules=tuple(rules))
    rng = np.random.default_rng(seed)
    for _ in range(random):
        yield "random", random_set(rules, rng, MOST)
    if not searched:
        return
    found = RuleSearch(
        rules,
        evaluator,
        splits.val,
        study=open_study(path.with_suffix(".study.log")),
        config=SearchConfig(trials=searched),
        seed=seed,
    ).run()
    for trial in found.trials:
        if trial.kind != "screen" and trial.rules is not None:
            yield "searched", trial.rules
