"""The ledger: every answer of student and teacher, kept by content; the only place that counts calls and tokens.

One line of JSON an answer, appended as soon as it is there, so that a killed compile finds every finished call
again. Only misses cost. Safe under threads, and under several processes that append to one file: each takes over what
the others append, answers and costs alike.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dspy

from ..errors import BudgetExceeded, TooManyErrors
from .answer import LOST, NOT_ASKED, Answer, as_json, call_once
from .budget import UNCAPPED, Budget, Role, Spent
from .jsonl import Journal
from .keys import adapter_settings, digest, program_state

__all__ = ["LOST", "NOT_ASKED", "UNCAPPED", "Answer", "Budget", "Ledger", "Role", "Spent"]

logger = logging.getLogger(__name__)


class Ledger:
    """Answers by content, on disk.

    Args:
        path: the JSONL file; None keeps answers in memory only.
        budget: hard caps, checked before each call.
        max_errors: failed calls of one compile after which it stops. A student's answer that is no label is none of
            them: a weak student gives some.
        num_threads: calls under way at once.
        leaves: stage -> student calls under the cap that this stage leaves to later ones.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        budget: Budget | None = None,
        max_errors: int = 20,
        num_threads: int = 1,
        leaves: Mapping[str, int] | None = None,
    ) -> None:
        self.path = path
        self.budget = budget or Budget()
        self.max_errors = max_errors
        self.num_threads = num_threads
        self.leaves = dict(leaves or {})
        self.spent: dict[tuple[Role, str], Spent] = {}
        self.stopped: dict[str, str] = {}
        """Stage that went on with fewer answers than it asked for -> the cap that ended its calls."""
        self._answers: dict[str, Answer] = {}
        self._errors: list[str] = []
        self._under_way: dict[Role, int] = {"student": 0, "teacher": 0}
        self._lock = threading.Lock()
        self._journal = None if path is None else Journal(path)
        self._catch_up()

    def ask(
        self,
        program: dspy.Module,
        inputs: Sequence[dict[str, Any]],
        *,
        role: Role,
        stage: str,
        lm: dspy.BaseLM | None = None,
        adapter: dspy.Adapter | None = None,
        on_answer: Callable[[], object] | None = None,
        to_the_cap: bool = False,
    ) -> list[Answer]:
        """Return the program's answers to ``inputs``, in order; only those not in the ledger are called for.

        The first missing answer is asked for alone, so that a server has read the shared prompt once before
        the others come in parallel.

        Args:
            program: any DSPy module.
            inputs: keyword arguments, one dict a call.
            role: whose budget the calls count against.
            stage: name under which they are reported.
            lm: for predictors bound to none; the configured one where None.
            adapter: the configured one where None.
            on_answer: called once an answer, for progress.
            to_the_cap: where a cap ends the calls, give what answers there are, and ``NOT_ASKED`` for the rest.

        Raises:
            BudgetExceeded: the next call would exceed a cap, unless ``to_the_cap``. Finished calls are kept.
            TooManyErrors: more than ``max_errors`` calls failed.
            ModelError: the model rejects the credentials or the configuration.
        """
        lm, adapter = lm or dspy.settings.lm, adapter or dspy.settings.adapter
        state = digest({"program": program_state(program, lm=lm), "adapter": adapter_settings(adapter)})
        self._catch_up()
        keys = [digest([state, as_json(row)]) for row in inputs]
        spent = self._spent(role, stage)
        missing = {key: row for key, row in zip(keys, inputs, strict=True) if key not in self._answers}
        spent.reused += len(keys) - len(missing)
        for _ in range(len(keys) - len(missing)):
            _notify(on_answer)

        def call(key: str, row: dict[str, Any]) -> None:
            with self._reserved(role, stage), dspy.context(lm=lm, adapter=adapter):
                answer = call_once(program, row)
            self._keep(key, answer, role=role, stage=stage, model=getattr(lm, "model", ""))
            _notify(on_answer)

        try:
            _run([(key, row) for key, row in missing.items()], call, self.num_threads)
        except BudgetExceeded as error:
            if not to_the_cap:
                raise
            self.stopped[stage] = str(error)
            logger.warning("%s stopped early: %s", stage, error)
        return [self._answers.get(key, NOT_ASKED) for key in keys]

    def total(self, role: Role, *, stages: Iterable[str] | None = None) -> Spent:
        """Return what ``role`` has cost over ``stages`` (all but the test stage where None)."""
        wanted = set(stages) if stages is not None else None
        total = Spent()
        for (other, stage), spent in self.spent.items():
            if other == role and (stage != UNCAPPED if wanted is None else stage in wanted):
                for name, value in asdict(spent).items():
                    setattr(total, name, getattr(total, name) + value)
        return total

    def _spent(self, role: Role, stage: str) -> Spent:
        with self._lock:
            return self.spent.setdefault((role, stage), Spent())

    def _reserved(self, role: Role, stage: str) -> _Reservation:
        return _Reservation(self, role, stage)

    def _keep(self, key: str, answer: Answer, *, role: Role, stage: str, model: str) -> None:
        """Count an answer; store it, unless the call itself was lost and another try may do better."""
        line = {"key": key, "role": role, "stage": stage, "model": model, **asdict(answer)}
        with self._lock:
            self._under_way[role] -= 1  # together with the count: no other thread sees the call in neither
            self._count(line)
            if not answer.is_lost and self._journal is not None:
                self._take_over(self._journal.append(line))
            self._settle(key, answer)
            if answer.is_lost or (answer.error is not None and role == "teacher"):
                self._errors.append(answer.error or "")
            if len(self._errors) > self.max_errors:
                causes = "; ".join(dict.fromkeys(self._errors[:5]))
                raise TooManyErrors(
                    f"{len(self._errors)} calls failed, more than max_errors={self.max_errors}. First causes: "
                    f"{causes}. Mend the cause and run again (finished calls are kept), or raise max_errors."
                )

    def _count(self, line: dict[str, Any]) -> None:
        spent = self.spent.setdefault((line["role"], line["stage"]), Spent())
        for name in ("calls", "tokens_in", "tokens_out", "tokens_cached", "seconds"):
            setattr(spent, name, getattr(spent, name) + line[name])
        spent.failures += line["error"] is not None
        price_in, price_out = self.budget.prices.get(line["model"], (0.0, 0.0))
        spent.money += (line["tokens_in"] * price_in + line["tokens_out"] * price_out) / 1e6

    def _catch_up(self) -> None:
        """Take over what other processes wrote since the last look."""
        if self._journal is not None:
            with self._lock:
                self._take_over(self._journal.read_new())

    def _take_over(self, lines: Iterable[dict[str, Any]]) -> None:
        """Count answers that are in the file already; the lock is held."""
        for line in lines:  # those of earlier versions have fewer fields
            given = {name: line[name] for name in Answer.__dataclass_fields__ if name in line}
            self._settle(line["key"], Answer(**given))
            self._count(line)

    def _settle(self, key: str, answer: Answer) -> None:
        """Take an answer unless there is one: of two that processes paid for at once, the first in the file stands."""
        # A model may answer in two ways, and an answer that changed later is not the one that a trial was told.
        before = self._answers.get(key)
        if before is None or before.is_lost:
            self._answers[key] = answer


