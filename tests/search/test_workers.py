"""Several workers on one study: nothing is lost, nothing is made twice, and one budget is spent."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine import calls
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial
from tasks import TRAIN, VAL, good_rules, mail_evaluator, mail_teacher, micro_rules, student, student_lm

import pld_dspy.search.plan
from pld_dspy.errors import RunError
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.search.plan import LOST_SECONDS, Plan
from pld_dspy.search.search_config import CONFIRMATIONS, SearchConfig
from pld_dspy.search.space import Space
from pld_dspy.search.storage import find_study, open_study
from pld_dspy.search.study import RuleSearch
from pld_dspy.student.adapter import LabelAdapter

linux = pytest.mark.skipif(sys.platform != "linux", reason="workers that are killed are forked")

SEARCH = SearchConfig(screen_calls=96, trials=8, block=12)
STEPS = 3 + 8 + 8 + 2  # guards, screened, raced, confirmed
WORKERS = 4
DATA = {"trainset": TRAIN, "valset": VAL, "rationales": micro_rules(TRAIN)}


def pld(folder: Path, storage: str | None, **settings: Any) -> PLD:
    given = {"search": SEARCH, "tracking": None, "adapter": LabelAdapter(), "num_threads": 1, **settings}
    return PLD(run_dir=folder, storage=storage, **given)


def slow_student(noted: Path | None = None) -> Any:
    """A student that takes as long as a real one next to the search's own work, so that workers overlap.

    Each call adds a byte to the file ``noted`` as it starts.
    """

    def answer(text: str) -> str:
        time.sleep(0.01)
        return "work"

    lm = student_lm(answer)
    fn = lm.engine.fn

    def noting(system: str, user: str) -> str:
        with noted.open("ab") as file:
            file.write(b".")
        return fn(system, user)

    lm.engine.fn = noting if noted else fn
    return student(lm)


def work(folder: Path, storage: str | None, made: Any) -> None:
    """Join until the search is done; it may not have begun yet."""
    program = slow_student()
    deadline = time.monotonic() + 60
    while (done := joined(folder, storage, program)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    made.put((os.getpid(), done, len(calls(program.lm))))


def joined(folder: Path, storage: str | None, program: Any, **settings: Any) -> int | None:
    try:
        return pld(folder, storage, **settings).join(program, **DATA)
    except RunError:
        return None


def compiled_by_all(folder: Path, storage: str | None) -> tuple[PLDResult, list[tuple[int, int, int]], int]:
    """Compile with three more workers; return the result, what each made, and the calls of the compile itself."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    made = context.Queue()
    others = [context.Process(target=work, args=(folder, storage, made)) for _ in range(WORKERS - 1)]
    for other in others:
        other.start()
    compiler, program = pld(folder, storage), slow_student()
    compiler.compile(program, **DATA)
    reports = [made.get(timeout=60) for _ in others]
    for other in others:
        other.join(60)
    assert compiler.result is not None
    return compiler.result, reports, len(calls(program.lm))


def check(folder: Path, storage: str | None) -> None:
    result, reports, own_calls = compiled_by_all(folder, storage)
    study, _ = find_study(storage or RunFolder(folder).study, prefix=RunFolder(folder).fingerprint)
    done = study.get_trials(states=(TrialState.COMPLETE,))
    assert Counter(trial.user_attrs["step"] for trial in done) == Counter(range(STEPS))
    assert result.counts["trials"] == STEPS
    made_elsewhere = sum(made for _, made, _ in reports)
    assert 0 < made_elsewhere < STEPS
    assert sum(made > 0 for _, made, _ in reports) >= 2
    lines = RunFolder(folder).predictions.read_text(encoding="utf-8").splitlines()
    assert len(lines) == own_calls + sum(asked for *_, asked in reports)
    counted = sum(cost.calls for cost in result.costs["student"].values())
    assert counted == len(lines)  # the compile counts what the others spent
    assert result.improved


