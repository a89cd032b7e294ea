"""How a synthetic student answers: a response surface that is known in full, but hidden from every search.

A student has one logit per label for every example. A rule in the prompt pushes the examples that it covers towards its
own label, and all others a little; how hard depends on its wording, on where it stands (the first and the last rule
count most), on how many rules there are (the more rules, the less each counts), and on what else is in the prompt:
rules that say the same thing count once, the rules of some pairs reverse each other, and some rules do nothing until
enough rules of their club are in the prompt. The answer is the label with the highest logit after noise that is a hash
of prompt and example, so that equal prompts get equal answers in every process.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pld_dspy.scoring.f1 import Floats, Ints

Salt = NDArray[np.uint64]
Prompt = tuple[tuple[int, int], ...]
"""(rule number, wording number) of each rule in the prompt, first to last."""

DILUTION = 25.0
"""With this many rules in the prompt, each counts half as much as alone."""
PRIMACY, RECENCY, MIDDLE = 0.8, 0.4, 0.7
DROWNING = 0.06
"""Push of a rule on examples that it does not cover: a label that many rules name is answered often."""
REVERSED = -0.7
"""What is left of the push of a rule whose rival is in the prompt too."""
BELOW_QUORUM = 0.15
"""What is left of the push of a rule whose club is too small."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The response surface of one student over N examples, K rules and C labels.

    Attributes:
        start: N x C logits without any rule.
        cover: N x K, 1 if the rule is about the example, else 0.
        rule_labels: K label numbers, the label that each rule names.
        strength: K x wordings, push in logits of each wording on the examples that the rule covers.
        twin: K group numbers; of rules with the same number, only the strongest acts on an example.
        pairs: P x 2 rule numbers; the two rules of a pair reverse each other.
        club: K club numbers, -1 for none.
        needed: rules of a club that must be in the prompt for any of them to count.
        temperature: of the noise; the answer is a draw from the softmax at this temperature.
        salt: N x C random bits, from which the noise of an example is hashed.
    """

    start: Floats
    cover: Floats
    rule_labels: Ints
    strength: Floats
    twin: Ints
    pairs: Ints
    club: Ints
    needed: int
    temperature: float
    salt: Salt

    def answers(self, prompt: Prompt, rows: slice) -> Ints:
        """Return the label numbers that the student gives for the examples ``rows``."""
        logits = self.start[rows]
        if prompt:
            logits = logits + self._pushes(np.array(prompt, dtype=np.int64), rows)
        logits = logits + self.temperature * _gumbel(prompt, self.salt[rows])
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)

    def _pushes(self, prompt: Ints, rows: slice) -> Floats:
        """Return what the prompt adds to the logits: rows x C."""
        used, wording = prompt.T
        force = self.strength[used, wording] * heed(len(used)) * self._switches(used)
        drowned = np.bincount(self.rule_labels[used], weights=force, minlength=self.start.shape[1])

        order = np.argsort(self.twin[used], kind="stable")
        used, force = used[order], force[order]
        firsts = np.flatnonzero(np.diff(self.twin[used], prepend=-1))
        felt = np.maximum.reduceat(self.cover[rows][:, used] * force, firsts, axis=1)
        towards = np.eye(self.start.shape[1])[self.rule_labels[used[firsts]]]
        return np.asarray(felt @ towards + DROWNING * drowned)

    def _switches(self, used: Ints) -> Floats:
        """Return the factor by which the rest of the prompt changes each rule's force."""
        present = np.zeros(len(self.rule_labels), dtype=bool)
        present[used] = True
        rivals = self.pairs[present[self.pairs].all(axis=1)]
        clubs = np.where(present, self.club, -1)
        members = np.bincount(clubs[clubs >= 0], minlength=int(self.club.max(initial=-1)) + 1)
        idle = np.array([club >= 0 and members[club] < self.needed for club in self.club[used]])
        return np.where(np.isin(used, rivals), REVERSED, 1.0) * np.where(idle, BELOW_QUORUM, 1.0)


def heed(size: int) -> Floats:
    """Return how much each of ``size`` rules counts: less the more there are, most at both ends."""
    place = np.arange(size) / max(size - 1, 1)
    ends = PRIMACY * np.maximum(0, 1 - 2 * place) ** 2 + RECENCY * np.maximum(0, 2 * place - 1) ** 2
    return np.asarray((MIDDLE + ends) / (1 + (size - 1) / (DILUTION - 1)))


def _gumbel(prompt: Prompt, salt: Salt) -> Floats:
    """Gumbel noise that depends on prompt and example alone; argmax with it draws from a softmax."""
    content = hashlib.blake2b(np.array(prompt, dtype="<i8").tobytes(), digest_size=8).digest()
    mixed = _mixed(salt ^ np.frombuffer(content, dtype="<u8")[0])
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(-np.log(-np.log(uniform)))


def _mixed(bits: Salt) -> Salt:
    """The finalizer of SplitMix64 (Steele et al. 2014): every input bit changes every output bit."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))
