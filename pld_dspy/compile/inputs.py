"""The checks of a compile's inputs: all that can be checked without a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, get_args

import dspy

from ..errors import DataError
from ..explain import match_records
from ..induce.induce_config import InduceConfig
from ..ledger.jsonl import read_jsonl
from ..ledger.keys import lm_of
from ..local.embedding import EmbedderChoice, embedder_of
from ..local.lm import LocalLM
from ..resolve.resolve_config import ResolveConfig
from ..rules import MicroRule, strip_rules
from ..search.search_config import SearchConfig
from ..student.predictor_inputs import Reader
from ..task.checks import check_examples, check_training_labels
from ..task.program_inputs import check_program
from ..task.shared import Duplicates, without_shared
from ..task.splits import Splits
from ..task.task import Task, set_aside
from ..teacher.teacher import Teacher, TeacherLike
from .auto import Auto, expected_rules, settle
from .context import CompileContext
from .policy import Policy, PolicyLike
from .source_run import SourceRun

Rationales: TypeAlias = Sequence[MicroRule] | Path | str | None


def check_settings(pld: Mapping[str, Any]) -> None:
    """Raise DataError if a setting among the attributes of a PLD is out of range, or lacks one that it needs."""
    error_rate, precedents, calibrate = pld["error_rate"], pld["precedents"], pld["calibrate"]
    if error_rate is not None and not 0.0 < error_rate < 1.0:
        raise DataError(f"error_rate={error_rate} is out of range. Give one over 0 and under 1.")
    if precedents < 0 or (precedents and not calibrate):
        raise DataError(
            f"precedents={precedents} is how many labelled examples a calibrated decision cites. Give 0, or more "
            "with calibrate=True (--calibrate)."
        )
    if error_rate is not None and not calibrate:
        raise DataError(
            f"error_rate={error_rate} needs confidences, and calibrate is off. Turn it on (calibrate=True, "
            "--calibrate), or leave out the error rate."
        )
    if pld["patience"] < 0:
        raise DataError(f"patience={pld['patience']} is out of range. Give seconds, from 0.")
    if (duplicates := pld["duplicates"]) not in get_args(Duplicates):
        raise DataError(f"duplicates={duplicates!r} is unknown. Give one of {', '.join(get_args(Duplicates))}.")
    if (auto := pld["auto"]) not in (None, *get_args(Auto)):
        raise DataError(f"auto={auto!r} is unknown. Give one of {', '.join(get_args(Auto))}, or None.")
    if (source := pld["rules_of"]) and pld["run_dir"] and Path(source).resolve() == Path(pld["run_dir"]).resolve():
        raise DataError(f"The rules of {source} are to be chosen among in that folder itself. Give another run folder.")
    embedder_of(pld["embedder"])


def check_inputs(
    student: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example] | None = None,
    testset: Sequence[dspy.Example] | None = None,
    teacher: TeacherLike = None,
    rationales: Rationales = None,
    rules: PolicyLike = None,
    rules_of: Path | str | None = None,
    target: str | None = None,
    duplicates: Duplicates = "refuse",
    context_tokens: int | None = None,
    embedder: EmbedderChoice = "auto",
    auto: Auto | None = None,
    search: SearchConfig | None = None,
    resolve: ResolveConfig | None = None,
    seed: int = 0,
) -> CompileContext:
    """Return the context of a compile, after every check that needs no call; arguments as those of ``PLD``."""
    if not isinstance(student, dspy.Module):
        raise DataError(f"The student is a {type(student).__name__}. Give a dspy.Module, such as dspy.Predict(...).")
    lm = lm_of(student, dspy.settings.lm)
    context_tokens = context_tokens or (lm.context_tokens if isinstance(lm, LocalLM) else None)
    train = list(trainset)
    source, new = None if rules_of is None else _source(rules_of, rules), list[dspy.Example]()
    rules = rules if source is None else source.folder.rules
    task = Task.of(student, [*train, *(valset or ()), *(testset or ())] if train else [], target=target)
    check_program(student, task.inputs)
    reader = Reader(student, task)
    splits, notes = _checked_splits(
        task, reader, train, valset, testset, duplicates=duplicates, context_tokens=context_tokens, seed=seed
    )
    if source is not None and not (new := source.new_examples(splits, task.labels, duplicates)):
        teacher, rationales = None, source.folder.micro_rules
    instructions = strip_rules(dict(student.named_predictors())[task.predictor].signature.instructions)
    asked = Teacher.of(teacher, task=instructions)
    search, expected = (search or SearchConfig()).on(len(splits.val)), expected_rules(task, new or splits.train)
    search, resolve = settle(auto, search, resolve, rules=expected, has_teacher=asked is not None)
    context = CompileContext(
        student=student,
        student_lm=lm,
        task=task,
        splits=splits,
        recorded=_recorded(rationales),
        policy=Policy.of(rules, task),
        teacher=asked,
        instructions=instructions,
        reader=reader,
        embedder=embedder,
        search=search,
        resolve=None if new else resolve,  # that would change rules of the run
        seed=seed,
        source=None if source is None else source.folder,
        new=new,
        notes=notes,
    )
    if source is not None:
        context.audit, context.induction = source.audit, source.induction(context.policy)
    return context


def _source(run: Path | str, rules: PolicyLike) -> SourceRun:
    source = SourceRun.of(run)
    if rules is not None:
        raise DataError(
            f"rules are given, and rules_of takes those of {run}. Leave out one; to edit those rules, edit "
            f"{source.folder.rules}."
        )
    return source


def _checked_splits(
    task: Task,
    reader: Reader,
    train: list[dspy.Example],
    valset: Sequence[dspy.Example] | None,
    testset: Sequence[dspy.Example] | None,
    *,
    duplicates: Duplicates,
    context_tokens: int | None,
    seed: int,
) -> tuple[Splits, list[str]]:
    """Return the splits, without what several of them share, and what a reader of the result should know."""
    checked = partial(check_examples, task, context_tokens=context_tokens, text=reader.text)
    checked(train, split="training")
    notes = []
    if valset is None:
        train, val = set_aside(task, train, seed)
        notes.append(f"No validation set was given: {len(val)} training examples were set aside for it.")
    else:
        val = list(valset)
    splits = Splits(train, val, list(testset or ()))
    checked(splits.val, split="validation")
    if splits.test:
        checked(splits.test, split="test")
    splits, told = without_shared(task, splits, duplicates)
    check_training_labels(task, splits.train)
    if task.untouched:
        told.append(f"Predictors left as they were: {', '.join(task.untouched)}.")
    return splits, [*notes, *told]


def check_teacher(context: CompileContext, induce: InduceConfig) -> None:
    """Raise DataError if rules are made and a record's label is not its example's, or a teacher is missing."""
    if context.source is not None and not context.new:
        return
    matched, _ = match_records(context.new or context.splits.train, context.task, context.recorded)
    if not matched and context.teacher is None:
        message = (
            "No training example would get a micro-rule. Give a teacher, or rationales whose example_id or inputs "
            "match the training examples."
        )
        raise DataError(message.replace("training", "new") if context.new else message)
    if context.new:  # their labels are doubted from the data alone
        return
    if induce.audit == "teacher" and context.task.several:
        raise DataError(
            'InduceConfig.audit is "teacher", which names one label, and the output field '
            f'{context.task.label_field!r} may hold several at once. Leave audit at "data".'
        )
    if induce.audit == "teacher" and context.teacher is None:
        raise DataError(
            'InduceConfig.audit is "teacher" and there is no teacher. Give one, as PLD(teacher=...) or --teacher, '
            'or leave audit at "data".'
        )


def _recorded(rationales: Rationales) -> list[MicroRule]:
    if isinstance(rationales, (str, Path)):
        return read_jsonl(Path(rationales), MicroRule)
    recorded = list(rationales or ())
    for number, record in enumerate(recorded):
        if not isinstance(record, MicroRule):
            raise DataError(
                f"Item {number} of rationales is a {type(record).__name__}. Give pld_dspy.MicroRule(...) only, or the "
                "path of a JSONL file."
            )
    return recorded
