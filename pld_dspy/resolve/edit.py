"""A teacher's changes, applied to the pool and to the ordered list; refused where they say nothing new."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count, product
from string import ascii_lowercase
from typing import Any, get_args

from ..rules import PATCH, UNKNOWN, Rule, label_slug
from ..task.labels import NO_LABEL
from ..task.splits import normalized
from ..task.task import Task
from ..teacher.signatures import Change, ChangeKind, is_unfilled
from .records import NOT_CHOSEN, HardExample

MOST_WORDS = 90
"""Twice what the teacher is asked for. A longer rule generalizes nothing, and every call would pay for it."""

MANY = range(1, 100)
_IDS = {"reword": [1], "split": [1], "merge": MANY[1:], "add": [0, 1], "retire": MANY, "move": [1, 2]}
_TEXTS = {"reword": [1], "split": [2, 3, 4], "merge": [1], "add": [1], "retire": range(100), "move": range(100)}
"""How many ids and texts a change takes."""

FEWEST_WORDS = 5
"""An input of fewer words may be a good sign for a rule to name."""

_PROMPT_FORM = re.compile(r"\bright answer:|\bits answer\b|\bnot chosen\)", re.IGNORECASE)
"""How the teacher's prompt tells of errors and earlier changes; no rule reads like that."""


class Unusable(Exception):
    """A change that cannot be applied to these rules, or is not worth a try; the message says why."""


