"""The ledger: every answer of student and teacher, kept by content; the only place that counts calls and tokens."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import dspy

from ..errors import BudgetExceeded, TooManyErrors
from ..local.lm import LocalLM
from .answer import NOT_ASKED, REFUSED, Answer, call_once
from .budget import UNCAPPED, Budget, Cost, Role
from .dspy_names import UsageTracker
from .jsonl import Journal
from .keys import adapter_settings, digest, lm_of, program_state
from .patience import Patience

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Line(Answer):
    """A line of the file."""

    key: str
    role: Role
    stage: str
    model: str
    carried: bool = False  # from the file of an earlier run, which paid for it


class Ledger:
    """Answers by content, in a JSONL file. Several threads, and processes that share the file, may ask at once.

    Args:
        path: the file, which gets each answer at once; None keeps answers in memory only.
        budget: hard caps, checked before each call.
        max_errors: a compile stops after more than so many failed calls without an answer between them, or on so many
            different inputs. Not counted are a student's answers that are no label (a weak student gives some) and,
            once the model has answered, inputs that it refuses.
        patience: seconds for which a model that does not answer is asked again before a call counts as failed.
        num_threads: student calls made at once.
        teacher_threads: teacher calls made at once; a local model always gets one at a time.
        reserved: stage -> student calls under the cap that this stage must leave for later ones.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        budget: Budget | None = None,
        max_errors: int = 20,
        patience: float = 0.0,
        num_threads: int = 1,
        teacher_threads: int = 1,
        reserved: Mapping[str, int] | None = None,
    ) -> None:
        self.path = path
        self.budget = budget or Budget()
        self.max_errors = max_errors
        self.threads: dict[Role, int] = {"student": num_threads, "teacher": teacher_threads}
        self.reserved = dict(reserved or {})
        self.spent: defaultdict[tuple[Role, str], Cost] = defaultdict(Cost)
        self.carried: dict[str, bool] = {}  # key of an answer from an earlier run -> whether this one asked for it
        self.stopped: dict[str, str] = {}  # stage that went on with fewer answers -> the cap that ended its calls
        self._answers: dict[str, Answer] = {}
        self._patience: dict[Role, Patience] = {"student": Patience(patience), "teacher": Patience(patience)}
        self._failed: dict[Role, dict[str, str]] = {"student": {}, "teacher": {}}  # input's name -> last error
        self._in_a_row: dict[Role, list[str]] = {"student": [], "teacher": []}  # errors since the last answer
        self._has_answered: set[Role] = set()
        self._under_way: dict[Role, int] = {"student": 0, "teacher": 0}
        self._lock = threading.Lock()
        self._journal = None if path is None else Journal(path, _Line)
        self._read_new()

    def ask(
        self,
        program: dspy.Module,
        inputs: Sequence[Row],
        *,
        role: Role,
        stage: str,
        lm: dspy.BaseLM | None = None,
        adapter: dspy.Adapter | None = None,
        on_answer: Callable[[], object] | None = None,
        allow_partial: bool = False,
        plainer: dspy.Module | None = None,
    ) -> list[Answer]:
        """Return the program's answers to ``inputs``, in order; only those not in the ledger are called for.

        The first call is made alone, so that a server has read the shared prompt once before the others come at once.

        Args:
            program: any DSPy module.
            inputs: keyword arguments, one dict per call; each call gets copies of the values.
            role: whose budget and threads the calls use.
            stage: name under which they are reported.
            lm: for predictors bound to none; the configured one where None.
            adapter: the configured one where None.
            on_answer: called once per answer, for progress.
            allow_partial: where a cap ends the calls, return ``NOT_ASKED`` for the remaining inputs.
            plainer: the same program with a shorter prompt; an input that was refused under it is not asked again.

        Raises:
            BudgetExceeded: the next call would exceed a cap, unless ``allow_partial``. Finished calls are kept.
            TooManyErrors: more than ``max_errors`` calls failed.
            ModelError: the model rejects the credentials or the configuration.
        """
        lm, adapter, names = lm or dspy.settings.lm, adapter or dspy.settings.adapter, [_name(row) for row in inputs]
        keys = _keys(program, names, lm, adapter)
        self._read_new()
        if plainer is not None:
            keys = self._but_refused(keys, role, partial(_keys, plainer, names, lm, adapter))
        notify = on_answer or (lambda: None)
        missing = self._missing(keys, names, inputs, role, stage, notify)
        model, stop = getattr(lm_of(program, lm), "model", ""), threading.Event()
        how: dict[str, Any] = {
            "lm": lm,
            "adapter": adapter,
            "role": role,
            "stage": stage,
            "stop": stop,
            "notify": notify,
        }
        call = partial(self._call, program=program, model=model, **how)
        threads = 1 if role == "teacher" and isinstance(lm, LocalLM) else self.threads[role]
        try:
            _call_all(call, missing, threads, stop)
        except BudgetExceeded as error:
            if not allow_partial:
                raise
            self.stopped[stage] = str(error)
            logger.warning("%s stopped early: %s", stage, error)
        return [self._answers.get(key, NOT_ASKED) for key in keys]

    def _missing(
        self,
        keys: Sequence[str],
        names: Sequence[str],
        inputs: Sequence[Row],
        role: Role,
        stage: str,
        notify: Callable[[], object],
    ) -> dict[str, tuple[str, Row]]:
        """Return name and input by key where there is no answer yet; the others are counted as reused."""
        asked = zip(keys, names, inputs, strict=True)
        missing = {key: (name, row) for key, name, row in asked if key not in self._answers}
        with self._lock:
            self.spent[role, stage].reused += len(keys) - len(missing)
            self.carried.update((key, True) for key in keys if key in self.carried)
        for _ in range(len(keys) - len(missing)):
            notify()
        return missing

    def unanswered(
        self, program: dspy.Module, inputs: Sequence[Row], lm: dspy.BaseLM | None, adapter: dspy.Adapter | None
    ) -> set[str]:
        """Return the keys of ``inputs`` for which :meth:`ask` would make a call."""
        self._read_new()
        names = [_name(row) for row in inputs]
        keys = _keys(program, names, lm or dspy.settings.lm, adapter or dspy.settings.adapter)
        return {key for key in keys if key not in self._answers}

    def _but_refused(self, keys: list[str], role: Role, plain_keys: Callable[[], list[str]]) -> list[str]:
        """Return the keys, but the plainer prompt's of an input that was refused under it."""
        if not any(error.startswith(REFUSED) for error in self._failed[role].values()):
            return keys
        pairs = zip(keys, plain_keys(), strict=True)
        return [plain if self._answers.get(plain, NOT_ASKED).is_refused else key for key, plain in pairs]

    def failed(self, role: Role, inputs: Sequence[Row]) -> dict[int, str]:
        """Return number of an input -> its last error, for those whose last call in this process had no answer."""
        errors = self._failed[role]
        names = map(_name, inputs) if errors else ()
        return {number: errors[name] for number, name in enumerate(names) if name in errors}

    def total(self, role: Role, *, stages: Iterable[str] | None = None) -> Cost:
        """Return what ``role`` has cost over ``stages`` (all but the test stage where None)."""
        wanted = set(stages) if stages is not None else {stage for _, stage in self.spent} - {UNCAPPED}
        total = Cost()
        for (other, stage), spent in self.spent.items():
            if other == role and stage in wanted:
                total.add(spent)
        return total

    def _call(
        self,
        key: str,
        name: str,
        row: Row,
        *,
        program: dspy.Module,
        model: str,
        lm: dspy.BaseLM | None,
        adapter: dspy.Adapter | None,
        role: Role,
        stage: str,
        stop: threading.Event,
        notify: Callable[[], object],
    ) -> None:
        """Make one call under the caps, again where it is lost, and add its answer; ``name`` is the input's."""
        with self._lock:
            if stage != UNCAPPED:
                reserved = self.reserved.get(stage, 0) if role == "student" else 0
                money = self.total("student").money + self.total("teacher").money
                self.budget.check(role, self.total(role).calls + self._under_way[role], money, reserved=reserved)
            self._under_way[role] += 1
        tracker, is_known = UsageTracker(), role in self._has_answered
        once = name in self._failed[role]
        try:
            with dspy.context(lm=lm, adapter=adapter):
                answer = self._patience[role].ask(
                    partial(call_once, program, row, tracker, is_known=is_known), stop=stop, once=once, model=model
                )
        except BaseException:
            with self._lock:
                self._under_way[role] -= 1
            raise
        line = {"key": key, "role": role, "stage": stage, "model": model, **asdict(answer)}
        with self._lock:
            self._under_way[role] -= 1  # together with the count: no thread sees the call twice, or not at all
            # Of a call without an answer nothing is stored: another try may do better.
            earlier = [] if self._journal is None or not answer.is_kept else self._journal.append(line)
            for each in (*earlier, line):
                self._add(each)
            self._count_failure(answer, name, role)
        notify()

    def _count_failure(self, answer: Answer, name: str, role: Role) -> None:
        """Count an answer to input ``name`` if it is a failure; raise TooManyErrors for more than ``max_errors``."""
        failed = self._failed[role]
        if answer.is_kept:
            self._has_answered.add(role)
            failed.pop(name, None)
        else:
            failed[name] = str(answer.error)
        if answer.error is None or (answer.is_kept and role == "student"):
            self._in_a_row[role].clear()
            return
        if answer.is_refused and role in self._has_answered:
            return
        self._in_a_row[role].append(answer.error)
        lost = [error for error in failed.values() if not error.startswith(REFUSED)]
        errors = max(self._in_a_row[role], lost, key=len)
        if len(errors) > self.max_errors:
            causes = "; ".join(dict.fromkeys(errors[:5]))
            raise TooManyErrors(
                f"{len(errors)} calls failed, more than max_errors={self.max_errors}. First causes: "
                f"{causes}. Correct the cause and run again (finished calls are kept), or raise max_errors."
            )

    def _add(self, line: Mapping[str, Any]) -> None:
        """Count what a line of the file cost, and keep its answer unless there is one already."""
        given = {one.name: line[one.name] for one in fields(Answer) if one.name in line}
        money = self.budget.price(line["model"], tokens_in=line["tokens_in"], tokens_out=line["tokens_out"])
        cost = Cost(**given, call_seconds=line["seconds"], money=money, failures=line["error"] is not None)
        if line.get("carried"):
            self.carried.setdefault(line["key"], False)
        else:
            self.spent[line["role"], line["stage"]].add(cost)
        # Two processes may pay for the same answer at once, and a model may answer in two ways: the first line of the
        # file stands for all of them.
        known = self._answers.get(line["key"])
        if known is None or not known.is_kept:
            self._answers[line["key"]] = Answer(**given)

    def _read_new(self) -> None:
        """Add the lines that other processes have written."""
        if self._journal is not None:
            with self._lock:
                for line in self._journal.read_new():
                    self._add(line)


