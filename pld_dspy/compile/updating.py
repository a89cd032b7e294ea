"""A compile with new examples for a finished run: the run's list is held, and what came of the examples in words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import dspy

from ..rules import Rule, RuleSet
from ..run.result import PLDResult
from ..scoring.difference import Difference, difference
from ..search.search_result import SearchResult
from ..student.redecide import searched_answers
from ..task.task import example_id

if TYPE_CHECKING:
    from .context import CompileContext

NAMES_SHOWN = 20


def holding(context: CompileContext, pool: Sequence[Rule]) -> list[Rule]:
    """Return the pool with the run's list, as rules.yaml has it now, in front and marked as pinned.

    So the search leaves the list whole and in its order. The list is also set as ``context.earlier``.
    """
    assert context.source is not None
    texts = {rule.id: rule.text for rule in RuleSet.from_yaml(context.source.rules.read_text(encoding="utf-8")).rules}
    texts |= {rule.id: rule.text for rule in pool if rule.pin}
    known = {rule.id: rule for rule in pool if texts.get(rule.id) in rule.wordings}  # a ban may have taken a wording
    held = [known[name].with_wording(known[name].wordings.index(texts[name])) for name in texts if name in known]
    context.earlier = RuleSet(rules=tuple(held)) or None
    return [rule.model_copy(update={"pin": True}) for rule in held] + [rule for rule in pool if rule.id not in known]


def released(context: CompileContext, found: SearchResult, *, calibrated: bool) -> SearchResult:
    """Return what the search found, with the pins that people set and with the bench of the run.

    A list that somebody may have signed is not changed for a gain that may be chance: new rules stand behind it only if
    they pay on validation. What the run's search says beside its list stays true of the list alone.
    """
    assert context.source is not None
    earlier, best = context.earlier, found.best
    gain, flips = gain_on_validation(context, earlier, best, calibrated=calibrated) if earlier and best else (None, "")
    if gain and earlier and best and not gain.pays_twice:
        held = {rule.id for rule in earlier.rules}
        tried = ", ".join(rule.id for rule in best.rules if rule.id not in held)
        context.notes.append(
            f"The search's best list had new rules ({tried}), but on validation they gain {gain}; {flips}: not "
            "more than their standard error. They stay on the bench."
        )
        found = replace(found, best=earlier, objective=found.trials[0].objective or 0.0)
    pins, listed = {rule.id for rule in context.policy.pinned}, found.best or RuleSet()
    used, before = {rule.id for rule in listed.rules}, PLDResult.load(context.source.path)
    context.pool, rules = (
        [rule.model_copy(update={"pin": rule.id in pins}) for rule in some] for some in (context.pool, listed.rules)
    )
    first, *trials = found.trials
    said = before.insight if before.rules.digest == listed.digest else None
    return replace(
        found,
        best=found.best and listed.with_rules(rules),
        bench=[rule for rule in context.pool if rule.id not in used],
        trials=[replace(first, kind="list of the run") if context.earlier else first, *trials],
        around=None if said is None else lambda _: said,
    )


def gain_on_validation(
    context: CompileContext, before: RuleSet | None, after: RuleSet | None, *, calibrated: bool
) -> tuple[Difference | None, str]:
    """Return macro-F1 of one list less that of another, both asked in full, and the answers behind it in words.

    None if macro-F1 is not what is maximized, or the lists are the same.
    """
    val, evaluator, task = context.splits.val, context.evaluator, context.task
    if (before or RuleSet()).digest == (after or RuleSet()).digest or evaluator.objective.name != "macro_f1":
        return None, ""
    answers = (
        searched_answers(rules, val, evaluator, stage="search", calibrated=calibrated) for rules in (before, after)
    )
    old, new = ([task.read(one.outputs) for one in some] for some in answers)
    golds = task.golds(val)
    return difference(golds, old, new, task.labels, seed=context.seed), flips_text(val, golds, old, new)


def flips_text(
    examples: Sequence[dspy.Example],
    golds: Sequence[str],
    before: Sequence[str | None],
    after: Sequence[str | None],
) -> str:
    """Return how many answers became right and how many wrong, and to which examples."""
    rows = enumerate(zip(examples, golds, before, after, strict=True))
    changed = [(example_id(one, row), gold == was, gold == now) for row, (one, gold, was, now) in rows]
    right, wrong = ([name for name, *pair in changed if pair == kind] for kind in ([False, True], [True, False]))
    said = {"answers now right": right, "now wrong": wrong}
    return ", ".join(f"{len(names)} {what}{f' ({listed(names)})' if names else ''}" for what, names in said.items())


def listed(names: Collection[str], *, most: int = NAMES_SHOWN) -> str:
    """Return the first names, with dots where there are more."""
    return ", ".join([*names][:most]) + (", ..." if len(names) > most else "")


def update_notes(context: CompileContext) -> Iterator[str]:
    """Yield what became of the new examples, what that changed, and what it cost."""
    source, found = context.source, context.induction
    if source is None or not context.new:
        return
    placed = {name for names in found.joined.values() for name in names}
    made = [rule for rule in context.pool if rule.id in context.added]
    behind = {name for rule in made for name in rule.support}
    chosen = {rule.id for rule in (context.rules or RuleSet()).rules}
    left = [name for one in context.new if (name := str(one.id)) not in placed | behind]
    joined = ", ".join(f"{name} (+{len(names)}: {listed(names)})" for name, names in found.joined.items())
    ids = ", ".join(
        f"{rule.id} ({'chosen' if rule.id in chosen else 'on the bench'}: {listed(rule.support)})" for rule in made
    )
    yield (
        f"New examples for the rules of {source.path.name}: {len(context.new)}. Joined the nearest rule: "
        f"{len(placed)}{f', {joined}' if joined else ''}. Gave new rules: {len(behind)}{f', {ids}' if ids else ''}."
        f"{f' Without a rule: {len(left)}, {listed(left)}.' if left else ''}"
    )
    if (context.earlier or RuleSet()).digest == (context.rules or RuleSet()).digest:
        yield "The list of rules stays as it was in the run."
    else:
        pairs = [context.validation, context.test]
        splits = [("validation", context.splits.val), ("test", context.splits.test)]
        for (name, rows), old, pair in zip(splits, context.before, filter(None, pairs), strict=False):
            golds, task = context.task.golds(rows), context.task
            now = pair[1].labels
            gain = difference(golds, old.labels, now, task.labels, seed=context.seed)
            flips = flips_text(rows, golds, old.labels, now)
            yield f"Macro-F1 on {name} against the list of the run: {old.score.macro_f1:.3f} before, {gain}; {flips}."
    if context.splits.test:
        yield "The run had scored the test split already. What is decided by looking at it again, it cannot judge."
    spent = sum(cost.calls for (role, _), cost in context.ledger.spent.items() if role == "student")
    reused = sum(context.ledger.carried.values())
    yield f"Student calls for this: {spent:,}; answers taken over from the run: {reused:,}."