@pytest.mark.long
def test_four_workers_on_a_journal_make_every_trial_once(tmp_path):
    check(tmp_path / "run", None)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of our own on a free loopback port."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else shutil.which("initdb")
    if not initdb:
        pytest.skip("PostgreSQL is not installed")
    # Not under pytest's own folder, which a run beside this one may clear away while the server needs it.
    with tempfile.TemporaryDirectory(prefix="pld-postgres-") as home:
        yield from _served(Path(initdb).parent, Path(home))


def _served(binaries: Path, home: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = home / "data"
    options: dict[str, Any] = {"check": True, "capture_output": True, "cwd": home}
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(home, "postgres")
        options["user"] = "postgres"
    subprocess.run([binaries / "initdb", "-D", data, "-U", "pld", "--auth=trust", "--no-sync"], **options)
    server = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    control = [binaries / "pg_ctl", "-D", data, "-w", "-l", home / "log"]
    subprocess.run([*control, "-o", server, "start"], **{**options, "capture_output": False})
    yield f"postgresql+psycopg://pld@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "-m", "immediate", "stop"], **options)


@pytest.mark.long
def test_four_workers_on_postgresql_make_every_trial_once(tmp_path, postgres):
    check(tmp_path / "run", postgres)


def test_a_database_may_cut_idle_connections(postgres):
    import psycopg

    study = open_study(postgres, name="cut")
    assert study.ask().number == 0
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    assert study.ask().number == 1


def test_joining_before_there_is_a_search_says_so(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        pld(tmp_path / "run", None).join(student(student_lm()), **DATA)


def test_a_compile_with_a_live_teacher_is_joined_without_one(tmp_path):
    splits = {"trainset": TRAIN, "valset": VAL}
    compiler = PLD(
        teacher=mail_teacher(), search=SEARCH, run_dir=tmp_path / "run", tracking=None, adapter=LabelAdapter()
    )
    compiler.compile(student(student_lm()), **splits)
    worker = pld(tmp_path / "run", None)
    assert worker.join(student(student_lm()), **splits) == 0
    with pytest.raises(RunError, match="another compile"):
        worker.join(student(student_lm()), trainset=TRAIN[1:], valset=VAL)


def test_a_trial_whose_worker_is_lost_is_made_again(tmp_path, monkeypatch):
    """The search waits for a trial that runs elsewhere, and makes it itself once it must be lost."""
    monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 1.0)
    folder = tmp_path / "run"
    compiler, program = pld(folder, None), slow_student()
    stolen = []

    def steal(self: Any) -> Any:
        found = real(self)
        if found is not None and found.user_attrs["kind"] == "race" and not stolen:
            stolen.append(self.study.ask(self.space.distributions()).user_attrs["step"])
            found = real(self)
        return found

    real = pld_dspy.search.plan.Plan.next
    monkeypatch.setattr(pld_dspy.search.plan.Plan, "next", steal)
    compiler.compile(program, **DATA)
    study, _ = find_study(RunFolder(folder).study, prefix=RunFolder(folder).fingerprint)
    steps = [trial.user_attrs["step"] for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    assert stolen
    assert sorted(steps) == list(range(STEPS))


@pytest.mark.parametrize("hours", [-9, 9])
@pytest.mark.parametrize("lost", [False, True])
def test_the_clock_of_another_worker_says_nothing(monkeypatch, hours, lost):
    """Its trial began hours ago or hence by our clock: it counts as lost once we have seen it run for long enough."""
    study, space, waited = open_study(), Space(tuple(good_rules()[:2])), []
    plan = Plan(study, space, SearchConfig(screen_calls=0, trials=1), seed=0)
    elsewhere = create_trial(state=TrialState.RUNNING, user_attrs={"step": 0, "kind": "baseline"})
    elsewhere.datetime_start = datetime.now() + timedelta(hours=hours)
    study.add_trial(elsewhere)

    def sleep(_: float) -> None:
        waited.append(1)
        if len(waited) == 3:
            if lost:
                monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 0.0)
            else:
                study.tell(0, 0.5)

    monkeypatch.setattr(pld_dspy.search.plan.time, "sleep", sleep)
    assert plan.wait_for_others() is lost
    assert len(waited) == 3


def test_a_clock_that_jumps_makes_no_trial_look_slow(monkeypatch):
    """Optuna notes a trial's times by the wall clock, which is set by a day while the trial runs."""
    study, space, clock = open_study(), Space(tuple(good_rules()[:2])), [0.0]
    monkeypatch.setattr(pld_dspy.search.plan.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(pld_dspy.search.plan.time, "sleep", lambda seconds: pytest.fail("it waits for a lost trial"))
    attributes = {"step": 0, "kind": "baseline", "seconds": 2.0}
    jumped = create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attributes)
    jumped.datetime_start = datetime.now() - timedelta(days=1)
    study.add_trial(jumped)
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={"step": 1, "kind": "all rules"}))
    plan = Plan(study, space, SearchConfig(screen_calls=0, trials=1), seed=0)
    plan.next()
    clock[0] = LOST_SECONDS + 1
    assert plan.wait_for_others()


