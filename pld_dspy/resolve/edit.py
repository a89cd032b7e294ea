"""Apply a patch: from a rule set and a patch to the rule set after it, with ids and provenance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from string import ascii_lowercase
from typing import Any, get_args

from ..rules import PATCH, UNKNOWN, Rule, RuleSet, label_slug
from ..task.splits import normalized
from ..teacher.signatures import Patch, PatchKind, is_unfilled
from .records import Conflict

MOST_WORDS = 90
"""Twice what the teacher is asked for. A longer rule generalizes nothing, and every call would pay for it."""

MOST_PARTS = 4


class Unusable(Exception):
    """A patch that cannot be applied to these rules, or is not worth a try; the message says why."""


@dataclass(frozen=True)
class Edit:
    """An applied patch.

    Attributes:
        kind: what it does.
        rules, bench: the rule set and bench after it.
        old: the rules that it changes or removes, as they were.
        new: the rules that replace them.
    """

    kind: PatchKind
    rules: RuleSet
    bench: list[Rule]
    old: tuple[Rule, ...]
    new: tuple[Rule, ...]


def apply_patch(patch: Patch, rules: RuleSet, bench: Sequence[Rule], conflict: Conflict) -> Edit:
    """Apply ``patch``; if it names no rule, the rule of ``conflict`` is meant.

    A changed rule keeps its id and its earlier wordings; its support and labels are extended by those of the errors.
    The parts of a split rule inherit support and labels, and are named after it: ``gender-2a``, ``gender-2b``. Removed
    rules go to the bench. A text that a rule already has as a wording, in use or on the bench, brings that one back.

    Raises:
        Unusable: the patch is of no known kind, names no rule of the set, has too few, too many or too long texts, or
            adds what is there already.
    """
    if patch.kind == "unreadable":
        raise Unusable(f"its kind is none of {', '.join(get_args(PatchKind))}")
    place = _place(patch.rule or conflict.rule, rules)
    if patch.kind == "add":
        new: tuple[Rule, ...] = (_added(patch.texts, rules, bench, conflict),)
        before, after = (rules.rules[:place], rules.rules[place:]) if place is not None else (rules.rules, ())
        bench = [rule for rule in bench if rule.id != new[0].id]
        return Edit("add", RuleSet(rules=(*before, *new, *after)), bench, (), new)
    if place is None:
        raise Unusable("it names no rule to change")
    old = rules.rules[place]
    kind: PatchKind = "rewrite" if patch.kind == "split" and len(patch.texts) == 1 else patch.kind
    if kind == "retire":
        new = ()
    elif kind == "split":
        new = _parts(patch.texts, old, {rule.id for rule in (*rules.rules, *bench)}, conflict)
    else:
        new = (_changed(kind, patch.texts, old, conflict),)
    removed = [old] if kind in ("split", "retire") else []
    changed = RuleSet(rules=(*rules.rules[:place], *new, *rules.rules[place + 1 :]))
    return Edit(kind, changed, [*bench, *removed], (old,), new)


def _place(name: str | None, rules: RuleSet) -> int | None:
    """Find the rule that a patch names, also within more text (``Rule gender-2:``); None if it names none."""
    if not name:
        return None
    ids = [rule.id for rule in rules.rules]
    if name in ids:
        return ids.index(name)
    patterns = (rf"(?<![\w-]){re.escape(rule_id)}(?![\w-])" for rule_id in ids)
    found = [place for place, pattern in enumerate(patterns) if re.search(pattern, name, re.IGNORECASE)]
    if len(found) != 1:
        raise Unusable(f"there is no rule {name[:60]!r}")
    return found[0]


def _added(texts: Sequence[str], rules: RuleSet, bench: Sequence[Rule], conflict: Conflict) -> Rule:
    text = _single("add", texts)
    if _index(text, [rule.text for rule in rules.rules]) is not None:
        raise Unusable("the rules say that already")
    for rule in bench:
        known = _index(text, rule.wordings)
        if known is not None:
            return _extended(rule.with_wording(known), conflict)
    taken = {rule.id for rule in (*rules.rules, *bench)}
    slug = label_slug(conflict.labels[0])
    name = next(name for number in count(1) if (name := f"{slug}-{number}") not in taken)
    return _extended(Rule(id=name, **_wording(text)), conflict)


def _parts(texts: Sequence[str], old: Rule, taken: set[str], conflict: Conflict) -> tuple[Rule, ...]:
    if not 2 <= len(texts) <= MOST_PARTS:
        raise Unusable(f"a split takes 2 to {MOST_PARTS} texts, not {len(texts)}")
    endings = ("".join(letters) for size in count(1) for letters in product(ascii_lowercase, repeat=size))
    names = islice((name for ending in endings if (name := f"{old.id}{ending}") not in taken), len(texts))
    return tuple(
        _extended(old.model_copy(update={"id": name, **_wording(text)}), conflict)
        for name, text in zip(names, texts, strict=True)
    )


def _changed(kind: PatchKind, texts: Sequence[str], old: Rule, conflict: Conflict) -> Rule:
    text = _single(kind, texts)
    if kind == "add_exception" and normalized(old.text) not in normalized(text):  # else the text is the whole rule
        bare = re.sub(r"^exceptions?\b:? *", "", text, flags=re.IGNORECASE)
        text = f"{old.text} Exception: {bare}"
    known = _index(text, old.wordings)
    if known is not None:
        return _extended(old.with_wording(known), conflict)
    # The newest wording comes first, because a later search takes the first wording for the rule itself.
    return _extended(old.model_copy(update=_wording(text, old)), conflict)


def _single(kind: PatchKind, texts: Sequence[str]) -> str:
    if len(texts) != 1:
        raise Unusable(f"{kind} takes one text, not {len(texts)}")
    return texts[0]


def _index(text: str, others: Sequence[str]) -> int | None:
    """Return the index of a patch's text among others; white space does not count, as patches may have lost it."""
    return next((index for index, other in enumerate(others) if " ".join(other.split()) == text), None)


def _wording(text: str, former: Rule | None = None) -> dict[str, Any]:
    """Return the fields of a rule whose wording in use is ``text``, before the wordings of the ``former`` rule."""
    words = len(text.split())
    if words > MOST_WORDS:
        raise Unusable(f"a rule of {words} words is too long; {MOST_WORDS} are the most")
    if is_unfilled(text):
        raise Unusable("it repeats the form of a rule and fills nothing in")
    wordings = former.wordings if former is not None else ()
    origins = former.origins if former is not None and former.origins else (UNKNOWN,) * len(wordings)
    return {"wordings": (text, *wordings), "origins": (PATCH, *origins), "chosen": 0}


def _extended(rule: Rule, conflict: Conflict) -> Rule:
    """Extend a rule's labels and support by those of the errors; its effect is no longer known."""
    labels = tuple(dict.fromkeys((*rule.labels, *conflict.labels)))
    support = tuple(dict.fromkeys((*rule.support, *conflict.example_ids)))
    return rule.model_copy(update={"labels": labels, "support": support, "effect": None})
