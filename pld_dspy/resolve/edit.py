"""Apply a patch, with ids and provenance kept; refuse a teacher's patch that says nothing new."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice, product
from string import ascii_lowercase
from typing import Any, get_args

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..rules import PATCH, UNKNOWN, Rule, RuleSet, label_slug
from ..task.labels import NO_LABEL
from ..task.splits import normalized
from ..task.task import Task
from ..teacher.signatures import Patch, PatchKind, is_unfilled
from .records import Conflict, Mistake

MOST_WORDS = 90
"""Twice what the teacher is asked for. A longer rule generalizes nothing, and every call would pay for it."""

MOST_PARTS = 4

FEWEST_WORDS = 4
"""An input of fewer words may be a good sign for a rule to name."""

_ARTICLES = frozenset(("a", "an", "the"))

_FRAME = ENGLISH_STOP_WORDS.union(
    normalized(
        "answer answers correct error example feedback input label leaned mentions message question reads right rule "
        "said say says sentence text"
    ).split()
)
"""Words around the copy of an input that do not make it a rule."""

_PROMPT_FORM = re.compile(r"\((?:unusable|refused):|\bright answer:|\bits answer:", re.IGNORECASE)
"""How the teacher's prompt shows errors and earlier patches; no rule reads like that."""


class Unusable(Exception):
    """A patch that cannot be applied to these rules, or is not worth a try; the message says why."""


@dataclass(frozen=True)
class Edit:
    """An applied patch: the rule set and bench after it."""

    kind: PatchKind
    rules: RuleSet
    bench: list[Rule]
    old: tuple[Rule, ...]  # rules that it changes or removes, as they were
    new: tuple[Rule, ...]  # rules that replace them


def apply_patch(patch: Patch, rules: RuleSet, bench: Sequence[Rule], conflict: Conflict) -> Edit:
    """Apply ``patch``; if it names no rule, the rule of ``conflict`` is meant.

    A changed rule keeps its id and its earlier wordings; its support and labels are extended by those of the errors.
    The parts of a split rule inherit support and labels, and are named after it: ``gender-2a``, ``gender-2b``. Removed
    rules go to the bench. A text that a rule already has as a wording, in use or on the bench, brings that one back.
    Raises Unusable if the patch does not fit.
    """
    if patch.kind == "unreadable":
        raise Unusable(f"its kind is none of {', '.join(get_args(PatchKind))}")
    place = _place(patch.rule or conflict.rule, rules)
    if patch.kind == "add":
        new: tuple[Rule, ...] = (_added(patch.texts, rules, bench, conflict),)
        before, after = (rules.rules[:place], rules.rules[place:]) if place is not None else (rules.rules, ())
        bench = [rule for rule in bench if rule.id != new[0].id]
        return Edit("add", rules.with_rules((*before, *new, *after)), bench, (), new)
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
    changed = rules.with_rules((*rules.rules[:place], *new, *rules.rules[place + 1 :]))
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
    """Extend a rule's labels and support by those of the errors."""
    labels = tuple(dict.fromkeys((*rule.labels, *conflict.labels)))
    support = tuple(dict.fromkeys((*rule.support, *conflict.example_ids)))
    return rule.model_copy(update={"labels": labels, "support": support})


def check_novel(patch: Patch, edit: Edit, rules: RuleSet, conflict: Conflict, task: Task) -> None:
    """Raise Unusable if a text says nothing new, copies an error or the prompt, or names no label though it should.

    Texts count as equal if they differ only in case, punctuation and articles: a good patch may change a single word.
    """
    if patch.kind == "retire":
        return
    # A rule that names no label ("read the whole text") may be reworded without one.
    needs_label = not edit.old or any(_names_label(rule.text, task) for rule in edit.old)
    for text in patch.texts:
        if not normalized(text):
            raise Unusable("a text has no words")
        copied = next((mistake for mistake in conflict.mistakes if _copies(text, mistake, task)), None)
        if copied is not None:
            raise Unusable(f"it only repeats the input of the error {copied.example_id}; name a general sign")
        if _PROMPT_FORM.search(text):
            raise Unusable("it repeats the form in which errors or earlier patches are told")
        if needs_label and not _names_label(text, task):
            raise Unusable("a text names none of the labels")
    if len(_gists(patch.texts)) < len(patch.texts):
        raise Unusable("two of its texts say the same")
    _check_against_rules(patch, edit, rules)


def _check_against_rules(patch: Patch, edit: Edit, rules: RuleSet) -> None:
    former = [rule.text for rule in edit.old]
    if former and not _gists(rule.text for rule in edit.new) - _gists(former):
        raise Unusable(f"it leaves the rule {edit.old[0].id} as it is")
    if patch.kind == "add_exception":
        [added] = _gists(patch.texts)
        if any(f" {added} " in f" {text} " for text in _gists(former)):
            raise Unusable(f"the rule {edit.old[0].id} says that already")
        return
    for rule in rules.rules:  # another wording of the rule that the patch changes is welcome
        known = _gists(text for wording in rule.wordings for text in (wording, f"{rule.id}: {wording}"))
        if rule not in edit.old and known & _gists(patch.texts):
            raise Unusable(f"the rule {rule.id} says that already")


def _copies(text: str, mistake: Mistake, task: Task) -> bool:
    """Tell whether a text is all or part of a mistake's input, with only labels and set phrases around it."""
    words, read = f" {normalized(text)} ", f" {normalized(mistake.text)} "
    if min(len(words.split()), len(read.split())) < FEWEST_WORDS:
        return False
    if words in read:
        return True
    shown = normalized(" ".join((*task.labels, mistake.rule or "", mistake.feedback)))
    around = words.replace(read, " ", 1).split()
    return read in words and _FRAME.union(shown.split()).issuperset(around)


def _names_label(text: str, task: Task) -> bool:
    """Look for a label anywhere in a text, also within a word: not every language separates words by spaces."""
    labels = (*task.labels, NO_LABEL) if task.several else task.labels
    return any(normalized(label) in normalized(text) for label in labels)


def _gists(texts: Iterable[str]) -> set[str]:
    """Return texts without case, punctuation and articles."""
    return {" ".join(word for word in normalized(text).split() if word not in _ARTICLES) for text in texts}
