"""Resolving: what still fails goes back to the teacher; what it proposes joins the pool, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
import numpy as np

from ..errors import BudgetExceeded
from ..ledger.answer import NOT_ASKED, Answer
from ..rules import Rule, RuleSet
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator, logprobs_of
from ..student.redecide import matching_offsets, redecide
from ..task.splits import stratified
from ..task.task import example_id
from ..teacher.signatures import Change, ReviseRules
from ..teacher.teacher import Teacher
from .diagnosis import as_shown, find_hard_examples
from .edit import Revision
from .records import STAGE, Choice, HardExample, PatchRecord, Resolution, Round
from .resolve_config import ResolveConfig

MOST_BENCH = 60
"""Rules of the bench in one prompt: first those for labels that the student misses."""


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """Lets the teacher revise the rules by what the student gets wrong, and searches on, round by round.

    Source: the conflict resolution of arXiv 2602.21103; that the search decides on the changes is our own.
    """

    evaluator: Evaluator  # the student as a function of its rules
    teacher: Teacher
    config: ResolveConfig
    unshown: Callable[[RuleSet | None], Sequence[dspy.Example]]  # rules -> training examples to find errors in
    text: Callable[[dspy.Example], str]  # what the student reads of an example
    go_on: Callable[[Sequence[Rule], RuleSet], Choice]  # searches on, over a larger pool; asks the revised rules first
    banned: Sequence[Rule] = ()  # by people
    calibrated: bool = False  # whether answers are decided with offsets; errors are then those that offsets leave
    seed: int = 0  # of the sample

    def run(self, choice: Choice, pool: Sequence[Rule]) -> Resolution:
        """Go on from what the search over ``pool`` chose.

        The rounds end early where nothing is wrong, the teacher proposes nothing usable, or a cap is reached. A run
        that was stopped and starts again repeats no call, and ends where it would have ended.
        """
        found = Resolution()
        for _ in range(self.config.max_rounds):
            rules = choice.rules or RuleSet()
            try:
                hard = self._hard_examples(choice.rules)
            except BudgetExceeded as error:
                found.stopped = str(error)
                break
            known = {rule.id: rule for rule in pool}
            revision = Revision(known, [*rules.rules], hard, self.evaluator.task, self.banned)
            patches = self._proposed(revision, found) if hard else []
            if not any(patch.usable for patch in patches):
                found.patches += patches
                break
            before, pool = choice.objective, list(revision.pool.values())
            choice = self.go_on(pool, rules.with_rules(revision.order))
            chosen = choice.rules or RuleSet()
            if chosen.digest != rules.digest:
                ids = [rule.id for rule in revision.order]
                patches = [patch.judged(chosen, ids) for patch in patches]
            found.patches += patches
            found.rounds.append(Round(before, choice.objective))
            found.stopped = choice.stopped
            if choice.stopped is not None:
                break
        return found

    def _hard_examples(self, rules: RuleSet | None) -> list[HardExample]:
        train, rng = self.unshown(rules), np.random.default_rng(self.seed)
        task = self.evaluator.task
        rows = stratified(task.strata(train), self.config.sample, rng)
        examples, names = [train[row] for row in rows], [example_id(train[row], row) for row in rows]
        answers = self.evaluator.answers(rules, examples, stage=STAGE)
        offsets = matching_offsets(answers, examples, task) if self.calibrated else Offsets.none(task.labels)
        return find_hard_examples(
            dict(zip(names, examples, strict=True)),
            redecide(answers, offsets, self.evaluator),
            logprobs_of(answers, task) + np.array(offsets.values),
            self.evaluator,
            most=self.config.errors,
            text=self.text,
        )

    def _proposed(self, revision: Revision, so_far: Resolution) -> list[PatchRecord]:
        """Ask the teacher once, and apply to the revision what is usable of its changes."""
        used, missed = {rule.id for rule in revision.order}, {label for one in revision.hard for label in one.missed}
        bench = [rule for rule in revision.pool.values() if rule.id not in used]
        bench.sort(key=lambda rule: not missed & {*rule.labels})
        inputs = {
            "labels": ", ".join(revision.task.labels),
            "rules": [f"{rule.id}{' (pinned: it stays)' * rule.pin}: {rule.text}" for rule in revision.order],
            "bench": [f"{rule.id}: {rule.text}" for rule in bench[:MOST_BENCH]],
            "errors": as_shown(revision.hard),
            "earlier": so_far.earlier(),
        }
        [answer] = self.teacher.ask(ReviseRules, [inputs], stage=STAGE, texts=_texts, empty_reason="it changed nothing")
        seen: dict[str, Any] = {
            "round": len(so_far.rounds) + 1,
            "errors": tuple(one.example_id for one in revision.hard),
        }
        changes = _changes(answer)
        if not changes and answer != NOT_ASKED and (answer.outputs is not None or answer.is_kept):
            reason = answer.error or "it proposes no change"
            return [PatchRecord(**seen, kind="malformed", usable=False, reason=reason)]
        return [PatchRecord(**seen, **revision.tried(change)) for change in changes]


def _changes(answer: Answer) -> list[Change]:
    return [Change.model_validate(row) for row in (answer.outputs or {}).get("changes") or ()]


def _texts(answer: Answer) -> list[str]:
    """Return the texts of the changes, and for one that needs none its kind."""
    return [text for change in _changes(answer) for text in change.texts or (change.kind,)]