class _Reservation:
    """One call's place under the caps, held until its answer is counted; given up here only where it raised."""

    def __init__(self, ledger: Ledger, role: Role, stage: str) -> None:
        self.ledger, self.role, self.stage = ledger, role, stage

    def __enter__(self) -> None:
        ledger, budget = self.ledger, self.ledger.budget
        with ledger._lock:
            if self.stage != UNCAPPED:
                cap, role = budget.cap(self.role), self.role
                left = ledger.leaves.get(self.stage, 0) if role == "student" else 0
                made = ledger.total(role).calls + ledger._under_way[role]
                if cap is not None and made >= cap - left:
                    but = f", but for {left} that are left to later stages" if left else ""
                    raise BudgetExceeded(f"The cap of {cap} {role} calls is reached{but} ({role}_calls in Budget).")
                money = ledger.total("student").money + ledger.total("teacher").money
                if budget.money is not None and money >= budget.money:
                    raise BudgetExceeded(f"The cap of {budget.money:g} on money is reached (money in Budget).")
            ledger._under_way[self.role] += 1

    def __exit__(self, failure: object, *_: object) -> None:
        if failure is not None:
            with self.ledger._lock:
                self.ledger._under_way[self.role] -= 1


def _run(items: Sequence[tuple[str, dict[str, Any]]], call: Callable[..., None], num_threads: int) -> None:
    """Call the first item alone, then the rest in parallel, each in a copy of the caller's DSPy context."""
    if items:
        call(*items[0])
    if num_threads == 1:
        for item in items[1:]:
            call(*item)
        return
    pool = ThreadPoolExecutor(num_threads)
    try:
        futures: list[Future[None]] = [pool.submit(copy_context().run, call, key, row) for key, row in items[1:]]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    finally:  # neither a failure nor an interrupt waits for, and pays, the calls that are still queued
        pool.shutdown(cancel_futures=True)
    for future in done:
        future.result()


def _notify(on_answer: Callable[[], object] | None) -> None:
    if on_answer is not None:
        on_answer()
