"""Synthetic students: families of response surfaces, with rules and validation examples."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property

import dspy
import numpy as np
from numpy.typing import NDArray

from pld_dspy.rules import Rule, RuleSet
from pld_dspy.scoring.f1 import Floats, Ints
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.task.task import Task

from .surface import Prompt, Surface

Kinds = NDArray[np.str_]

LABELS = ("north", "east", "south", "west")
SHARES = (0.4, 0.3, 0.2, 0.1)
"""Share of each label among the examples; which label gets which share is random."""
UNSEEN = 4000
TASK = Task(predictor="self", label_field="label", labels=LABELS, inputs=("text",))

USEFUL, REDUNDANT, HARMFUL, INERT = "useful", "redundant", "harmful", "inert"
MIX = {USEFUL: 0.4, REDUNDANT: 0.2, HARMFUL: 0.2}
"""Share of the rules of each kind; the rest is inert."""
WORDINGS = 3
STRAY = 0.03
"""How often a rule covers an example by mistake."""
FALSE_COPY = 0.1
"""Share of examples on which a redundant rule and the rule that it repeats are drawn independently."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the students of a family differ from rules whose effects just add up.

    Attributes:
        paired: share of the useful rules that are in pairs which reverse each other.
        needed: rules of a club that must be in the prompt for any of them to count; 1 for no clubs.
        temperature: of the noise by prompt and example.
    """

    paired: float = 0.0
    needed: int = 1
    temperature: float = 0.35


FAMILIES = {
    "additive": Family(),
    "conflict": Family(paired=0.8),
    "threshold": Family(needed=3),
    "chaotic": Family(temperature=1.0),
}


@dataclass(frozen=True, kw_only=True)
class Student:
    """A student, and what a search needs to find its best rules.

    Attributes:
        rules: K rules with two or three wordings each.
        kinds: K kinds: useful, redundant, harmful or inert. Hidden from every search.
        valset: n validation examples, the first rows of the surface.
        surface: how the student answers, over validation and then unseen examples.
        golds: gold label numbers of all examples.
    """

    rules: tuple[Rule, ...]
    kinds: tuple[str, ...]
    valset: list[dspy.Example]
    surface: Surface
    golds: Ints

    @property
    def validation(self) -> slice:
        """Rows of the validation examples."""
        return slice(0, len(self.valset))

    @property
    def unseen(self) -> slice:
        """Rows of the unseen examples."""
        return slice(len(self.valset), None)

    @cached_property
    def _numbers(self) -> dict[str, tuple[int, int]]:
        return {text: (j, w) for j, rule in enumerate(self.rules) for w, text in enumerate(rule.wordings)}

    def prompt(self, rules: RuleSet | None) -> Prompt:
        """Return ``rules`` as the surface takes them; None is the same as no rules."""
        return tuple(self._numbers[rule.text] for rule in rules.rules) if rules is not None else ()

    def true_macro_f1(self, rules: RuleSet | None) -> float:
        """Return macro-F1 under ``rules`` on the unseen examples."""
        answers = self.surface.answers(self.prompt(rules), self.unseen)
        golds = self.golds[self.unseen]
        return macro_f1([LABELS[gold] for gold in golds], [LABELS[answer] for answer in answers], LABELS)

    def planted(self) -> RuleSet:
        """Return the useful rules in their strongest wordings, one of each pair: close to the best set there is."""
        rivals = set(self.surface.pairs[:, 1].tolist())
        best = self.surface.strength.argmax(axis=1)
        return RuleSet(
            rules=tuple(
                rule.with_wording(int(best[j]))
                for j, rule in enumerate(self.rules)
                if self.kinds[j] == USEFUL and j not in rivals
            )
        )


def make_student(family: str, k: int, n: int, seed: int) -> Student:
    """Draw a student; equal arguments give the same one in every process.

    Args:
        family: a name in ``FAMILIES``.
        k: number of rules.
        n: number of validation examples.
        seed: of the draw.
    """
    rng = np.random.default_rng([seed, zlib.crc32(family.encode()), k, n])
    shape = FAMILIES[family]
    shares = rng.permutation(SHARES)
    golds = np.concatenate([_golds(rng, shares, n), _golds(rng, shares, UNSEEN)])
    kinds, twin, rule_labels = _draw_kinds(rng, k)
    cover = _cover(rng, golds, kinds, twin, rule_labels)
    rules = tuple(_rule(j, rule_labels[j], wordings=2 + int(rng.integers(WORDINGS - 1))) for j in range(k))
    useful = np.flatnonzero(kinds == USEFUL)
    worthy = np.isin(kinds, [USEFUL, REDUNDANT])
    surface = Surface(
        start=_start(rng, golds),
        cover=cover,
        rule_labels=rule_labels,
        strength=_strength(rng, rules, kinds),
        twin=twin,
        pairs=rng.permutation(useful)[: 2 * int(shape.paired * len(useful) / 2)].reshape(-1, 2),
        club=np.where(worthy & (shape.needed > 1), rule_labels % 2, -1),
        needed=shape.needed,
        temperature=shape.temperature,
        salt=rng.integers(2**64, size=(len(golds), len(LABELS)), dtype=np.uint64),
    )
    return Student(rules=rules, kinds=tuple(kinds.tolist()), valset=_examples(golds[:n]), surface=surface, golds=golds)


def _golds(rng: np.random.Generator, shares: Floats, size: int) -> Ints:
    """Return gold labels in exact shares, since validation sets are stratified in practice."""
    edges = np.round(np.cumsum(shares) * size).astype(np.int64)
    return np.asarray(rng.permutation(np.searchsorted(edges, np.arange(size), side="right")))


def _draw_kinds(rng: np.random.Generator, k: int) -> tuple[Kinds, Ints, Ints]:
    """Return kind, twin group and label of each rule; a redundant rule has the group and label of a useful one."""
    counts = {kind: round(share * k) for kind, share in MIX.items()}
    named = [kind for kind, count in counts.items() for _ in range(count)]
    kinds = rng.permutation(np.array(named + [INERT] * (k - len(named))))
    useful, redundant = (np.flatnonzero(kinds == kind) for kind in (USEFUL, REDUNDANT))
    rule_labels = rng.integers(len(LABELS), size=k)
    rule_labels[useful] = np.arange(len(useful)) % len(LABELS)
    twin = np.arange(k)
    twin[redundant] = rng.choice(useful, size=len(redundant))
    rule_labels[redundant] = rule_labels[twin[redundant]]
    return kinds, twin, rule_labels


def _cover(rng: np.random.Generator, golds: Ints, kinds: Kinds, twin: Ints, rule_labels: Ints) -> Floats:
    """Draw which examples each rule covers; a harmful rule is too general, and covers more of a wrong label."""
    rates = np.full((len(rule_labels), len(LABELS)), STRAY)
    for j, kind in enumerate(kinds):
        rates[j, rule_labels[j]] = rng.uniform(0.25, 0.6)
        if kind == HARMFUL:
            rates[j, rule_labels[j]] = 0.15
            rates[j, rng.choice(np.delete(np.arange(len(LABELS)), rule_labels[j]))] = rng.uniform(0.3, 0.5)
    rates = rates[twin]
    cover = rng.random((len(golds), len(rule_labels))) < rates.T[golds]
    copies = rng.random(cover.shape) >= FALSE_COPY
    return np.asarray(np.where(copies, cover[:, twin], cover), dtype=np.float64)


def _start(rng: np.random.Generator, golds: Ints) -> Floats:
    """Return logits without rules: a bias for some labels, noise, and an example's own push to its gold label."""
    start = rng.normal(0, 0.5, len(LABELS)) + rng.normal(0, 0.6, (len(golds), len(LABELS)))
    start[np.arange(len(golds)), golds] += rng.normal(0.4, 0.8, len(golds))
    return np.asarray(start)


def _strength(rng: np.random.Generator, rules: tuple[Rule, ...], kinds: Kinds) -> Floats:
    """Return the push of each wording; an inert rule covers examples like a useful one, but does hardly anything."""
    found = np.zeros((len(rules), WORDINGS))
    for j, rule in enumerate(rules):
        shares = np.array([1.0, rng.uniform(0.5, 0.9), rng.uniform(0.2, 0.6)])[: len(rule.wordings)]
        full = 0.1 if kinds[j] == INERT else rng.uniform(2.0, 4.0)
        found[j, : len(shares)] = full * rng.permutation(shares)
    return found


def _rule(j: int, label: int, *, wordings: int) -> Rule:
    texts = tuple(f"Of the kind {j}, in the words {w}: answer {LABELS[label]}." for w in range(wordings))
    return Rule(id=f"{LABELS[label]}-{j}", wordings=texts, labels=(LABELS[label],))


def _examples(golds: Ints) -> list[dspy.Example]:
    return [
        dspy.Example(id=str(row), text=f"Example {row}.", label=LABELS[gold]).with_inputs("text")
        for row, gold in enumerate(golds)
    ]