@dataclass
class Revision:
    """The pool and the list, while changes are applied one after the other."""

    pool: dict[str, Rule]  # id -> rule; gains wordings and rules, and loses none
    order: list[Rule]  # the list, in wordings in use
    hard: Sequence[HardExample]
    task: Task
    banned: Sequence[Rule] = ()  # by people; none of them comes back

    def tried(self, change: Change) -> dict[str, Any]:
        """Apply a change if it is usable; return what its record says of it."""
        try:
            kind, old, new = self.apply(change)
        except Unusable as error:
            named = "malformed" if change.kind == "unreadable" else change.kind
            said = {"kind": named, "changed": change.ids, "after": change.texts}
            return {**said, "usable": False, "reason": f"unusable: {error}"}
        return {
            "kind": kind,
            "changed": tuple(rule.id for rule in old),
            "made": tuple(rule.id for rule in new),
            "before": tuple(rule.text for rule in old),
            "after": tuple(rule.text for rule in new),
            "usable": True,
            "reason": NOT_CHOSEN,
        }

    def apply(self, change: Change) -> tuple[ChangeKind, Sequence[Rule], Sequence[Rule]]:
        """Apply a change; Unusable if it does not fit, says nothing new or copies what the teacher was shown.

        A text that is a wording of a rule already brings that one back. A reworded rule keeps its wordings before the
        new one, so that their numbers stay; where the text answers another label, a new rule takes its place. New rules
        have the labels that their texts name, then those of the rules they replace; their support is that of these
        rules, else the hard examples of their label.

        Returns:
            What was meant; the rules that it concerns, as they were; and those that it makes or rewords.
        """
        ids, kind = [self._id(name) for name in change.ids], change.kind
        texts = [_without_id(text, self.pool) for text in change.texts]
        if kind == "unreadable":
            raise Unusable(f"its kind is none of {', '.join(get_args(ChangeKind))}")
        if kind in ("split", "merge") and len(ids) == len(texts) == 1:
            kind = "reword"
        if kind == "add" and ids and not texts:
            kind = "move"
        if len(ids) not in _IDS[kind] or len(texts) not in _TEXTS[kind]:
            raise Unusable(f"{kind} does not go with {len(ids)} ids and {len(texts)} texts")
        old = [self._current(name) for name in ids]
        if kind != "add" and (pinned := next((rule.id for rule in old if rule.pin), None)):
            raise Unusable(f"people pinned the rule {pinned}: it stays as it is, and where it is")
        new, gone, before = self._edited(kind, old, texts)
        order = self._order_after(new, gone, before)
        if order == self.order:
            raise Unusable("it leaves the list as it is")
        self.order = order
        self.pool |= {rule.id: rule.with_wording(0) for rule in new}
        return kind, [] if kind == "add" else old, [] if kind == "move" else new

    def _edited(
        self, kind: ChangeKind, old: Sequence[Rule], texts: Sequence[str]
    ) -> tuple[Sequence[Rule], Sequence[Rule], Rule | None]:
        """Return the rules to put into the list, those to take out, and the one to put them before; None: in place."""
        if kind == "move":
            others = [rule for rule in self.order if rule.id != old[0].id]
            return old[:1], old[:1], old[1] if len(old) > 1 else next(iter(others), None)
        if kind == "retire":
            return [], old, None
        replaced = [] if kind == "add" else old
        self._check_texts(texts, replaced)
        if kind == "reword" and (not old[0].labels or {*self.task.labels_named(texts[0])[:1]} <= {*old[0].labels}):
            return [self._reworded(old[0], texts[0])], old, None
        return self._made(texts, replaced), replaced, old[0] if kind == "add" and old else None

    def _order_after(self, new: Sequence[Rule], gone: Sequence[Rule], before: Rule | None) -> list[Rule]:
        """Return the list with ``new`` before a rule, else in place of the first one that is gone, else at the end."""
        out = {rule.id for rule in (*new, *gone)}
        mark = out if before is None else {before.id}
        place = next((place for place, rule in enumerate(self.order) if rule.id in mark), len(self.order))
        kept = [[rule for rule in part if rule.id not in out] for part in (self.order[:place], self.order[place:])]
        return [*kept[0], *new, *kept[1]]

    def _id(self, name: str) -> str:
        """Find the rule that is named, also within more text (``Rule gender-2:``)."""
        if name in self.pool:
            return name
        patterns = {one: rf"(?<![\w-]){re.escape(one)}(?![\w-])" for one in self.pool}
        found = [one for one, pattern in patterns.items() if re.search(pattern, name, re.IGNORECASE)]
        if len(found) != 1:
            raise Unusable(f"there is no rule {name[:60]!r}")
        return found[0]

    def _current(self, name: str) -> Rule:
        return next((rule for rule in self.order if rule.id == name), self.pool[name])

    def _reworded(self, old: Rule, text: str) -> Rule:
        rule, known = self.pool[old.id], _saying(text, self.pool.values())
        if known is not None:
            if known.id != rule.id:
                raise Unusable(f"the rule {known.id} says that already")
            return known
        origins = rule.origins or (UNKNOWN,) * len(rule.wordings)
        wordings = (*rule.wordings, text)
        more = {"wordings": wordings, "origins": (*origins, PATCH), "chosen": len(rule.wordings)}
        return rule.model_copy(update=more)

    def _made(self, texts: Sequence[str], old: Sequence[Rule]) -> list[Rule]:
        """Return a rule for each text: a new one, or one that is not in use and says that already."""
        made: list[Rule] = []
        for text in texts:
            known = _saying(text, self.pool.values())
            if known is None:
                taken = {rule.id for rule in (*self.pool.values(), *made, *self.banned)}
                made.append(self._new_rule(text, old, taken))
            elif known.id in {rule.id for rule in self.order} - {rule.id for rule in old}:
                raise Unusable(f"the rule {known.id} says that already")
            else:
                made.append(known)
        return made

    def _new_rule(self, text: str, old: Sequence[Rule], taken: set[str]) -> Rule:
        own = self.task.labels_named(text)
        labels = tuple(dict.fromkeys((*own[: 1 if old else None], *(label for rule in old for label in rule.labels))))
        endings = map("".join, chain.from_iterable(product(ascii_lowercase, repeat=size) for size in count(1)))
        slug = label_slug(labels[0] if labels else "")
        names = (f"{old[0].id}{end}" for end in endings) if len(old) == 1 else (f"{slug}-{n}" for n in count(1))
        support = [name for rule in old for name in rule.support]
        support = support or [one.example_id for one in self.hard if {*labels[:1]} & {*one.missed}]
        return Rule(
            id=next(name for name in names if name not in taken),
            wordings=(text,),
            origins=(PATCH,),
            labels=labels,
            support=tuple(dict.fromkeys(support)),
        )

    def _check_texts(self, texts: Sequence[str], old: Sequence[Rule]) -> None:
        """Raise Unusable if a text is no rule, or copies an example or the prompt."""
        # Rules that name no label ("read the whole text") may be replaced by such ones.
        needs_label = not old or any(self._names_label(rule.text) for rule in old)
        for text in texts:
            if (words := len(text.split())) > MOST_WORDS:
                raise Unusable(f"a rule of {words} words is too long; {MOST_WORDS} are the most")
            if is_unfilled(text) or not normalized(text):
                raise Unusable("a text says nothing, or repeats the form of a rule and fills nothing in")
            if copied := next((one.example_id for one in self.hard if _copies(text, one.text)), None):
                raise Unusable(f"it repeats the input of the example {copied}; name a general sign")
            if _saying(text, self.banned):
                raise Unusable("people banned a rule that says this")
            if _PROMPT_FORM.search(text):
                raise Unusable("it repeats the form in which errors or earlier changes are told")
            if needs_label and not self._names_label(text):
                raise Unusable("a text names none of the labels")
        if len({_gist(text) for text in texts}) < len(texts):
            raise Unusable("two of its texts say the same")

    def _names_label(self, text: str) -> bool:
        return bool(self.task.labels_named(text)) or (self.task.several and normalized(NO_LABEL) in normalized(text))


def _without_id(text: str, ids: Iterable[str]) -> str:
    """Return a text that does not begin with the id of a rule, as the rules in the teacher's prompt do."""
    return re.sub(rf"^(?:rule )?(?:{'|'.join(map(re.escape, ids)) or '$'}): *", "", text, flags=re.IGNORECASE)


def _copies(text: str, read: str) -> bool:
    """Tell whether a text is a part of an input or holds all of it; case and punctuation do not count."""
    one, other = f" {normalized(text)} ", f" {normalized(read)} "
    return min(len(one.split()), len(other.split())) >= FEWEST_WORDS and (one in other or other in one)


def _saying(text: str, rules: Iterable[Rule]) -> Rule | None:
    """Return the first of ``rules`` that has ``text`` as a wording, in that wording."""
    worded = (rule.with_wording(number) for rule in rules for number in range(len(rule.wordings)))
    return next((rule for rule in worded if _gist(rule.text) == _gist(text)), None)


def _gist(text: str) -> str:
    """Return a text without case, punctuation and articles: a good change may be a single word."""
    return " ".join(word for word in normalized(text).split() if word not in ("a", "an", "the"))
