"""Explain: from labelled examples to rationales and micro-rules, by a teacher or from records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import dspy

from .errors import BudgetExceeded, DataError
from .ledger.answer import Answer
from .ledger.content import as_json
from .local.classifier import Note
from .rules import MicroRule
from .task.splits import near_identity
from .task.task import Task, example_id, inputs_key, own_id
from .teacher.signatures import ExplainExample, is_unfilled
from .teacher.teacher import Teacher

logger = logging.getLogger(__name__)

LabelledRow: TypeAlias = tuple[int, str]
"""A row of the training set, and one of its gold labels."""


@dataclass(frozen=True)
class Explanations:
    """At most one micro-rule per gold label of a training example, in their order; and ids of what was left out."""

    micro_rules: list[MicroRule]
    unmatched: list[str] = field(default_factory=list)  # records that match no training example
    doubtful: list[str] = field(default_factory=list)  # examples whose label the rationale's author doubted
    unexplained: list[str] = field(default_factory=list)  # examples without a micro-rule, those beyond a cap included


def notes_about(
    train: Sequence[dspy.Example], micro_rules: Sequence[MicroRule], task: Task, *, first: int = 0
) -> list[Note]:
    """Return what is said about training examples, of which the first stands in the row ``first``.

    A micro-rule gives two notes, itself and its rationale; none where the rationale doubts the label, or where
    examples may have several labels, since it is about one of them.
    """
    rows = {example_id(example, row): first + row for row, example in enumerate(train)}
    return [
        Note(rows[found.example_id], text)
        for found in micro_rules
        if not found.doubtful and not task.several
        for text in (found.rule, found.rationale)
        if text.strip()
    ]


def explain(
    trainset: Sequence[dspy.Example],
    task: Task,
    *,
    texts: Sequence[str] | None = None,
    recorded: Sequence[MicroRule] = (),
    teacher: Teacher | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Explanations:
    """Give every training example a micro-rule: the recorded one if there is one, else the teacher's.

    Each label of an example with several is explained on its own, since a rule is about one label. An example without
    a label is not explained.

    Args:
        trainset: labelled examples.
        task: their labelled decision.
        texts: what the teacher sees of each training example; its inputs as text where None.
        recorded: micro-rules from a file; see ``match_records``.
        teacher: explains what no record covers. None: records only.
        on_answer: called once per example that the teacher answers.
    """
    records, unmatched = match_records(trainset, task, recorded)
    wanted = [(row, label) for row, gold in enumerate(task.golds(trainset)) for label in task.labels_of(gold)]
    missing = [place for place in wanted if place not in records]
    texts = [task.text(example) for example in trainset] if texts is None else texts
    answers = _ask(trainset, task, missing, texts, teacher, on_answer) if teacher is not None and missing else {}
    found = {**records, **answers}
    if teacher is not None and not found:
        if "explain" in teacher.ledger.stopped:
            raise BudgetExceeded(teacher.ledger.stopped["explain"])
        raise DataError(
            f"The teacher gave a usable micro-rule for none of {len(missing)} examples: its calls failed, or its "
            "answers are malformed, empty, or repeat the form that they are to fill in. Give a stronger teacher, or "
            "rationales."
        )
    absent = list(dict.fromkeys(example_id(trainset[row], row) for row, label in missing if (row, label) not in found))
    doubtful = list(dict.fromkeys(rule.example_id for rule in found.values() if rule.doubtful))
    _log(logging.WARNING, "recorded rationales match no training example", unmatched)
    _log(logging.INFO, "examples have a label that the rationale doubts", doubtful)
    if teacher is None:
        _log(logging.INFO, "examples have no micro-rule: no record and no teacher", absent)
    else:
        _log(logging.WARNING, "examples got no usable micro-rule from the teacher", absent)
    return Explanations([found[place] for place in wanted if place in found], unmatched, doubtful, absent)


def _ask(
    trainset: Sequence[dspy.Example],
    task: Task,
    places: Sequence[LabelledRow],
    texts: Sequence[str],
    teacher: Teacher,
    on_answer: Callable[[], object] | None,
) -> dict[LabelledRow, MicroRule]:
    """Return the teacher's micro-rules, those that are usable."""
    inputs = [
        {"labels": _listed_labels(task, trainset[row]), "example": texts[row], "label": label} for row, label in places
    ]
    answers = teacher.ask(
        ExplainExample, inputs, stage="explain", texts=lambda answer: [_rule(answer)], on_answer=on_answer
    )
    return {
        (row, label): MicroRule(
            example_id=example_id(trainset[row], row),
            inputs=as_json(task.arguments(trainset[row])),
            label=label,
            rationale=str((answer.outputs or {}).get("rationale") or ""),
            rule=rule,
        )
        for (row, label), answer in zip(places, answers, strict=True)
        if (rule := _rule(answer)) and not is_unfilled(rule)
    }


