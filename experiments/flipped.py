"""What wrong training labels cost a real student's rules, and how much of it finding them recovers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import dspy
import numpy as np

from pld_dspy.audit.labels import suspects
from pld_dspy.cli.data_source import Program
from pld_dspy.errors import DataError
from pld_dspy.explain import explain
from pld_dspy.induce.induce import induce
from pld_dspy.induce.induce_config import InduceConfig, SuspectPolicy
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.connect import resolve_lm
from pld_dspy.rules import MicroRule, RuleSet
from pld_dspy.run.progress import bar
from pld_dspy.scoring.difference import difference
from pld_dspy.student.adapter import LabelAdapter, asking_for_logprobs
from pld_dspy.student.evaluator import Evaluation, Evaluator
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task, example_id
from pld_dspy.teacher.teacher import Teacher

from .label_noise import flip
from .run_student import change_text, score_text, with_offsets

STAGE = "asked"
ANSWERS = "answers.jsonl"
HEADER = (
    "| training labels | doubted | of them wrong | wrong ones doubted | rules | test macro-F1 | calibrated "
    "| less that of true labels |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Training:
    """Micro-rules of a training set, and how labels in doubt are treated.

    Attributes:
        name: shown in the table.
        micro_rules: one per example.
        suspects: the policy for labels in doubt.
        wrong: ids of the examples whose label was flipped.
    """

    name: str
    micro_rules: Sequence[MicroRule]
    suspects: SuspectPolicy = "keep"
    wrong: frozenset[str] = field(default_factory=frozenset)


def flipped(program: Program, rationales: Path, out: Path, *, student: str, teacher: str, seed: int) -> str:
    """Flip a tenth of the training labels to any other label, and return a table of test scores under the rules.

    The teacher explains the examples with a flipped label as if it were correct; the others keep their recorded
    micro-rules. Rules are induced without the teacher, once from the true labels and once per policy from the flipped
    ones. The student is tested under all of them, without a search, since a search would choose with true labels.
    Calibrated figures use offsets fitted on the validation examples. Answers are kept in ``out``, so that a second run
    makes only the calls that are missing.

    Args:
        program: a program with one predictor.
        rationales: recorded micro-rules of the training set.
        out: a folder for the answers of student and teacher.
        student: the student's model, as ``pld-dspy compile`` takes it.
        teacher: the teacher's model, likewise.
        seed: of the splits and of the flips.

    Raises:
        DataError: the program gives several labels at once, or a training example has no recorded micro-rule.
        ModelError: a model cannot be loaded.
    """
    recorded = read_jsonl(rationales, MicroRule)
    (_, splits), module = program.load(recorded, seed), program.student()
    task = Task.of(module, [*splits.train, *splits.val, *splits.test])
    if task.several:
        raise DataError(
            f"{program.module} may give several labels at once. Choose a program with one label per answer."
        )
    instructions = dict(module.named_predictors())[task.predictor].signature.instructions
    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(out / ANSWERS)
    with dspy.context(lm=resolve_lm(student, cache=False), adapter=LabelAdapter()):
        told = explain(splits.train, task, recorded=recorded).micro_rules
        if len(told) < len(splits.train):
            raise DataError(f"{rationales} explains {len(told)} of {len(splits.train)} training examples. Explain all.")
        doubtful = _flipped(splits.train, task, seed)
        lm = dspy.settings.lm if teacher == student else resolve_lm(teacher, cache=False)
        with bar("explain", "example", total=len(doubtful)) as progress:
            false = explain(
                doubtful,
                task,
                teacher=Teacher(task=instructions, lm=lm, ledger=ledger),
                on_answer=progress.update,
            ).micro_rules
        evaluator = Evaluator(student=module, task=task, ledger=ledger, adapter=asking_for_logprobs(None), seed=seed)
        rows = list(_rows(evaluator, splits, list(_trainings(told, false))))
    sizes = f"{len(splits.test)} test, {len(splits.val)} validation and {len(told)} training examples"
    return "\n".join([HEADER, *rows, "", f"{sizes}, of which {len(false)} had a wrong label, with an explanation."])


def _flipped(examples: Sequence[dspy.Example], task: Task, seed: int) -> list[dspy.Example]:
    """Return the examples whose label is flipped, with the wrong label."""
    given = np.array([task.labels.index(str(gold)) for gold in task.golds(examples)])
    numbers = flip(given, None, np.random.default_rng(seed))
    return [
        # The id as in the whole set, since rows of a part are counted from 0 again.
        examples[row].copy(**{"id": example_id(examples[row], row), task.label_field: task.labels[numbers[row]]})
        for row in np.flatnonzero(numbers != given).tolist()
    ]


def _trainings(told: Sequence[MicroRule], false: Sequence[MicroRule]) -> Iterator[Training]:
    wrong = {rule.example_id: rule for rule in false}
    mixed = [wrong.get(rule.example_id, rule) for rule in told]
    yield Training("true", told)
    for policy in get_args(SuspectPolicy):
        yield Training(f"a tenth flipped, suspects: {policy}", mixed, policy, frozenset(wrong))


def _rows(evaluator: Evaluator, splits: Splits, trainings: Sequence[Training]) -> Iterator[str]:
    task, first = evaluator.task, None
    golds = task.golds(splits.test)
    for one in trainings:
        doubted = [(suspect.example_id, suspect.label) for suspect in suspects(one.micro_rules, task)]
        induction = induce(one.micro_rules, task, doubted=doubted, config=InduceConfig(suspects=one.suspects))
        rules = RuleSet(rules=tuple(induction.rules))
        with bar(one.name, "call", total=len(splits.val) + len(splits.test)) as progress:
            on_val, on_test = (
                evaluator.evaluate(rules, examples, stage=STAGE, on_answer=progress.update)
                for examples in (splits.val, splits.test)
            )
        decided = with_offsets(evaluator, on_test, splits.test, on_val, splits.val)
        change = ""
        if first is not None:  # never compare answers with offsets to answers without
            pair = (first[1], decided) if first[1] is not None and decided is not None else (first[0], on_test)
            gap = difference(golds, pair[0].labels, pair[1].labels, task.labels)
            change = change_text(gap.macro_f1, gap.interval)
        first = first or (on_test, decided)
        yield _row(one, {name for name, _ in doubted}, len(induction.rules), on_test, decided, change)


def _row(one: Training, doubted: set[str], rules: int, own: Evaluation, decided: Evaluation | None, change: str) -> str:
    right = len(doubted & one.wrong)
    found = f"{right} | {right} of {len(one.wrong)}" if one.wrong else " | "
    return (
        f"| {one.name} | {len(doubted)} | {found} | {rules} | {score_text(own.score)} "
        f"| {score_text(None if decided is None else decided.score)} | {change} |"
    )
