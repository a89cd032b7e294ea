"""A compile that is killed at any moment, or whose folder is full, read-only or gone, repeats no finished call.

The long drive: ``pytest -m long tests/compile/test_pld_kills.py``; ``-s`` prints how many kills there were and where.
"""

import csv
import ctypes
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dspy
import pytest
import yaml
from filelock import BaseFileLock
from tasks import TEST, TRAIN, VAL, compiled, instruction, leaning_lm, mail_teacher, pld, student

from pld_dspy.errors import RunError
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import MicroRule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import read_trials
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.storage import find_study

WHOLE: dict[str, Any] = {
    "search": SearchConfig(screen_calls=48, trials=3, block=12),
    "induce": InduceConfig(wordings=2),
    "resolve": ResolveConfig(max_rounds=1, sets=4),
    "calibrate": True,
}
"""Every stage of a compile."""


def optimizer(folder: Path, calls: Path) -> tuple[PLD, dspy.Module]:
    """A compile that notes each call as it starts."""

    def noting(lm: dspy.LM) -> dspy.LM:
        fn = lm.engine.fn

        def answer(system: str, user: str) -> str:
            with calls.open("ab") as file:
                file.write(b".\n")
            return fn(system, user)

        lm.engine.fn = answer
        return lm

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    added = json.dumps([{"kind": "add", "texts": [instruction("meeting, deadline", "work")]}])
    teacher = noting(mail_teacher({"changes": lambda given: added}))
    return pld(folder, teacher=teacher, **WHOLE), student(noting(leaning_lm()))


def compile_it(folder: Path, calls: Path) -> None:
    own, program = optimizer(folder, calls)
    compiled(own, program)


def join_it(folder: Path, calls: Path) -> None:
    """Join the search as soon as there is one, until the process is killed or the search is done."""
    own, program = optimizer(folder, calls)
    for _ in range(600):
        with suppress(RunError):
            own.join(program, trainset=TRAIN, valset=VAL, testset=TEST)
            return
        time.sleep(0.02)


def started(target: Any, *given: Any) -> BaseProcess:
    child = multiprocessing.get_context("fork").Process(target=target, args=given)
    child.start()
    return child


def check_readable(path: Path, *, alive: bool) -> None:
    """Read every file of the folder as its readers do; only a last line may be under way."""
    folder = RunFolder(path)
    readers = {
        folder.config: lambda file: yaml.safe_load(file.read_text())["fingerprint"],
        folder.result: lambda file: PLDResult.load(path),
        folder.rules: lambda file: RuleSet.from_yaml(file.read_text()),
        folder.program: lambda file: json.loads(file.read_text())["metadata"],
        folder.micro_rules: lambda file: read_jsonl(file, MicroRule),
        folder.patches: lambda file: read_jsonl(file, dict),
        folder.trials: read_trials,
        folder.calibration: lambda file: json.loads(file.read_text()),
        folder.confusion: lambda file: list(csv.reader(file.open())),
        folder.predictions: lambda file: [json.loads(one) for one in file.read_bytes().split(b"\n")[:-1]],
    }
    for file, reader in readers.items():
        if file.exists():
            reader(file)
    if folder.study.exists() and not alive:
        with suppress(RunError):  # the search has not begun
            find_study(folder.study, prefix=folder.fingerprint)


def stage_of(path: Path) -> str:
    """How far a killed compile had come: the stage of its last answer."""
    try:
        lines = RunFolder(path).predictions.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return "start"
    return str(json.loads(lines[-1])["stage"]) if lines else "start"


def check_calls(path: Path, calls: Path, kills: int, *, workers: int) -> None:
    """No answer stands in the ledger twice, and only calls under way at a kill were made in vain."""
    lines = read_jsonl(RunFolder(path).predictions, dict)
    keys, kept = Counter(line["key"] for line in lines), sum(line["calls"] for line in lines)
    if workers == 1:
        assert set(keys.values()) == {1}
    made = len(calls.read_bytes().splitlines())
    assert kept <= made <= kept + kills * workers
    # Two workers may ask the same at the same moment, when neither has the other's answer.
    assert keys.total() - len(keys) <= 2 * workers * (kills + 1)