def _rule(answer: Answer) -> str:
    return str((answer.outputs or {}).get("rule") or "").strip()


def _listed_labels(task: Task, example: dspy.Example) -> str:
    listed = ", ".join(task.labels)
    return f"{listed} (an example may have several; this one has {task.gold(example)})" if task.several else listed


def match_records(
    trainset: Sequence[dspy.Example], task: Task, recorded: Sequence[MicroRule]
) -> tuple[dict[LabelledRow, MicroRule], list[str]]:
    """Match records to training rows by the rows' own ids, else by equal inputs, by near copies, or by row number.

    A near copy differs in case or signs, has the record's label, and no record of its own. Among rows with equal
    inputs, a record belongs to one that has its label and no record yet; further records for a row and label are
    ignored. Return training row and gold label -> its record, with the row's example id; and the ids of the records
    that match no row. DataError: a record's label is none of its example's.
    """
    rows_of = _row_finder(trainset, task, recorded)
    matched: dict[LabelledRow, MicroRule] = {}
    unmatched = []
    for record in recorded:
        rows = rows_of(record)
        if not rows:
            unmatched.append(record.example_id)
            continue
        fitting = [row for row in rows if record.label in task.labels_of(task.gold(trainset[row]))]
        if not fitting:
            correct = "Give a record for each label, under that label alone" if task.several else "Correct one of them"
            raise DataError(
                f"The recorded rationale of {record.example_id!r} gives the label {record.label!r}, but training "
                f"row {rows[0]} is labelled {task.gold(trainset[rows[0]])!r}. {correct}, or drop the record."
            )
        row = next((row for row in fitting if (row, record.label) not in matched), fitting[0])
        own = {"example_id": example_id(trainset[row], row), "inputs": as_json(record.inputs)}
        matched.setdefault((row, record.label), record.model_copy(update=own))
    return matched, unmatched


def _row_finder(
    trainset: Sequence[dspy.Example], task: Task, recorded: Sequence[MicroRule]
) -> Callable[[MicroRule], list[int]]:
    """Return a function: record -> the rows that it may be about."""
    by_id: dict[str, list[int]] = {}
    by_text: dict[str, list[int]] = {}
    by_number: dict[str, list[int]] = {}
    near: dict[tuple[str, str], list[int]] = {}
    taken = {inputs_key(record.inputs) for record in recorded}
    for row, example in enumerate(trainset):
        # The row number comes last: it names the right example only as long as the rows stay in order.
        own = by_number if own_id(example) is None else by_id
        own[example_id(example, row)] = [row]
        key = inputs_key(task.arguments(example))
        by_text.setdefault(key, []).append(row)
        for label in () if key in taken else task.labels_of(task.gold(example)):
            near.setdefault((near_identity(key), label), []).append(row)

    def rows_of(record: MicroRule) -> list[int]:
        name, key = record.example_id, inputs_key(record.inputs)
        rows = by_id.get(name) or by_text.get(key) or near.get((near_identity(key), record.label))
        return rows or by_number.get(name) or []

    return rows_of


def _log(level: int, message: str, ids: Sequence[str]) -> None:
    if ids:
        logger.log(level, "%d %s: %s%s", len(ids), message, ", ".join(ids[:5]), " ..." if len(ids) > 5 else "")
