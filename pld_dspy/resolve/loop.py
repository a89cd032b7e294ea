"""The loop: find errors, have them patched, keep what pays, until validation stops improving."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dspy
import numpy as np

from ..errors import BudgetExceeded
from ..ledger.ledger import Ledger
from ..rules import Rule, RuleSet
from ..scoring.offsets import Offsets
from ..student.evaluator import Evaluator
from ..student.redecide import DecidedEvaluator, matching_offsets, moved_answers
from ..teacher.teacher import Teacher
from .blame import traced
from .config import ResolveConfig
from .conflicts import Conflict, conflicts, shortlisted
from .guard import guard_rows, judge
from .mistakes import STAGE, Mistake, commented, mistakes
from .patch import Edit, Unusable, edited
from .patch_log import OnPatch, PatchLog
from .pool import Pool
from .propose import Proposal, TeacherDesk, unaided
from .result import Resolution, Source

logger = logging.getLogger(__name__)

EARLIER = ("baseline", "search")
"""The stages of a compile whose calls a cap counts before the loop begins."""

ALTERNATIVES = 3
"""Patches tried for one conflict a round, at most."""


def resolve(
    rules: RuleSet,
    bench: Sequence[Rule],
    train: Sequence[dspy.Example],
    val: Sequence[dspy.Example],
    evaluator: Evaluator,
    *,
    instructions: str,
    texts: Sequence[str] | None = None,
    teacher: Teacher | None = None,
    config: ResolveConfig | None = None,
    calibrated: bool = False,
    seed: int = 0,
    on_patch: OnPatch | None = None,
) -> Resolution:
    """Mend the student's errors on training data, patch by patch.

    A round asks the training examples, groups the errors by the rule they lean on, and gets patches for each group. A
    patch that wins on its guard (see :func:`~pld_dspy.resolve.guard.judge`) is kept unless validation falls under it;
    so the last set is the best one on validation. Without a teacher, or where it has nothing usable to say, rules are
    retired, reworded, or brought back from the bench under the same test. A teacher of whom nothing is kept in a round
    is not asked again; such patches follow where its own took their place.

    Every answer comes through the ledger, and all chance is seeded: run again after a kill, the loop asks nothing
    twice and ends where it would have.

    Args:
        rules: the set to start from; may be empty.
        bench: further rules, in any order.
        train: labelled examples to find errors in.
        val: labelled examples to choose by.
        evaluator: the student as a function of its rules; its task and ledger are used throughout.
        instructions: the student's own.
        texts: what the student reads of each example of ``train``, then of ``val``; its inputs as text where None.
        teacher: proposes patches. None: patches without one.
        config: how to spend calls.
        calibrated: whether answers will be decided with offsets: errors then are those that are left with offsets, and
            what a patch makes the student lean to counts neither for nor against it.
        seed: of every random choice.
        on_patch: called once a patch that is settled.

    Raises:
        TooManyErrors: more calls failed than the ledger allows.
        ModelError: a model rejects credentials or settings.

    Source: the conflict-resolution loop of Prompt-Level Distillation (arXiv 2602.21103). The typed patches, and the
    test that each of them has to pass, are our own.
    """
    config = (config or ResolveConfig()).within(_room(evaluator.ledger))
    loop = _Loop(
        rules=rules,
        bench=list(bench),
        val=list(val),
        pool=Pool.of(train, val, evaluator.task, texts=texts, sample=config.sample, seed=seed),
        evaluator=evaluator,
        instructions=instructions,
        desk=None if teacher is None else TeacherDesk(teacher=teacher, task=evaluator.task),
        config=config,
        calibrated=calibrated,
        seed=seed,
        log=PatchLog(on_patch),
    )
    return loop.run()


def _room(ledger: Ledger) -> int | None:
    """Return how many calls a cap leaves the loop from its start on, also where it is taken up again; None without."""
    cap = ledger.budget.student_calls
    return None if cap is None else max(cap - ledger.total("student", stages=EARLIER).calls, 0)


@dataclass(kw_only=True)
class _Loop:
    """One run: the set in use, which is the best on validation so far, its bench, and what was tried."""

    rules: RuleSet
    bench: list[Rule]
    val: list[dspy.Example]
    pool: Pool
    evaluator: Evaluator
    instructions: str
    desk: TeacherDesk | None
    config: ResolveConfig
    calibrated: bool
    seed: int
    log: PatchLog
    objective: float = 0.0
    offsets: Offsets | None = None
    """Those of the set in use, where answers are calibrated."""
    tried: set[str] = field(default_factory=set)
    """Digests of the rule sets that were judged, and of the first."""
    useless: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    """Digests of those that mended nothing of a conflict, with its rows; for another conflict they may."""
    dismissed: str | None = None

    def run(self) -> Resolution:
        """Make rounds until one does not improve validation, or a cap is reached."""
        before, stopped = None, None
        try:
            before, self.offsets = self._value(self.rules)
            self.objective = before
            self.tried.add(self.rules.digest)
            for _ in range(self.config.max_rounds):
                start = self.objective
                untried = self._dismiss(self._round())
                if self.objective <= start and not untried:
                    break
        except BudgetExceeded as error:
            logger.warning("Resolving stopped early: %s", error)
            stopped = str(error)
        return Resolution(
            rules=self.rules,
            bench=self.bench,
            rounds=self.log.rounds,
            patches=self.log.patches,
            before=before,
            objective=None if before is None else self.objective,
            stopped=stopped,
            dismissed=self.dismissed,
        )

    def _round(self) -> list[Conflict]:
        """Find errors, get patches for them and settle these; return the conflicts for which the teacher had some."""
        answers = self._student().labels(self.rules, self.pool.examples, stage=STAGE)
        found = mistakes(self.pool, answers)
        groups = self._conflicts(found, answers)
        try:
            proposals = self._proposals(groups)
            self._settle(groups, proposals)
        finally:  # where a cap cuts the round short, what it kept stays
            self.log.close(errors=len(found), conflicts=len(groups), objective=self.objective)
        return [conflict for conflict, proposal in zip(groups, proposals, strict=True) if proposal.patches]

    def _dismiss(self, answered: Sequence[Conflict]) -> bool:
        """Ask a teacher no more that was of no use; return whether there are patches to try that its own stood before.

        Args:
            answered: the last round's conflicts for which it had patches.
        """
        reason = self.log.useless()
        if reason is None:
            return False
        logger.warning("%s", reason)
        self.desk, self.dismissed = None, reason
        return any(next(self._edits(conflict, Proposal()), None) for conflict in answered)

    def _conflicts(self, found: Sequence[Mistake], answers: Sequence[str | None]) -> list[Conflict]:
        config, student = self.config, self._student()
        blamed = traced(
            shortlisted(found, errors=config.errors_per_call, most=config.max_patches),
            self.rules,
            self.pool,
            student,
            blame=config.blame,
            calls=config.blame_calls,
            instructions=self.instructions,
        )
        return conflicts(
            commented(blamed, self.rules, self.pool, student),
            self.pool,
            answers,
            errors=config.errors_per_call,
            neighbours=config.neighbours,
            most=config.max_patches,
        )

    def _proposals(self, groups: Sequence[Conflict]) -> list[Proposal]:
        if self.desk is None:
            return [Proposal() for _ in groups]
        tried = [self.log.remembered(conflict) for conflict in groups]
        proposals = self.desk.propose(groups, tried, self.rules, self.bench, self.pool)
        for conflict, proposal in zip(groups, proposals, strict=True):
            self.log.faulty(conflict, proposal)
        return proposals

    def _settle(self, groups: Sequence[Conflict], proposals: Sequence[Proposal]) -> None:
        """Try the first patch for each conflict, then the second for those that are left, and so on."""
        waiting = [(one, self._edits(one, proposal)) for one, proposal in zip(groups, proposals, strict=True)]
        for _ in range(ALTERNATIVES):
            left = []
            for conflict, edits in waiting:
                if self.log.judged >= self.config.max_patches:
                    return
                found = next(edits, None)
                if found is not None and not self._try(conflict, *found):
                    left.append((conflict, edits))
            waiting = left

    def _edits(self, conflict: Conflict, proposal: Proposal) -> Iterator[tuple[Source, Edit]]:
        """Put the patches for a conflict into effect one by one, each on the rules in use by then.

        Earlier patches of the round may have left one nothing to change, or have made the same rules already.
        """
        source: Source = "teacher" if proposal.patches else "unaided"
        patches = proposal.patches or unaided(conflict, self.rules, self.bench, self.pool)
        for patch in patches:
            try:
                edit = edited(patch, self.rules, self.bench, conflict)
            except Unusable as error:
                reason, usable = str(error), False
            else:
                reason, usable = "these rules were tried before", True
                digest = edit.rules.digest
                if digest not in self.tried and (digest, tuple(conflict.rows)) not in self.useless:
                    yield source, edit
                    continue
            if source == "teacher":
                self.log.unused(conflict, source, kind=patch.kind, after=patch.texts, reason=reason, usable=usable)

    def _try(self, conflict: Conflict, source: Source, edit: Edit) -> bool:
        """Judge an edit, keep it if it passes and validation does not fall; return whether that ends the conflict."""
        config = self.config
        rng = np.random.default_rng([self.seed, self.log.number])
        guard = guard_rows(conflict, edit, self.pool, size=config.guard, rng=rng)
        verdict = judge(
            self.rules,
            edit.rules,
            conflict,
            guard,
            self.pool,
            self.evaluator,
            alpha=config.alpha,
            offsets=self.offsets,
        )
        kept, reason, objective = False, verdict.reason, None
        if verdict.passed:
            objective, offsets = self._value(edit.rules)
            kept = objective >= self.objective
            reason += f"; validation {self.objective:.3f} -> {objective:.3f}"
            if kept:
                self.rules, self.bench, self.objective, self.offsets = edit.rules, edit.bench, objective, offsets
        if verdict.on_guard:
            self.tried.add(edit.rules.digest)
        elif verdict.asked:
            self.useless.add((edit.rules.digest, tuple(conflict.rows)))
        self.log.settled(conflict, source, edit, verdict, kept=kept, reason=reason, objective=objective)
        return kept or not verdict.asked

    def _student(self) -> Evaluator:
        """The student as it decides under the set in use."""
        return self.evaluator if self.offsets is None else DecidedEvaluator.of(self.evaluator, self.offsets)

    def _value(self, rules: RuleSet) -> tuple[float, Offsets | None]:
        """Return the objective on validation and, where answers are calibrated, the offsets that it is reached with."""
        answers = self.evaluator.answers(rules, self.val, stage=STAGE)
        offsets = matching_offsets(answers, self.val, self.evaluator.task) if self.calibrated else None
        if offsets is None or not any(offsets.values):  # no log-probabilities: a patch can be given up early
            return self.evaluator.value(self.val, answers), None
        return self.evaluator.value(self.val, moved_answers(answers, offsets, self.evaluator)), offsets
