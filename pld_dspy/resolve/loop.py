"""The conflict loop: find errors, get patches for them, keep those that pay, until validation stops improving."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import dspy
import numpy as np

from ..errors import BudgetExceeded
from ..local.embedding import EmbedderChoice
from ..rules import Rule, RuleSet
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator
from ..student.redecide import OffsetEvaluator, matching_offsets, redecide, redecide_to_match_gold
from ..teacher.signatures import Patch
from ..teacher.teacher import Teacher
from .diagnosis import diagnose
from .edit import Edit, Unusable, apply_patch
from .judge import guard_rows, judge
from .pool import Pool
from .propose import propose, unaided
from .records import STAGE, Conflict, PatchRecord, Resolution, Round, Source
from .resolve_config import ResolveConfig

logger = logging.getLogger(__name__)

MOST_ALTERNATIVES = 3
"""Patches tried for one conflict per round."""


def resolve(
    rules: RuleSet,
    bench: Sequence[Rule],
    train: Sequence[dspy.Example],
    val: Sequence[dspy.Example],
    evaluator: Evaluator,
    *,
    texts: Sequence[str],
    teacher: Teacher | None,
    config: ResolveConfig,
    embedder: EmbedderChoice = "tfidf",
    calibrated: bool = False,
    seed: int = 0,
    on_patch: Callable[[PatchRecord], object] | None = None,
) -> Resolution:
    """Correct the student's errors on training data by patching its rules.

    Each round groups the errors by the rule that caused them and gets patches for each group. A patch that wins on its
    guard set (:func:`~pld_dspy.resolve.judge.judge`) is kept unless the objective on validation falls. Without a
    teacher, or where it proposes nothing usable, rules are removed, reworded, or brought back from the bench, under the
    same test. A teacher none of whose patches was kept in a round is not asked again.

    A run that was stopped and starts again repeats no call, and ends where it would have ended.

    Args:
        rules: the rules to start from; may be empty.
        bench: further rules, in any order.
        train: examples to find errors in.
        val: examples to choose by.
        evaluator: the student as a function of its rules.
        texts: what the student reads of each example of ``train``, then of ``val``.
        teacher: proposes patches; None: patches without a teacher.
        config: how to spend calls.
        embedder: what compares the texts of examples.
        calibrated: whether answers will be decided with offsets. Then errors are those that offsets leave, and what a
            patch does to the student's preference for a label does not count.
        seed: of all random choices.
        on_patch: called with each patch once its fate is known.

    Source: the conflict-resolution loop of arXiv 2602.21103; the kinds of patches and the test of each are our own.
    """
    cap = evaluator.ledger.budget.student_calls
    if cap is not None:  # what was left when the loop began, also in a resumed run
        config = config.within(max(cap - evaluator.ledger.total("student", stages=("baseline", "search")).calls, 0))
    pool = Pool.of(train, val, evaluator.task, texts=texts, sample=config.sample, seed=seed, embedder=embedder)
    found = Resolution(rules=rules, bench=list(bench), on_patch=on_patch)
    _Loop(found, pool, val, evaluator, teacher, config, calibrated, seed).run()
    return found


@dataclass
class _Loop:
    """One run. ``found`` holds the rules in use, which are the best on validation so far, and all patches."""

    found: Resolution
    pool: Pool
    val: Sequence[dspy.Example]
    evaluator: Evaluator
    teacher: Teacher | None
    config: ResolveConfig
    calibrated: bool
    seed: int
    offsets: Offsets | None = None  # under the rules in use; None if answers are not calibrated
    # Digests of rule sets that were tried, each with the pool rows of the conflict for which it corrected nothing, or
    # without rows if it came as far as the guard set: then no conflict tries it again.
    tried: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)

    def run(self) -> None:
        """Make rounds until one does not improve validation, or a cap is reached."""
        found = self.found
        try:
            objective, self.offsets = self._value(found.rules)
            found.before = found.objective = objective
            self.tried.add((found.rules.digest, ()))
            for _ in range(self.config.max_rounds):
                start = found.objective
                answered = self._round()
                if not self._replaces_teacher(answered) and found.objective <= start:
                    break
        except BudgetExceeded as error:
            logger.warning("Resolving stopped early: %s", error)
            found.stopped = str(error)

    def _round(self) -> list[Conflict]:
        """Find errors, get patches for them and try these; return the conflicts that the teacher had patches for."""
        mistakes, conflicts = diagnose(self.found.rules, self.pool, self._student(), self.config)
        proposals: list[list[Patch]] = [[] for _ in conflicts]
        try:
            if self.teacher is not None:
                proposals = propose(self.teacher, conflicts, self.pool, self.found)
            self._try_in_turn(conflicts, proposals)
        finally:  # if a cap cuts the round short, what it kept stays
            ended = Round(len(mistakes), len(conflicts), self.found.objective)
            logger.info("Round %d with %d patches tried: %s", self.found.round, self.found.tried, ended)
            self.found.rounds.append(ended)
        return [conflict for conflict, patches in zip(conflicts, proposals, strict=True) if patches]

    def _replaces_teacher(self, answered: Sequence[Conflict]) -> bool:
        """Drop a teacher none of whose patches was kept; return whether its conflicts have patches without one."""
        last = len(self.found.rounds)
        patches = [patch for patch in self.found.patches if patch.round == last and patch.source == "teacher"]
        if not patches or any(patch.kept for patch in patches):
            return False
        unusable = sum(not patch.usable for patch in patches)
        self.teacher = None
        self.found.teacher_dropped = (
            f"Nothing that the teacher proposed in round {last} was kept ({unusable} unusable, "
            f"{len(patches) - unusable} refused), so it was not asked again."
        )
        logger.warning("%s", self.found.teacher_dropped)
        return any(next(self._edits(conflict, []), None) for conflict in answered)

    def _try_in_turn(self, conflicts: Sequence[Conflict], proposals: Sequence[Sequence[Patch]]) -> None:
        """Try the first patch for each conflict, then the second for those that are left, and so on."""
        waiting = [(one, self._edits(one, patches)) for one, patches in zip(conflicts, proposals, strict=True)]
        for _ in range(MOST_ALTERNATIVES):
            left = []
            for conflict, edits in waiting:
                if self.found.tried >= self.config.max_patches:
                    return
                edit = next(edits, None)
                if edit is not None and not self._try(conflict, *edit):
                    left.append((conflict, edits))
            waiting = left

    def _edits(self, conflict: Conflict, proposed: Sequence[Patch]) -> Iterator[tuple[Source, Edit]]:
        """Apply the patches for a conflict one by one, each to the rules in use by then.

        Earlier patches of the round may have left one nothing to change, or have given the same rules already.
        """
        found = self.found
        for patch in proposed or unaided(conflict, found.rules, found.bench, self.pool):
            reason, usable = "these rules were tried before", True
            try:
                edit = apply_patch(patch, found.rules, found.bench, conflict)
            except Unusable as error:
                reason, usable = str(error), False
            else:
                if self.tried.isdisjoint({(edit.rules.digest, ()), (edit.rules.digest, tuple(conflict.rows))}):
                    yield "teacher" if proposed else "unaided", edit
                    continue
            if proposed:
                found.add(found.unused(conflict, patch, reason, usable=usable))

    def _try(self, conflict: Conflict, source: Source, edit: Edit) -> bool:
        """Judge an edit, keep it if it passes and validation does not fall; return whether that ends the conflict."""
        found = self.found
        rng = np.random.default_rng([self.seed, found.round])
        verdict = judge(
            found.rules,
            edit.rules,
            self.pool.take(conflict.rows),
            self.pool.take(guard_rows(conflict, edit, self.pool, size=self.config.guard, rng=rng)),
            self.evaluator,
            alpha=self.config.alpha,
            student=self._student(),
            redecide=None if self.offsets is None else partial(redecide_to_match_gold, evaluator=self.evaluator),
        )
        if verdict.asked:
            self.tried.add((edit.rules.digest, () if verdict.on_guard else tuple(conflict.rows)))
        kept, reason, objective = False, verdict.reason, None
        if verdict.passed:
            before = found.objective or 0.0
            objective, offsets = self._value(edit.rules)
            kept = objective >= before
            reason += f"; validation {before:.3f} -> {objective:.3f}"
            if kept:
                found.rules, found.bench, found.objective, self.offsets = edit.rules, edit.bench, objective, offsets
        record = PatchRecord(
            round=found.round,
            kind=edit.kind,
            source=source,
            changed=tuple(rule.id for rule in edit.old),
            made=tuple(rule.id for rule in edit.new),
            before=tuple(rule.text for rule in edit.old),
            after=tuple(rule.text for rule in edit.new),
            errors=conflict.example_ids,
            kept=kept,
            reason=reason,
            wins=verdict.wins,
            losses=verdict.losses,
            asked=verdict.asked,
            gain=verdict.gain,
            objective=objective,
        )
        found.add(record)
        return kept or not verdict.asked

    def _student(self) -> Evaluator:
        """Return the student as it decides under the rules in use."""
        return self.evaluator if self.offsets is None else OffsetEvaluator.of(self.evaluator, self.offsets)

    def _value(self, rules: RuleSet) -> tuple[float, Offsets | None]:
        """Return the objective on validation and, for calibrated answers, the offsets that give it."""
        answers = self.evaluator.answers(rules, self.val, stage=STAGE)
        offsets = matching_offsets(answers, self.val, self.evaluator.task) if self.calibrated else None
        if offsets is None or not any(offsets.values):  # without log-probabilities: a patch can be given up early
            return self.evaluator.value(self.val, answers), None
        return self.evaluator.value(self.val, redecide(answers, offsets, self.evaluator)), offsets
