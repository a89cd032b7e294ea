"""Patches put into effect: from a rule set and a patch to the rule set after it, ids and provenance kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from string import ascii_lowercase
from typing import Any, get_args

from ..rules import PATCH, UNKNOWN, Rule, RuleSet, label_slug
from ..task.splits import normalized
from ..teacher.signatures import Patch, PatchKind, is_unfilled
from .conflicts import Conflict

MOST_WORDS = 90
"""Twice what the teacher is asked for: a longer rule is no abstraction, and every call would pay for it."""

MOST_PARTS = 4


class Unusable(Exception):
    """A patch that means nothing for these rules; the message says why."""


@dataclass(frozen=True)
class Edit:
    """A patch in effect.

    Attributes:
        kind: what it does.
        rules, bench: what results.
        old: the rules that it took away or changed, as they were.
        new: those in their place.
    """

    kind: PatchKind
    rules: RuleSet
    bench: list[Rule]
    old: tuple[Rule, ...]
    new: tuple[Rule, ...]


def edited(patch: Patch, rules: RuleSet, bench: Sequence[Rule], conflict: Conflict) -> Edit:
    """Put ``patch`` into effect.

    A changed rule keeps its id, support and labels, and gains those of the errors that it was changed for; its former
    wordings stay among its wordings. The parts of a split inherit the same, and are named after the whole:
    ``gender-2a``, ``gender-2b``. Rules that go are put on the bench. A text that a rule has already brings that
    wording, or that rule of the bench, back into use.

    Args:
        patch: the change; where it names no rule, the one that the errors lean on is meant.
        rules: the set in use.
        bench: the rules outside it.
        conflict: what the patch is for.

    Raises:
        Unusable: it is of no known kind, names no rule of the set, has too few, too many or too long texts, or adds
            what is there.
    """
    if patch.kind == "unreadable":
        raise Unusable(f"its kind is none of {', '.join(get_args(PatchKind))}")
    place = _place(patch, rules, conflict)
    taken = {rule.id for rule in (*rules.rules, *bench)}
    if patch.kind == "add":
        place = len(rules) if place is None else place
        added = _added(patch.texts, rules, bench, taken, conflict)
        left = [rule for rule in bench if rule.id != added.id]
        return Edit("add", _spliced(rules, place, place, (added,)), left, (), (added,))
    if place is None:
        raise Unusable("it names no rule to change")
    old = rules.rules[place]
    kind: PatchKind = "rewrite" if patch.kind == "split" and len(patch.texts) == 1 else patch.kind
    new = _replacements(kind, patch.texts, old, taken, conflict)
    gone = [old] if kind in ("split", "retire") else []
    return Edit(kind, _spliced(rules, place, place + 1, new), [*bench, *gone], (old,), new)


def _place(patch: Patch, rules: RuleSet, conflict: Conflict) -> int | None:
    """Find the rule that a patch names, also within more text (``Rule gender-2:``); None where it names none."""
    ids = [rule.id for rule in rules.rules]
    named = patch.rule or conflict.rule
    if not named:
        return None
    if named in ids:
        return ids.index(named)
    within = [
        place
        for place, rule_id in enumerate(ids)
        if re.search(rf"(?<![\w-]){re.escape(rule_id)}(?![\w-])", named, re.IGNORECASE)
    ]
    if len(within) != 1:
        raise Unusable(f"there is no rule {named[:60]!r}")
    return within[0]


def _replacements(
    kind: PatchKind, texts: Sequence[str], old: Rule, taken: Collection[str], conflict: Conflict
) -> tuple[Rule, ...]:
    if kind == "retire":
        return ()
    if kind == "split":
        if not 2 <= len(texts) <= MOST_PARTS:
            raise Unusable(f"a split takes 2 to {MOST_PARTS} texts, not {len(texts)}")
        names = islice((name for name in _part_names(old.id) if name not in taken), len(texts))
        return tuple(
            _for_errors(old.model_copy(update={"id": name, **_written(_checked(text))}), conflict)
            for name, text in zip(names, texts, strict=True)
        )
    text = _single(kind, texts)
    if kind == "add_exception":
        text = _with_exception(old.text, text)
    known = _place_of(text, old.wordings)
    if known is not None:
        return (_for_errors(old.with_wording(known), conflict),)
    # The newest wording comes first: it is the one that a later search takes for the rule itself.
    return (_for_errors(old.model_copy(update=_written(_checked(text), old)), conflict),)


def _written(text: str, former: Rule | None = None) -> dict[str, Any]:
    """Return the fields of a rule in a patch's wording, before the ``former`` rule's own ones where these are kept."""
    kept = former.wordings if former is not None else ()
    origins = former.origins if former is not None and former.origins else (UNKNOWN,) * len(kept)
    return {"wordings": (text, *kept), "origins": (PATCH, *origins), "chosen": 0}


def _added(
    texts: Sequence[str], rules: RuleSet, bench: Sequence[Rule], taken: Collection[str], conflict: Conflict
) -> Rule:
    text = _single("add", texts)
    if _place_of(text, [rule.text for rule in rules.rules]) is not None:
        raise Unusable("the rules say that already")
    for rule in bench:
        known = _place_of(text, rule.wordings)
        if known is not None:
            return _for_errors(rule.with_wording(known), conflict)
    slug = label_slug(conflict.labels[0])
    name = next(name for number in count(1) if (name := f"{slug}-{number}") not in taken)
    return _for_errors(Rule(id=name, **_written(_checked(text))), conflict)


def _place_of(text: str, texts: Sequence[str]) -> int | None:
    """Return where a patch's text stands among others, whose blanks and line breaks it may have lost."""
    return next((place for place, one in enumerate(texts) if " ".join(one.split()) == text), None)


def _for_errors(rule: Rule, conflict: Conflict) -> Rule:
    """Extend a rule's provenance by the errors; its effect is not known any more."""
    labels = tuple(dict.fromkeys((*rule.labels, *conflict.labels)))
    support = tuple(dict.fromkeys((*rule.support, *conflict.example_ids)))
    return rule.model_copy(update={"labels": labels, "support": support, "effect": None})


def _with_exception(text: str, exception: str) -> str:
    """Put an exception behind a rule; one that repeats the rule is the whole rule already."""
    if normalized(text) in normalized(exception):
        return exception
    bare = re.sub(r"^exceptions?\b:? *", "", exception, flags=re.IGNORECASE)
    return f"{text} Exception: {bare}"


def _single(kind: PatchKind, texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise Unusable(f"{kind} takes one text, not {len(texts)}")
    return texts[0]


def _checked(text: str) -> str:
    words = len(text.split())
    if words > MOST_WORDS:
        raise Unusable(f"a rule of {words} words is too long; {MOST_WORDS} are the most")
    if is_unfilled(text):
        raise Unusable("it repeats the form of a rule and fills nothing in")
    return text


def _part_names(whole: str) -> Iterator[str]:
    return (f"{whole}{''.join(letters)}" for size in count(1) for letters in product(ascii_lowercase, repeat=size))


def _spliced(rules: RuleSet, start: int, stop: int, new: Sequence[Rule]) -> RuleSet:
    return RuleSet(rules=(*rules.rules[:start], *new, *rules.rules[stop:]))
