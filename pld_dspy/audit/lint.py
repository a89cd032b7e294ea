"""Lint of rules: what a reviewer should look at before rules go out. No model is asked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from pydantic import BaseModel
from sklearn.feature_extraction.text import TfidfVectorizer

from ..rules import MicroRule, Rule
from ..task.task import input_text
from .wording import WordingCheck, words_of

CONTRADICTION, DUPLICATE, NO_RULE, OTHER_LABEL = (
    "contradiction",
    "near-duplicate",
    "label without a rule",
    "other label",
)

SAME = 0.8
"""Conditions whose TF-IDF vectors have this cosine say nearly the same."""

_ANSWERS = (
    r"\b(?:answer|answers|choose|label|labelled|select|pick|return|output|say|book it to|(?:classify|mark) (?:it )?as)"
)


class Finding(BaseModel):
    """One thing in rules that a person should look at."""

    rule_id: str | None  # None: of all rules together
    kind: str
    text: str  # what was found, in one line


def lint(rules: Sequence[Rule], labels: Sequence[str], texts: Mapping[str, str] = {}) -> list[Finding]:
    """Return what to look at in the wordings of ``rules``, rule by rule, then between rules.

    ``texts`` are the training texts by example id, for quotations and names; without them these are not found.
    """
    check = WordingCheck((wording for rule in rules for wording in rule.wordings), texts, labels)
    findings: list[Finding] = []
    for rule in rules:
        for number, wording in enumerate(rule.wordings):
            where = "" if number == rule.chosen else f"wording {number + 1}: "
            faults = [*check.findings(wording), *_other_labels(rule, wording, labels)]
            findings += [Finding(rule_id=rule.id, kind=kind, text=_one_line(where + text)) for kind, text in faults]
    return [*findings, *_between(rules, labels)]


def lint_learned(rules: Sequence[Rule], labels: Sequence[str], micro_rules: Iterable[MicroRule]) -> list[Finding]:
    """Return the same, where the training texts are the inputs of ``micro_rules``."""
    return lint(rules, labels, {one.example_id: input_text(one.inputs) for one in micro_rules})


def _other_labels(rule: Rule, wording: str, labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    other = _answered(wording, labels) - set(rule.labels)
    if rule.labels and other:
        yield OTHER_LABEL, f"it answers {', '.join(sorted(other))}; its labels are {', '.join(rule.labels)}"


def _answered(wording: str, labels: Sequence[str]) -> set[str]:
    """Return the labels that a wording says to answer."""
    begin = rf"(?<!not )(?<!never ){_ANSWERS}[ :]+(?:with |is |the label )?[\"'`]?"
    return {label for label in labels if re.search(rf"{begin}{re.escape(label)}(?!\w)", wording, re.IGNORECASE)}


def _between(rules: Sequence[Rule], labels: Sequence[str]) -> Iterator[Finding]:
    """Yield contradictions, near-duplicates, and labels without a rule; nothing where there are no rules."""
    decided = [_answered(rule.text, labels) or set(rule.labels) for rule in rules]
    for first, second in _alike([_condition(rule.text, labels) for rule in rules]):
        one, other = rules[first], rules[second]
        if decided[first] & decided[second] or not (decided[first] and decided[second]):
            kind, text = DUPLICATE, f"it says nearly the same as {one.id}"
        else:
            answers = f"{', '.join(sorted(decided[first]))} there, {', '.join(sorted(decided[second]))} here"
            kind, text = CONTRADICTION, f"nearly the same condition as {one.id}, but {answers}"
        yield Finding(rule_id=other.id, kind=kind, text=text)
    named = {label for rule in rules for label in rule.labels}.union(*decided)
    for label in labels if rules else ():
        if label not in named:
            yield Finding(rule_id=None, kind=NO_RULE, text=f"no rule names {label}")


def _condition(wording: str, labels: Sequence[str]) -> str:
    """Return the words of a wording without labels and words for answering."""
    label_words = {word for label in labels for word in words_of(label)}
    words = words_of(re.sub(_ANSWERS, " ", wording, flags=re.IGNORECASE))
    return " ".join(word for word in words if word not in label_words)


def _alike(conditions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of conditions, by position, that say nearly the same."""
    if any(conditions):
        vectors = TfidfVectorizer(token_pattern=r"\S+").fit_transform(conditions)
        cosines = (vectors @ vectors.T).toarray()
        yield from (pair for pair in combinations(range(len(conditions)), 2) if cosines[pair] >= SAME)


def _one_line(text: str) -> str:
    return " ".join(text.split())