def _name(row: Row) -> str:
    """Return what tells an input apart from all others, under any program."""
    return digest(row)


def _keys(
    program: dspy.Module, names: Sequence[str], lm: dspy.BaseLM | None, adapter: dspy.Adapter | None
) -> list[str]:
    """Return one key per input: a digest of everything that decides the program's answer."""
    state = digest({"program": program_state(program, lm=lm), "adapter": adapter_settings(adapter)})
    return [digest([state, name]) for name in names]


def _call_all(
    call: Callable[[str, str, Row], None],
    missing: Mapping[str, tuple[str, Row]],
    num_threads: int,
    stop: threading.Event,
) -> None:
    """Make the first call alone, then the rest in parallel, each in a copy of the caller's DSPy context."""
    items = [(key, name, row) for key, (name, row) in missing.items()]
    alone = 1 if num_threads > 1 else len(items)
    for item in items[:alone]:
        call(*item)
    pool = ThreadPoolExecutor(num_threads)
    try:
        futures: list[Future[None]] = [
            pool.submit(copy_context().run, call, key, name, row) for key, name, row in items[alone:]
        ]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    finally:  # after a failure or an interrupt, queued calls are neither made nor paid for
        stop.set()
        pool.shutdown(cancel_futures=True)
    for future in done:
        future.result()
