"""Refuse a teacher's patch that says nothing new, judging by its texts, before the student is asked anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from ..rules import RuleSet
from ..task.labels import NO_LABEL
from ..task.splits import normalized
from ..task.task import Task
from ..teacher.signatures import Patch
from .edit import Edit, Unusable
from .records import Conflict, Mistake

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


def check_novel(patch: Patch, edit: Edit, rules: RuleSet, conflict: Conflict, task: Task) -> None:
    """Refuse a patch whose texts say nothing new.

    Texts count as equal if they differ only in case, punctuation and articles: a good patch may change a single word.

    Raises:
        Unusable: a text has no words, copies the input of an error or the form of the prompt, names no label although
            the rule should, or says what a rule or another text of the patch says.
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
