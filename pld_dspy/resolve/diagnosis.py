"""Diagnosis: which training examples the student gets wrong, by which rule, grouped into conflicts to be patched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import dspy

from ..rules import Rule, RuleSet, strip_rules
from ..student.evaluator import Evaluator
from ..teacher.signatures import NameRule
from .config import ResolveConfig
from .pool import Pool
from .records import STAGE, Conflict, Mistake


def diagnose(
    rules: RuleSet, pool: Pool, student: Evaluator, config: ResolveConfig
) -> tuple[list[Mistake], list[Conflict]]:
    """Return the student's mistakes on the pool's training examples, and the conflicts to look for patches for.

    Raises:
        BudgetExceeded: a cap allows no further student call.
    """
    answers = student.labels(rules, pool.examples, stage=STAGE)
    mistakes = find_mistakes(pool, answers)
    listed = trace_to_rules(shortlist(mistakes, config), rules, pool, student, config)
    examples = pool.take(mistake.row for mistake in listed)
    feedback = student.feedback(examples, student.answers(rules, examples, stage=STAGE))  # the ledger has the answers
    listed = [replace(mistake, feedback=text) for mistake, text in zip(listed, feedback, strict=True)]
    return mistakes, group(listed, pool, answers, config)


def find_mistakes(pool: Pool, answers: Sequence[str | None]) -> list[Mistake]:
    """Return the training examples of the pool that got a wrong label, the costliest confusions of labels first.

    A missing answer is left out, because no rule could change it.
    """
    golds = (pool.golds[row] for row in pool.train.values())
    sizes = Counter(label for gold in golds for label in pool.task.labels_of(gold) or (gold,))
    found = [
        _mistake(pool, row, example_id, answer, sizes)
        for example_id, row in pool.train.items()
        if (answer := answers[row]) is not None and answer != pool.golds[row]
    ]
    cost: dict[tuple[str, str], float] = defaultdict(float)
    for mistake in found:
        cost[mistake.gold, mistake.answer] += mistake.cost
    return sorted(found, key=lambda one: (-cost[one.gold, one.answer], one.gold, one.answer, one.row))


def _mistake(pool: Pool, row: int, example_id: str, answer: str, sizes: Mapping[str, int]) -> Mistake:
    """Compare the labels; where an answer only lacks labels, or only has too many, all labels of that side count."""
    gold = pool.golds[row]
    golds, answered = pool.task.labels_of(gold) or (gold,), pool.task.labels_of(answer) or (answer,)
    missed = tuple(label for label in golds if label not in answered) or golds
    wrong = tuple(label for label in answered if label not in golds) or answered
    return Mistake(
        row=row,
        example_id=example_id,
        text=pool.texts[row],
        gold=gold,
        answer=answer,
        missed=missed,
        wrong=wrong,
        cost=sum(1 / sizes[label] for label in missed),
    )


def shortlist(mistakes: Sequence[Mistake], config: ResolveConfig) -> list[Mistake]:
    """Return the first mistakes of each confusion, as no conflict shows more of them; the others need no diagnosis.

    The mistakes on the list share the cost of the others of their confusion, so that its rank stays the same.
    """
    confusions: dict[tuple[str, str], list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        confusions[mistake.gold, mistake.answer].append(mistake)
    most = config.errors_per_call
    listed = [
        replace(mistake, cost=mistake.cost * len(confused) / min(len(confused), most))
        for confused in confusions.values()
        for mistake in confused[:most]
    ]
    return listed[: most * config.max_patches]


def group(
    mistakes: Sequence[Mistake], pool: Pool, answers: Sequence[str | None], config: ResolveConfig
) -> list[Conflict]:
    """Group mistakes by the rule that caused them or, where that is unknown, by confusion; the costliest groups first.

    Each group gives one conflict, of its first mistakes: the others can test a patch that was written without them.
    ``answers`` are the student's labels for the pool.
    """
    groups: dict[Hashable, list[Mistake]] = defaultdict(list)
    for mistake in mistakes:
        groups[mistake.rule or (mistake.gold, mistake.answer)].append(mistake)
    costliest = sorted(groups.values(), key=lambda alike: -sum(mistake.cost for mistake in alike))
    correct = [row for row in pool.train.values() if answers[row] == pool.golds[row]]
    conflicts = []
    for alike in costliest[: config.max_patches]:
        shown = tuple(alike[: config.errors_per_call])
        near = pool.nearest([mistake.row for mistake in shown], correct, config.neighbours)
        conflicts.append(Conflict(shown, shown[0].rule, tuple(near)))
    return conflicts


def trace_to_rules(
    mistakes: Sequence[Mistake], rules: RuleSet, pool: Pool, student: Evaluator, config: ResolveConfig
) -> list[Mistake]:
    """Return the mistakes with the rule that caused each, as far as one is found in ``config.blame_calls``.

    Answers from the ledger count as calls too, so that a resumed run ends where the first run would have.
    """
    if not mistakes or not len(rules) or config.blame == "none":
        return list(mistakes)
    most = config.blame_calls
    if config.blame == "ask":
        asked = mistakes[:most]
        return [*_ask_student(asked, rules, student), *mistakes[len(asked) :]]
    return _leave_out(mistakes, rules, pool, student, most)


def _leave_out(
    mistakes: Sequence[Mistake], rules: RuleSet, pool: Pool, student: Evaluator, most: int | None
) -> list[Mistake]:
    """Find the rule without which the answer is correct, else the first without which it changes.

    Rules are left out one after the other, the most suspect first, each for all mistakes that it may have caused: so a
    server reads the beginning of each prompt only once. A mistake that is corrected without a rule is done.
    """
    suspects = {rule.id: _suspicions(rule, mistakes, pool) for rule in rules.rules}
    by_row = {mistake.row: mistake for mistake in mistakes}
    correcting: dict[int, str] = {}
    changing: dict[int, str] = {}
    left = sum(map(len, suspects.values())) if most is None else most
    while suspects and left > 0:
        rule_id = max(suspects, key=lambda name: (sum(suspects[name].values()), len(suspects[name])))
        rows = list(suspects.pop(rule_id))[:left]
        left -= len(rows)
        rest = RuleSet(rules=tuple(rule for rule in rules.rules if rule.id != rule_id))
        for row, answer in zip(rows, student.labels(rest, pool.take(rows), stage=STAGE), strict=True):
            if answer == by_row[row].gold:
                correcting[row] = rule_id
            elif answer not in (None, by_row[row].answer):
                changing.setdefault(row, rule_id)
        suspects = {
            name: {row: similarity for row, similarity in rows_of.items() if row not in correcting}
            for name, rows_of in suspects.items()
        }
    return [replace(one, rule=correcting.get(one.row, changing.get(one.row))) for one in mistakes]


def _suspicions(rule: Rule, mistakes: Sequence[Mistake], pool: Pool) -> dict[int, float]:
    """Return pool row -> suspicion, 0 to 1, for each mistake that a rule may have caused.

    These are the mistakes in which a label of the rule was answered wrongly. The more similar a mistake is to the
    rule's supporting examples, the more suspect is the rule.
    """
    support = pool.rows_of(rule.support)
    return {
        mistake.row: max(pool.similarity([mistake.row], support), 0.0)
        for mistake in mistakes
        if not rule.labels or set(mistake.wrong) & set(rule.labels)
    }


def _ask_student(mistakes: Sequence[Mistake], rules: RuleSet, student: Evaluator) -> list[Mistake]:
    """Have the student name, by its number, the rule that decided each answer."""
    predictor = dict(student.student.named_predictors())[student.task.predictor]
    numbers = tuple(str(number) for number in range(len(rules) + 1))
    shown = {"task": strip_rules(predictor.signature.instructions), "rules": rules.render()}
    answers = student.ledger.ask(
        dspy.Predict(NameRule.with_updated_fields("rule", type_=Literal.__getitem__(numbers))),
        [{**shown, "example": mistake.text, "answer": mistake.answer} for mistake in mistakes],
        role="student",
        stage=STAGE,
        lm=predictor.lm or student.lm,
        adapter=student.adapter,
    )
    named = [int((answer.outputs or {}).get("rule", 0)) for answer in answers]
    return [replace(one, rule=rules.rules[n - 1].id if n else None) for one, n in zip(mistakes, named, strict=True)]
