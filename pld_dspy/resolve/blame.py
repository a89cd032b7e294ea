"""Blame: which rule each wrong answer leans on, found with as few questions to the student as will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import dspy

from ..rules import Rule, RuleSet
from ..student.evaluator import Evaluator
from ..teacher.signatures import NameRule
from .config import Blame
from .mistakes import STAGE, Mistake
from .pool import Pool


def traced(
    found: Sequence[Mistake],
    rules: RuleSet,
    pool: Pool,
    evaluator: Evaluator,
    *,
    blame: Blame,
    calls: int | None,
    instructions: str,
) -> list[Mistake]:
    """Return the mistakes with the rule that each leans on, as far as one can be found.

    Args:
        found: the mistakes.
        rules: the set under which they were made.
        pool: holds their examples.
        evaluator: the student; what it is asked here is diagnosis only.
        blame: the way.
        calls: questions to the student, at most; None for no bound. Answers that the ledger has count as well, so
            that a resumed run ends where the first would have.
        instructions: the student's own.

    Raises:
        BudgetExceeded: a cap allows no further student call.
    """
    if not found or not len(rules) or blame == "none":
        return list(found)
    if blame == "ask":
        asked = found[:calls]
        return [*_named(asked, rules, pool, evaluator, instructions), *found[len(asked) :]]
    return _left_out(found, rules, pool, evaluator, calls)


def _left_out(
    found: Sequence[Mistake], rules: RuleSet, pool: Pool, evaluator: Evaluator, calls: int | None
) -> list[Mistake]:
    """Blame the rule without which the answer is right, else the first without which it is another one.

    Rules are left out one after the other, the most suspected first, each for all mistakes that it is suspected of: a
    server then reads each prompt's start once. A mistake that is mended without a rule is asked no further.
    """
    suspects = {rule.id: _suspicion(rule, found, pool) for rule in rules.rules}
    by_row = {one.row: one for one in found}
    mending: dict[int, str] = {}
    changing: dict[int, str] = {}
    left = sum(len(suspected) for suspected in suspects.values()) if calls is None else calls
    while suspects and left > 0:
        rule_id = max(suspects, key=lambda name: (sum(suspects[name].values()), len(suspects[name])))
        rows = list(suspects.pop(rule_id))[:left]
        left -= len(rows)
        rest = RuleSet(rules=tuple(rule for rule in rules.rules if rule.id != rule_id))
        for row, answer in zip(rows, evaluator.labels(rest, pool.take(rows), stage=STAGE), strict=True):
            if answer == by_row[row].gold:
                mending[row] = rule_id
            elif answer not in (None, by_row[row].answer):
                changing.setdefault(row, rule_id)
        suspects = {name: _without(suspected, mending) for name, suspected in suspects.items()}
    return [replace(one, rule=mending.get(one.row, changing.get(one.row))) for one in found]


def _suspicion(rule: Rule, found: Sequence[Mistake], pool: Pool) -> dict[int, float]:
    """Return the rows of the mistakes that may lean on a rule, each with how close it is to the rule's support, 0 to 1.

    Suspected are the rules for the label that was answered: more than others, those drawn from examples like the
    mistake.
    """
    support = pool.rows_of(rule.support)
    return {
        one.row: max(pool.closeness([one.row], support), 0.0)
        for one in found
        if not rule.labels or {one.answer, *one.wrong} & set(rule.labels)
    }


def _without(suspected: Mapping[int, float], settled: Mapping[int, str]) -> dict[int, float]:
    return {row: closeness for row, closeness in suspected.items() if row not in settled}


def _named(
    found: Sequence[Mistake], rules: RuleSet, pool: Pool, evaluator: Evaluator, instructions: str
) -> list[Mistake]:
    """Have the student name the rule by its number."""
    numbers = tuple(str(number) for number in range(len(rules) + 1))
    signature = NameRule.with_updated_fields("rule", type_=Literal.__getitem__(numbers))
    inputs = [
        {"task": instructions, "rules": rules.render(), "example": pool.texts[one.row], "answer": one.answer}
        for one in found
    ]
    answers = evaluator.ledger.ask(
        dspy.Predict(signature),
        inputs,
        role="student",
        stage=STAGE,
        lm=dict(evaluator.student.named_predictors())[evaluator.task.predictor].lm or evaluator.lm,
        adapter=evaluator.adapter,
    )
    said = [int((answer.outputs or {}).get("rule", 0)) for answer in answers]
    return [replace(one, rule=rules.rules[n - 1].id if n else None) for one, n in zip(found, said, strict=True)]