def test_trials_lost_while_the_search_works_are_all_given_up_at_once_when_it_waits(monkeypatch):
    study, space, clock = open_study(), Space(tuple(good_rules()[:2])), [0.0]
    monkeypatch.setattr(pld_dspy.search.plan.time, "monotonic", lambda: clock[0])
    plan = Plan(study, space, SearchConfig(screen_calls=0, trials=1), seed=0)
    plan.queue()
    lost = [study.ask(space.distributions()) for _ in range(2)]
    assert plan.next() is not None
    clock[0] = 2 * LOST_SECONDS
    assert plan.wait_for_others()
    states = [trial.state for trial in study.get_trials()]
    assert [states[trial.number] for trial in lost] == [TrialState.FAIL] * 2
    assert states.count(TrialState.WAITING) == 3


def test_a_trial_that_finishes_elsewhere_while_a_compile_starts_anew_is_not_made_twice(monkeypatch):
    study, space = open_study(), Space(tuple(good_rules()[:2]))
    plan = Plan(study, space, SearchConfig(screen_calls=0, trials=1), seed=0)
    plan.queue()
    running = study.ask(space.distributions())
    real = Plan._give_up

    def later(self: Plan, trial: Any) -> bool:
        study.tell(running.number, 0.5, skip_if_finished=True)
        return real(self, trial)

    monkeypatch.setattr(Plan, "_give_up", later)
    assert plan.queue()
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs["step"] for trial in waiting] == [1, 2]


def test_two_workers_that_give_up_one_trial_queue_it_once(monkeypatch):
    monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 0.0)
    study, space = open_study(), Space(tuple(good_rules()[:2]))
    plan = Plan(study, space, SearchConfig(screen_calls=0, trials=1), seed=0)
    plan.queue()
    lost = study.ask(space.distributions()).user_attrs["step"]
    real, overtaken = Plan._trials, []

    def slower(self: Plan, state: TrialState) -> Any:
        found = real(self, state)
        if state is TrialState.RUNNING and not overtaken:
            overtaken.append(self)
            assert self.wait_for_others()  # the faster worker's, between the slower one's look and its verdict
        return found

    monkeypatch.setattr(Plan, "_trials", slower)
    assert plan.wait_for_others()
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert sorted(trial.user_attrs["step"] for trial in waiting) == [0, 1, 2]
    assert lost == 0


