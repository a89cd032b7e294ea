"""Diagnosis: which training examples the student gets wrong, by which rule, grouped into conflicts to be patched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from ..rules import Rule, RuleSet
from ..student.evaluator import Evaluator
from .pool import Pool
from .records import STAGE, Conflict, Mistake
from .resolve_config import ResolveConfig


def diagnose(
    rules: RuleSet, pool: Pool, student: Evaluator, config: ResolveConfig
) -> tuple[list[Mistake], list[Conflict]]:
    """Return the student's mistakes on the pool's training examples, and the conflicts to look for patches for."""
    answers = student.labels(rules, pool.examples, stage=STAGE)
    mistakes = find_mistakes(pool, answers)
    listed = trace_to_rules(shortlist(mistakes, config), rules, pool, student, config)
    examples = pool.take(mistake.row for mistake in listed)
    feedback = student.feedback(examples, student.answers(rules, examples, stage=STAGE))  # the ledger has the answers
    listed = [replace(mistake, feedback=text) for mistake, text in zip(listed, feedback, strict=True)]
    return mistakes, group(listed, pool, answers, config)


def find_mistakes(pool: Pool, answers: Sequence[str | None]) -> list[Mistake]:
    """Return the mistakes, the costliest confusions of labels first; no rule could change a missing answer."""

    def labels_of(text: str) -> tuple[str, ...]:
        return pool.task.labels_of(text) or (text,)

    sizes = Counter(label for row in pool.train.values() for label in labels_of(pool.golds[row]))
    found = []
    cost: dict[tuple[str, str], float] = defaultdict(float)
    for name, row in pool.train.items():
        gold, answer = pool.golds[row], answers[row]
        if answer is None or answer == gold:
            continue
        # Where an answer only lacks labels, or only has too many, all labels of that side count.
        missed = tuple(label for label in labels_of(gold) if label not in labels_of(answer)) or labels_of(gold)
        wrong = tuple(label for label in labels_of(answer) if label not in labels_of(gold)) or labels_of(answer)
        own = sum(1 / sizes[label] for label in missed)
        found.append(Mistake(row, name, pool.texts[row], gold, answer, missed, wrong, own))
        cost[gold, answer] += own
    return sorted(found, key=lambda one: (-cost[one.gold, one.answer], one.gold, one.answer, one.row))


def shortlist(mistakes: Sequence[Mistake], config: ResolveConfig) -> list[Mistake]:
    """Return the first mistakes of each confusion; they share the cost of the others, so that its rank stays."""
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

    That is the rule without which the answer is correct, else the first without which it changes. Rules are left out
    one after the other, the most suspect first, each for all mistakes that it may have caused: so a server reads the
    beginning of each prompt only once. A mistake that is corrected without a rule is done. Answers from the ledger
    count as calls too, so that a resumed run ends where the first run would have.
    """
    suspects = {rule.id: _suspicions(rule, mistakes, pool) for rule in rules.rules}
    by_row = {mistake.row: mistake for mistake in mistakes}
    correcting: dict[int, str] = {}
    changing: dict[int, str] = {}
    left = sum(map(len, suspects.values())) if config.blame_calls is None else config.blame_calls
    while suspects and left > 0:
        rule_id = max(suspects, key=lambda name: (sum(suspects[name].values()), len(suspects[name])))
        rows = list(suspects.pop(rule_id))[:left]
        left -= len(rows)
        rest = rules.with_rules(rule for rule in rules.rules if rule.id != rule_id)
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
    """Return pool row -> similarity to the rule's support, 0 to 1, for mistakes in which one of its labels is wrong."""
    support = pool.rows_of(rule.support)
    return {
        mistake.row: max(pool.similarity([mistake.row], support), 0.0)
        for mistake in mistakes
        if not rule.labels or set(mistake.wrong) & set(rule.labels)
    }