def outcome(result: PLDResult) -> dict[str, Any]:
    found = result.model_dump(exclude={"seconds", "costs"})
    return {**found, "calls": {(role, stage): c.calls for role, s in result.costs.items() for stage, c in s.items()}}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[PLDResult, float]:
    """The result, and the seconds it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    begun = time.monotonic()
    child = started(compile_it, folder / "run", folder / "calls")
    child.join()
    assert child.exitcode == 0
    return PLDResult.load(folder / "run"), time.monotonic() - begun


def killed_until_done(path: Path, calls: Path, moments: Iterator[float], *, workers: int) -> Iterator[str]:
    """Start a compile again and again, and kill it at ``moments`` until it gets through; yield where each kill hit."""
    while True:
        children = [started(target, path, calls) for target in (compile_it, join_it)[:workers]]
        moment = next(moments)
        children[0].join(moment / 2)
        check_readable(path, alive=True)
        children[0].join(moment / 2)
        done = children[0].exitcode is not None
        for child in children:
            child.kill()
            child.join()
        check_readable(path, alive=False)
        if done:
            assert children[0].exitcode == 0
            return
        yield stage_of(path)


@pytest.mark.long
@pytest.mark.parametrize(("workers", "kills"), [(1, 200), (2, 100)])
def test_a_compile_killed_at_random_moments_gets_there(tmp_path, uninterrupted, workers, kills):
    result, seconds = uninterrupted
    chance, stages, same, number = random.Random(workers), Counter[str](), 0, 0
    while stages.total() < kills:
        number += 1
        path, calls, before = tmp_path / f"run{number}", tmp_path / f"calls{number}", stages.total()
        moments = (chance.uniform(0, 0.6 * seconds) if stages.total() < kills else 600.0 for _ in repeat(0))
        for stage in killed_until_done(path, calls, moments, workers=workers):
            stages[stage] += 1
        found = PLDResult.load(path)
        check_calls(path, calls, stages.total() - before, workers=workers)
        same += outcome(found) == outcome(result)
        assert found.counts == result.counts
        told = f"{workers} worker(s): {stages.total()} kills, {number} compiles, {same} same: {dict(stages)}"
        print(told)  # noqa: T201 - what the long drive is run for
    if workers == 1:  # two workers' proposals depend on who was faster
        assert same == number


def compile_saying(folder: Path, calls: Path) -> None:
    """Compile; leave what an error says in a file beside the folder."""
    try:
        compile_it(folder, calls)
    except RunError as error:
        Path(f"{folder}.said").write_text(str(error))
        raise SystemExit(3) from error


def compile_on_a_small_disk(folder: Path, calls: Path, size: int) -> None:
    """Compile where no file can be larger than ``size`` bytes; leave what the compile says in a file beside it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then such a write fails as on a full disk, with a part written
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    compile_saying(folder, calls)


@pytest.mark.parametrize(
    ("size", "file"),
    [
        (60_000, "study.log"),
        pytest.param(9_000, "predictions.jsonl", marks=pytest.mark.long),
        pytest.param(700, "config.yaml", marks=pytest.mark.long),
        pytest.param(64_000, "", marks=pytest.mark.long),
    ],
)
def test_a_full_disk_is_a_clear_end_and_the_compile_goes_on_from_there(tmp_path, uninterrupted, size, file):
    path, calls = tmp_path / "run", tmp_path / "calls"
    child = started(compile_on_a_small_disk, path, calls, size)
    child.join()
    assert child.exitcode == 3
    said = Path(f"{path}.said").read_text()
    assert f"Cannot write {path / file}" in said
    assert "File too large. Free space or give write permission, then run again: finished calls are kept." in said
    assert not [one.name for one in path.iterdir() if one.suffix == ".new"]
    assert calls.exists() == (file != "config.yaml")
    child = started(compile_it, path, calls)
    child.join()
    assert child.exitcode == 0
    check_calls(path, calls, 1, workers=1)
    assert outcome(PLDResult.load(path)) == outcome(uninterrupted[0])