def test_a_trial_that_is_given_up_elsewhere_while_it_is_valued_here_is_made_again(monkeypatch):
    study = open_study()
    config = SearchConfig(screen_calls=0, trials=1)
    search = RuleSearch(good_rules()[:2], mail_evaluator(student_lm()), VAL, study=study, config=config)
    real, given_up = search.model.value, []

    def valued(*arguments: Any) -> float:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))[0]
        if running.user_attrs["step"] == 1 and not given_up:
            given_up.append(running.number)
            assert search.plan._give_up(running)
            study.enqueue_trial(running.system_attrs["fixed_params"], user_attrs=running.user_attrs)
        return real(*arguments)

    monkeypatch.setattr(search.model, "value", valued)
    assert sorted(trial.step for trial in search.run().trials) == [0, 1, 2]
    assert given_up
    assert search.made == 3


def test_waiting_for_other_workers_is_no_time_of_the_searchs_own_code(monkeypatch):
    config = SearchConfig(screen_calls=0, trials=1)
    search = RuleSearch(good_rules()[:2], mail_evaluator(student_lm()), VAL, study=open_study(), config=config)

    def waited(plan: Plan) -> bool:
        time.sleep(0.5)
        return False

    monkeypatch.setattr(Plan, "wait_for_others", waited)
    started = time.perf_counter()
    assert search.run().own_seconds <= time.perf_counter() - started - 0.5


def test_a_step_that_a_worker_gives_up_for_want_of_budget_is_made_by_the_search_itself():
    def searcher(**settings: Any) -> RuleSearch:
        evaluator = mail_evaluator(student_lm(), budget=settings.pop("budget", None))
        config = SearchConfig(screen_calls=0, trials=1)
        return RuleSearch(good_rules()[:2], evaluator, VAL, study=study, config=config, **settings)

    study = open_study()
    search = searcher()
    assert "cap of 5 student calls" in str(searcher(budget=Budget(student_calls=5), joins=True).work())
    found = search.run()
    assert [trial.step for trial in found.trials] == [0, 1, 2]
    assert found.trials[0].rules is None
    assert found.trials[1].kind == "all rules"
    assert found.baseline == found.trials[0].objective < found.trials[1].objective


def test_a_trial_that_is_given_up_elsewhere_while_it_is_taken_here_is_made_again():
    """As a compile does that starts anew while a worker of the one before is asking Optuna for a trial."""
    given_up = []

    class Slow(RandomSampler):
        def before_trial(self, study: Any, trial: Any) -> None:
            if not given_up:
                given_up.append(trial.number)
                search.plan.queue()

    config = SearchConfig(screen_calls=0, trials=1, sampler=Slow(seed=0))
    search = RuleSearch(good_rules()[:2], mail_evaluator(student_lm()), VAL, study=open_study(), config=config)
    assert sorted(trial.step for trial in search.run().trials) == [0, 1, 2]
    assert given_up == [0]


def compile_or_join(folder: Path, storage: str | None, noted: Path, settings: Any, *, compiles: bool) -> None:
    program = slow_student(noted)
    if compiles:
        pld(folder, storage, **settings).compile(program, **DATA)
        return
    while joined(folder, storage, program, **settings) is None:
        time.sleep(0.05)


def killed_meanwhile(
    folder: Path, storage: str | None, *, workers: int, kills: int, **settings: Any
) -> tuple[int, list[int]]:
    """Compile with workers of which some are killed at random moments; return the calls made, and who was killed.

    A compile that is killed is started again, at once.
    """
    chance, noted = random.Random(settings["seed"]), folder.with_name(f"{folder.name}-calls")
    noted.touch()

    def started(number: int) -> Any:
        given = (folder, storage, noted, settings)
        child = multiprocessing.get_context("fork").Process(
            target=compile_or_join, args=given, kwargs={"compiles": number == 0}
        )
        child.start()
        return child

    children = [started(number) for number in range(workers)]
    moments = sorted(chance.sample(range(30, 120), kills))
    victims = chance.sample(range(workers), kills)
    for moment, victim in zip(moments, victims, strict=True):
        while noted.stat().st_size < moment and children[0].is_alive():
            time.sleep(0.005)
        children[victim].kill()
        children[victim].join()
    killed = [victim for victim in victims if children[victim].exitcode == -signal.SIGKILL]  # none that was done
    if 0 in killed:
        children[0] = started(0)
    for number, child in enumerate(children):
        child.join(120)
        assert child.exitcode == 0 or (number in killed and number > 0)
    return noted.stat().st_size, killed


