"""Screening: what a patch's texts alone show to be of no use, before the student is asked anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..rules import RuleSet
from ..task.labels import NO_LABEL
from ..task.splits import normalized
from ..teacher.signatures import Patch
from .conflicts import Conflict
from .mistakes import Mistake
from .patch import Edit, Unusable
from .pool import Pool

FEWEST_WORDS = 4
"""An input of fewer words may well be a sign that a rule should name."""

_ARTICLES = frozenset(("a", "an", "the"))

_FRAME = ENGLISH_STOP_WORDS.union(
    normalized(
        "answer answers correct error example feedback input label leaned mentions message question reads right rule "
        "said say says sentence text"
    ).split()
)
"""Words that may stand around the copy of an input without making a rule of it."""


_TOLD = re.compile(r"\((?:unusable|refused):|\bright answer:|\bits answer:", re.IGNORECASE)
"""What stands around errors and earlier patches in the teacher's prompt, and in no rule."""


def screened(patch: Patch, edit: Edit, rules: RuleSet, conflict: Conflict, pool: Pool) -> None:
    """Refuse a teacher's patch whose texts hold nothing new.

    Texts count as the same where they differ in case, punctuation and articles only: a single other word may be all
    that a good patch changes.

    Args:
        patch: the change.
        edit: the change in effect.
        rules: the set in use.
        conflict: what the patch is for.
        pool: holds its examples, and tells the labels.

    Raises:
        Unusable: a text has no words, repeats the prompt's form, is only the input of one of the errors, names no label
            though the rule is to name one, says what a rule says already, or says the same as another text of the
            patch.
    """
    if patch.kind == "retire":
        return
    # A rule that names no label itself (how to read, what to leave aside) may be reworded into another of its kind.
    names_label = not edit.old or any(_names_label(rule.text, pool) for rule in edit.old)
    for text in patch.texts:
        if not normalized(text):
            raise Unusable("a text has no words")
        copied = next((one for one in conflict.mistakes if _is_copy(text, one, pool)), None)
        if copied is not None:
            raise Unusable(f"it only repeats the input of the error {copied.example_id}; name a general sign")
        if _TOLD.search(text):
            raise Unusable("it repeats the form in which errors or earlier patches are told")
        if names_label and not _names_label(text, pool):
            raise Unusable("a text names none of the labels")
    if len({_gist(text) for text in patch.texts}) < len(patch.texts):
        raise Unusable("two of its texts say the same")
    _new(patch, edit, rules)


def _new(patch: Patch, edit: Edit, rules: RuleSet) -> None:
    """Refuse what leaves a rule as it was, or repeats another one; other wordings of the same rule are welcome."""
    former = [rule.text for rule in edit.old]
    if former and not set(_gists(made.text for made in edit.new)) - set(_gists(former)):
        raise Unusable(f"it leaves the rule {edit.old[0].id} as it is")
    if patch.kind == "add_exception":
        if any(f" {_gist(patch.texts[0])} " in f" {_gist(text)} " for text in former):
            raise Unusable(f"the rule {edit.old[0].id} says that already")
        return
    for rule in rules.rules:
        known = {*_gists(rule.wordings), *_gists(f"{rule.id}: {wording}" for wording in rule.wordings)}
        if rule not in edit.old and known & set(_gists(patch.texts)):
            raise Unusable(f"the rule {rule.id} says that already")


def _is_copy(text: str, mistake: Mistake, pool: Pool) -> bool:
    """Tell whether a text is a mistake's input, or a piece of it, with nothing around it but labels and set phrases."""
    said, read = f" {normalized(text)} ", f" {normalized(pool.texts[mistake.row])} "
    if min(len(said.split()), len(read.split())) < FEWEST_WORDS:
        return False
    if said in read:
        return True
    shown = normalized(" ".join((*pool.task.labels, mistake.rule or "", mistake.feedback)))
    around = said.replace(read, " ", 1).split()
    return read in said and _FRAME.union(shown.split()).issuperset(around)


def _names_label(text: str, pool: Pool) -> bool:
    """Look for a label anywhere in a text, also within a word: not all languages part words by spaces."""
    named = (*pool.task.labels, NO_LABEL) if pool.task.several else pool.task.labels
    return any(normalized(label) in normalized(text) for label in named)


def _gists(texts: Iterable[str]) -> list[str]:
    return [_gist(text) for text in texts]


def _gist(text: str) -> str:
    return " ".join(word for word in normalized(text).split() if word not in _ARTICLES)