def made_read_only(path: Path) -> None:
    """Make a folder read-only. For root, whom no permission stops, by a mount that this process alone sees."""
    if os.geteuid():
        for one in (path, *path.iterdir()):
            one.chmod(one.stat().st_mode & ~0o222)
        return
    mount = ("mount", "-o")
    if ctypes.CDLL(None).unshare(0x20000):  # CLONE_NEWNS
        raise SystemExit(NO_MOUNTS)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run([*mount, "bind", path, path], check=True)
    subprocess.run([*mount, "remount,bind,ro", path], check=True)


def made_writable(path: Path) -> None:
    if not os.geteuid():  # the mount went with its process
        return
    for one in (path, *path.iterdir()):
        one.chmod(one.stat().st_mode | 0o200)


def moved_away(path: Path) -> None:
    path.rename(f"{path}.away")


def brought_back(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)  # what was written in its place
    path.unlink(missing_ok=True)
    Path(f"{path}.away").rename(path)


def replaced(path: Path) -> None:
    moved_away(path)
    path.write_text("")


def unmounted(path: Path) -> None:
    moved_away(path)
    path.mkdir()


NO_MOUNTS = 77
LOSSES = {
    "read-only": (made_read_only, made_writable),
    "moved": (moved_away, brought_back),
    "unmounted": (unmounted, brought_back),
    "replaced": (replaced, brought_back),
}


def compile_and_lose(folder: Path, calls: Path, lose: Callable[[Path], None], moment: int | str) -> None:
    """Compile, and lose the folder after so many writes, or the first of a file; leave what is said in a file."""
    written: list[str] = []

    def then_lost(function: Any, name: Callable[..., str]) -> Any:
        def write(*given: Any, **more: Any) -> Any:
            found = function(*given, **more)
            written.append(Path(name(*given)).name.removesuffix(".lock"))
            if moment == len(written) or written.count(str(moment)) == 1 == written[-1:].count(str(moment)):
                lose(folder)
            return found

        return write

    # Journals are written under a lock, all other files as a whole.
    BaseFileLock.release = then_lost(BaseFileLock.release, lambda lock, **more: lock.lock_file)
    os.replace = then_lost(os.replace, lambda new, path: path)
    compile_saying(folder, calls)


@pytest.mark.parametrize(
    ("way", "moment"),
    [
        ("read-only", "program.json"),
        ("moved", "predictions.jsonl"),
        *(pytest.param(way, n, marks=pytest.mark.long) for way in LOSSES for n in (40, 73, 110, 300, 500, 700)),
    ],
)
def test_a_folder_that_is_lost_in_the_middle_is_a_clear_end_and_the_compile_goes_on_once_it_is_back(
    tmp_path, uninterrupted, way, moment
):
    path, calls, (lose, restore) = tmp_path / "run", tmp_path / "calls", LOSSES[way]
    child = started(compile_and_lose, path, calls, lose, moment)
    child.join()
    if child.exitcode == NO_MOUNTS:
        pytest.skip("this process may mount nothing")
    assert child.exitcode == 3
    said = Path(f"{path}.said").read_text()
    assert str(path) in said
    assert "Cannot write" in said or "is not a run folder" in said
    assert "damaged" not in said
    restore(path)
    child = started(compile_it, path, calls)
    child.join()
    assert child.exitcode == 0
    check_calls(path, calls, 1, workers=1)
    assert outcome(PLDResult.load(path)) == outcome(uninterrupted[0])