def made_trials(folder: Path, storage: str | None) -> dict[int, tuple[dict[str, Any], str]]:
    """Step -> parameters and answers of its trial, of which there is one each."""
    study, _ = find_study(storage or RunFolder(folder).study, prefix=RunFolder(folder).fingerprint)
    done = study.get_trials(states=(TrialState.COMPLETE,))
    assert set(Counter(trial.user_attrs["step"] for trial in done).values()) == {1}
    return {trial.user_attrs["step"]: (trial.params, trial.user_attrs["answers"]) for trial in done}


def check_killed(
    tmp_path: Path, storage: str | None, search: SearchConfig, *, workers: int, kills: int, seed: int = 0
) -> int:
    """Return how many workers were killed: one that is done by then is not."""
    alone, together = tmp_path / f"alone{seed}", tmp_path / f"together{seed}"
    pld(alone, None, search=search, seed=seed).compile(slow_student(), **DATA)
    made, killed = killed_meanwhile(together, storage, workers=workers, kills=kills, search=search, seed=seed)
    expected, found = made_trials(alone, None), made_trials(together, storage)
    assert found.keys() == expected.keys()
    # Races and confirmations propose what the trials finished at that moment suggest; all other steps are planned.
    planned = range(len(expected) - search.trials - CONFIRMATIONS)
    assert [found[step] for step in planned] == [expected[step] for step in planned]
    one, all_of_them = PLDResult.load(alone), PLDResult.load(together)
    assert all_of_them.counts == one.counts
    assert all_of_them.validation.baseline == one.validation.baseline
    assert all_of_them.validation.compiled.objective == one.validation.compiled.objective == 1.0
    lines = read_jsonl(RunFolder(together).predictions, dict)
    kept = sum(line["calls"] for line in lines)
    assert kept <= made <= kept + len(killed)
    # Two may propose the same set at one moment, and a compile that starts anew takes what the others are asking at
    # that moment for lost: neither has the other's answers then.
    twice = len(lines) - len({line["key"] for line in lines})
    assert twice <= workers * len(VAL)
    print(f"seed {seed}: killed {killed}, {made} calls, {twice} answers made twice")  # noqa: T201 - for the long drive
    return len(killed)


@linux
def test_a_worker_that_is_killed_costs_no_more_than_the_call_it_was_making(tmp_path, monkeypatch):
    monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 1.0)
    assert check_killed(tmp_path, None, SearchConfig(screen_calls=48, trials=2, block=12), workers=3, kills=1)


@linux
@pytest.mark.long
def test_two_of_eight_workers_on_postgresql_are_killed(tmp_path, monkeypatch, postgres):
    """``pytest -s -m long tests/search/test_workers.py``."""
    monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 10.0)
    assert sum(check_killed(tmp_path, postgres, SEARCH, workers=8, kills=2, seed=seed) for seed in range(4)) >= 4


@linux
@pytest.mark.long
def test_eight_workers_of_whom_two_are_killed_keep_to_one_cap(tmp_path, monkeypatch, postgres):
    monkeypatch.setattr(pld_dspy.search.plan, "LOST_SECONDS", 10.0)
    for seed in range(100, 103):
        settings = {"search": SEARCH, "seed": seed, "budget": Budget(student_calls=150)}
        made, killed = killed_meanwhile(tmp_path / f"{seed}", postgres, workers=8, kills=2, **settings)
        assert 150 <= made <= 150 + 8 + len(killed)
