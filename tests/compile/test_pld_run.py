"""The run folder: complete, readable, free of secrets, and a compile killed anywhere goes on where it was."""

import csv
import errno
import json
import logging
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread
from typing import Any, Literal

import dspy
import numpy as np
import pytest
import yaml
from engine import Failure, calls, rule_following_lm, timeout_error
from tasks import TEST, TRAIN, VAL, compiled, good_rules, mail, mail_teacher, micro_rules, pld, student, student_lm

from pld_dspy.compile.context import nested_settings
from pld_dspy.errors import DataError, RunError
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.release.report import write_report
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import MicroRule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_config import SearchConfig

FILES = {
    *("config.yaml", "micro_rules.jsonl", "rules.yaml", "program.json", "study.log", "trials.csv"),
    *("predictions.jsonl", "confusion.csv", "result.json"),
}
WHOLE = {"search": SearchConfig(screen_calls=36, trials=3, block=12), "induce": InduceConfig(wordings=2)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PLD]:
    folder = tmp_path_factory.mktemp("run")
    optimizer = pld(folder)
    compiled(optimizer, student(student_lm()))
    return folder, optimizer


def test_the_folder_holds_every_file(run):
    folder, optimizer = run
    assert {path.name for path in folder.iterdir() if path.suffix != ".lock"} == FILES
    assert PLDResult.load(folder) == optimizer.result
    assert RuleSet.from_yaml((folder / "rules.yaml").read_text()).render() == optimizer.result.rules.render()
    assert len(read_jsonl(folder / "micro_rules.jsonl", MicroRule)) == len(TRAIN)
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    assert [row["kind"] for row in rows] == ["baseline", "all rules", "race", "race"]
    assert float(rows[-1]["best"]) == optimizer.result.validation.compiled.macro_f1
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["settings"]["seed"] == 0
    assert config["data"]["train"].endswith("(36 rows)")


def test_the_constructors_read_the_settings_back(tmp_path):
    folder = RunFolder(tmp_path)
    for resolve in (None, ResolveConfig(max_rounds=3)):
        optimizer = pld(
            tmp_path, search=SearchConfig.within(200, 24), induce=InduceConfig(band=(0.25, 3.0)), resolve=resolve
        )
        folder.open({"settings": nested_settings(vars(optimizer))["settings"]}, resume=False)
        settings = folder.settings()["settings"]
        assert SearchConfig(**settings["search"]) == optimizer.search
        assert InduceConfig(**settings["induce"]) == optimizer.induce
        assert (settings["resolve"] and ResolveConfig(**settings["resolve"])) == resolve


def test_the_embedder_is_recorded_and_a_function_by_its_name():
    def own(texts):
        return np.ones((len(texts), 1))

    given = nested_settings(vars(pld(embedder="auto")))
    assert given["settings"]["embedder"] == "auto"
    assert pld(embedder="tfidf").get_params()["embedder"] == "tfidf"
    given = nested_settings(vars(pld(embedder=own)))
    assert (given["code"]["embedder"], "embedder" in given["settings"]) == ("own", False)
    assert pld(embedder=own).get_params()["embedder"] == "own"


def test_an_unknown_embedder_is_refused_before_anything_starts():
    with pytest.raises(DataError, match=r"embedder='word2vec' is unknown\. Give auto, encoder, tfidf or a function"):
        pld(embedder="word2vec")


def test_all_stages_compare_texts_by_a_function_of_the_users_own(tmp_path):
    """Each stage has its own texts: audit and baselines examples, induction micro-rules, and baselines both notes."""
    seen: list[int] = []

    def own(texts):
        seen.append(len(texts))
        return np.array([[1.0 + ("lottery" in text), len(text)] for text in texts])

    optimizer = pld(tmp_path, embedder=own, resolve=ResolveConfig(max_rounds=1))
    compiled(optimizer, student(student_lm()))
    known = len(TRAIN) + len(VAL)
    assert seen == [len(TRAIN), len(TRAIN), known, 2 * len(TRAIN), len(TEST)]


def test_confusion_counts_every_example(run):
    rows = list(csv.DictReader((run[0] / "confusion.csv").open()))
    for split in ("validation", "test"):
        for program in ("baseline", "compiled"):
            counts = [int(row["count"]) for row in rows if (row["split"], row["program"]) == (split, program)]
            assert sum(counts) == 24


def test_costs_are_what_was_asked(run):
    answers = [json.loads(line) for line in (run[0] / "predictions.jsonl").read_text().splitlines()]
    costs = run[1].result.costs
    for role, stages in costs.items():
        for stage, cost in stages.items():
            kept = [row for row in answers if (row["role"], row["stage"]) == (role, stage)]
            assert cost.calls == sum(row["calls"] for row in kept)
            assert cost.tokens_in == sum(row["tokens_in"] for row in kept)
    assert sum(cost.calls for stages in costs.values() for cost in stages.values()) == len(answers)
    rules = run[1].result.rules
    assert run[1].result.rule_tokens == len(rules.render().split())


def test_the_saved_program_runs_where_the_library_is_not(run):
    script = """
import json, sys
sys.modules["pld_dspy"] = None
import dspy
program = dspy.Predict("text -> label: Literal['spam', 'work', 'home']")
program.load(sys.argv[1])
print(json.dumps(program.signature.instructions))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(run[0] / "program.json")], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == run[1].result.instructions


def test_a_finished_compile_comes_back_without_a_call(run, tmp_path):
    lm, teacher = student_lm(), mail_teacher()
    optimizer = pld(run[0], teacher=teacher)
    compiled(optimizer, student(lm))
    assert calls(lm) == calls(teacher) == []
    assert outcome(optimizer.result) == outcome(run[1].result)


CHANGES: dict[str, Callable[[], tuple[dict[str, Any], dict[str, Any], str]]] = {
    "seed": lambda: ({"seed": 1}, {}, "settings"),
    "search": lambda: ({"search": SearchConfig(screen_calls=0, trials=3)}, {}, "settings"),
    "data": lambda: ({}, {"valset": VAL[:23]}, "data"),
    "rationales": lambda: ({}, {"rationales": micro_rules(TRAIN)}, "data"),
    "adapter": lambda: ({"adapter": dspy.ChatAdapter()}, {}, "adapter"),
    "teacher": lambda: ({"teacher": mail_teacher(model="custom/other")}, {}, "teacher"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_compile_in_the_same_folder_is_refused(run, name):
    settings, data, said = CHANGES[name]()
    lm = student_lm()
    with pytest.raises(RunError, match=rf"holds another compile: {said} differ.*resume=False"):
        compiled(pld(run[0], **settings), student(lm), **data)
    assert calls(lm) == []


def test_another_student_in_the_same_folder_is_refused(run):
    with pytest.raises(RunError, match="student differ"):
        compiled(pld(run[0]), student(student_lm(temperature=0.5)))


def test_starting_anew_forgets_the_old_run_and_nothing_else(tmp_path):
    compiled(pld(tmp_path), student(student_lm()))
    (tmp_path / "notes.txt").write_text("mine")
    lm, optimizer = student_lm(), pld(tmp_path, seed=1)
    compiled(optimizer, student(lm), resume=False)
    assert len(calls(lm)) >= 24
    assert PLDResult.load(tmp_path).seed == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_teacher_answer_that_was_lost_is_asked_for_on_resuming(tmp_path):
    """It brings a rule that the trials made so far know nothing of."""
    settings = {"induce": InduceConfig(wordings=1, clusterer=lambda vectors: np.arange(len(vectors)))}
    data = {"trainset": [*TRAIN, mail(60, "spam", "raffle")]}
    flaky = mail_teacher(failures=[timeout_error("Mail 60 ")])
    dying = student_lm(failures=[Failure("Mail 205 ", KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        compiled(pld(tmp_path, teacher=flaky, **settings), student(dying), **data)
    lm, teacher = student_lm(), mail_teacher()
    optimizer = pld(tmp_path, teacher=teacher, **settings)
    compiled(optimizer, student(lm), **data)
    asked = [call for call in calls(teacher) if "Mail 60 " in call.user]
    assert len(asked) == 2  # its explanation, and the draft, whose brief shows it
    assert optimizer.result.counts["micro_rules"] == len(TRAIN) + 1
    assert optimizer.result.counts["rules"] == len(good_rules()) + 1
    assert optimizer.result.counts["trials"] == 4


def outcome(result: PLDResult) -> dict[str, Any]:
    """What a compile found, without what it cost in this process."""
    found = result.model_dump(exclude={"seconds", "costs"})
    return {**found, "calls": {(role, stage): c.calls for role, s in result.costs.items() for stage, c in s.items()}}


def compile_noting(folder: Path, log: Path, fatal: int | None) -> None:
    """Compile, noting each call's start in ``log``; the process is killed as call number ``fatal`` starts."""

    def noting(lm: dspy.LM) -> dspy.LM:
        fn = lm.engine.fn

        def answer(system: str, user: str) -> str:
            with log.open("a") as file:
                file.write(f"{json.dumps([system, user])}\n")
            if fatal is not None and len(log.read_text().splitlines()) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return fn(system, user)

        lm.engine.fn = answer
        return lm

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    compiled(pld(folder, teacher=noting(mail_teacher()), **WHOLE), student(noting(student_lm())))


def in_a_process(folder: Path, log: Path, fatal: int | None = None) -> int | None:
    child = multiprocessing.get_context("fork").Process(target=compile_noting, args=(folder, log, fatal))
    child.start()
    child.join()
    return child.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[PLDResult, list[str], dict[str, int]]:
    """The result, the calls in order, and how many of them were made when each stage was done."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert in_a_process(folder / "run", folder / "log") == 0
    result = PLDResult.load(folder / "run")
    done, until = 0, {}
    for role, stage in (("student", "baseline"), ("teacher", "explain"), ("teacher", "induce"), ("student", "search")):
        done += result.costs[role][stage].calls
        until[stage] = done
    return (
        result,
        (folder / "log").read_text().splitlines(),
        {**until, "test": done + result.costs["student"]["test"].calls},
    )


@pytest.mark.parametrize(
    "stage",
    [*(pytest.param(name, marks=pytest.mark.long) for name in ("baseline", "explain", "induce")), "search", "test"],
)
def test_a_compile_killed_in_any_stage_goes_on_and_repeats_no_finished_call(tmp_path, uninterrupted, stage):
    result, log, until = uninterrupted
    before = [0, *until.values()][list(until).index(stage)]
    fatal = (before + until[stage] + 1) // 2
    assert in_a_process(tmp_path / "run", tmp_path / "log", fatal) == -signal.SIGKILL
    assert not (tmp_path / "run" / "result.json").exists()
    assert in_a_process(tmp_path / "run", tmp_path / "log") == 0
    made = (tmp_path / "log").read_text().splitlines()
    assert outcome(PLDResult.load(tmp_path / "run")) == outcome(result)
    assert made == [*log[:fatal], *log[fatal - 1 :]]  # the call in flight is made again, and no other


def test_a_compile_killed_again_and_again_gets_there(tmp_path, uninterrupted):
    result, log, until = uninterrupted
    kills = range(11, until["test"], until["test"] // 6)
    for number, fatal in enumerate(kills):
        assert in_a_process(tmp_path / "run", tmp_path / "log", fatal + number) == -signal.SIGKILL
    assert in_a_process(tmp_path / "run", tmp_path / "log") == 0
    assert outcome(PLDResult.load(tmp_path / "run")) == outcome(result)
    assert len((tmp_path / "log").read_text().splitlines()) == len(log) + len(kills)


CANARY = "sk-canary-0123456789"


@pytest.fixture
def provider() -> Iterator[str]:
    """An OpenAI-compatible server on the loopback whose model follows rules; it notes the keys it is given."""
    engine = rule_following_lm("work").engine
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers["Authorization"])
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            system, user = (body["messages"][i]["content"] for i in (0, -1))
            texts = [part if isinstance(part, str) else part[0]["text"] for part in (system, user)]
            message = {"role": "assistant", "content": engine.fn(*texts)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
            reply = {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "tiny",
                "choices": [choice],
                "usage": usage,
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    assert keys
    assert set(keys) == {f"Bearer {CANARY}"}


def test_no_key_and_no_address_is_ever_in_the_folder_the_report_and_mlflow(
    tmp_path, provider, empty_store, monkeypatch, caplog
):
    caplog.set_level(logging.DEBUG, logger="pld_dspy")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps copies of the files
    monkeypatch.setenv("MY_API_KEY", CANARY)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    headers = {"x-secret": CANARY, "authorization": f"Bearer {CANARY}"}
    lm = dspy.LM("openai/tiny", api_base=provider, api_key=CANARY, extra_headers=headers, cache=False)
    program = student(lm)
    program.config = {"extra_headers": headers}
    data = {"rationales": micro_rules(TRAIN), "valset": VAL[:9], "testset": None}
    small = SearchConfig(screen_calls=12, trials=1)
    optimizer = pld(tmp_path, teacher=None, tracking="sqlite:///mlflow.db", search=small)
    compiled(optimizer, program, **data)
    assert optimizer.result.improved
    write_report(tmp_path)
    assert CANARY not in caplog.text
    assert len(list(tmp_path.rglob("config.yaml"))) == 2  # one of them at MLflow
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert CANARY.encode() not in content, path.name
        assert provider.encode() not in content, path.name
    moved = dspy.LM("openai/tiny", api_base="http://127.0.0.1:9/v1", api_key="another", cache=False)
    compiled(pld(tmp_path, teacher=None, search=small), student(moved), **data)  # without a call: nobody listens there


def test_a_tilde_in_the_run_folder_is_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunFolder("~/runs/mail").path == tmp_path / "runs" / "mail"


def test_compiles_that_begin_within_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []
    for seed in range(3):
        folder = RunFolder()
        folder.open({"seed": seed}, resume=True)
        folders.append(folder.path)
    assert len(set(folders)) == 3
    assert all(folder.parent == Path("runs") for folder in folders)


def test_compiles_that_begin_at_one_moment_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gate = Barrier(8)

    def begun(seed: int) -> Path:
        gate.wait()
        folder = RunFolder()
        folder.open({"seed": seed}, resume=True)
        assert folder.settings()["seed"] == seed
        return folder.path

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(begun, range(8)))) == 8


def test_of_compiles_that_begin_in_one_folder_at_one_moment_one_goes_on(tmp_path):
    gate = Barrier(8)

    def begun(seed: int) -> int | None:
        gate.wait()
        try:
            RunFolder(tmp_path / "run").open({"seed": seed}, resume=True)
        except RunError:
            return None
        return seed

    with ThreadPoolExecutor(8) as pool:
        [first] = [seed for seed in pool.map(begun, range(8)) if seed is not None]
    assert RunFolder(tmp_path / "run").settings()["seed"] == first


def test_a_folder_that_cannot_hold_symlinks_will_do(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()))
    assert optimizer.result.counts["trials"] == 4


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_call(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "run" / "config.yaml.lock").mkdir(parents=True)
    for path in (tmp_path / "file" / "run", tmp_path / "run"):
        lm, teacher = student_lm(), mail_teacher()
        with pytest.raises(RunError, match=rf"Cannot write {path}/config\.yaml.*choose another run folder"):
            compiled(pld(path, teacher=teacher), student(lm))
        assert calls(lm) == calls(teacher) == []


def test_labels_in_another_order_are_named_as_such(tmp_path):
    def program(labels: tuple[str, ...]) -> dspy.Module:
        fields = {"text": (str, dspy.InputField()), "label": (Literal.__getitem__(labels), dspy.OutputField())}
        made = dspy.Predict(dspy.Signature(fields, "Sort the mail."))
        made.lm = student_lm()
        return made

    compiled(pld(tmp_path), program(("spam", "work", "home")))
    with pytest.raises(RunError, match=r"task, student differ\. The labels are the same in another order.*sort them"):
        compiled(pld(tmp_path), program(("work", "home", "spam")))


ODD = """
import os
import sys
from functools import partial
from typing import Any

import dspy
from engine import calls
from pydantic import BaseModel
from tasks import Mail, keyword, mail_teacher, mails, pld, student_lm

from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.search.search_config import SearchConfig


class Box:
    def __init__(self, word):
        self.word, self.more = word, {word, word + "1", word + "2"}


class Meta(BaseModel):
    words: set[str]


class Counting(dspy.Module):  # it counts its calls, and holds what has no order and no text
    def __init__(self, step):
        super().__init__()
        self.step, self.calls, self.seen, self.words, self.made = step, 0, {}, {"a", "b", "c"}, lambda x: x

    def forward(self, **given):
        self.calls += 1
        self.seen[str(self.calls)] = self.calls
        return self.step(**given)


def examples(count, start):
    for one in mails(count, start=start):
        word = keyword(one)
        odd = [{word, "x", "y"}, Box(word), Meta(words={word, "x"}), {name: 1 for name in {"a", "b", "c"}},
               frozenset({frozenset({"a", word}), frozenset({"b", "c"})}), lambda x: x, word.encode(), 0.1 + 0.2]
        fields = {"text": one.text, "odd": odd, "label": one.label, "id": one.id}
        yield dspy.Example({name: fields[name] for name in set(fields)}).with_inputs("text", "odd")


os.fsync = lambda descriptor: None
teacher, lm = mail_teacher(), student_lm(stop={"one", "two", "three"})
explains = dspy.Predict("task, labels, example, label -> rationale, rule")
explains.lm = teacher
optimizer = pld(
    sys.argv[1],
    teacher=Counting(explains),
    adapter=dspy.ChatAdapter(),
    metric=partial(lambda most, gold, given, trace=None: gold.label == given.get("label"), 1),
    search=SearchConfig(screen_calls=0, trials=1),
    induce=InduceConfig(wordings=1),
    max_errors=3,
)
program = Counting(dspy.Predict(Mail.append("odd", dspy.InputField(), Any)))
with dspy.context(lm=lm):
    optimizer.compile(program, trainset=[*examples(12, 0)], valset=[*examples(15, 100)], testset=[*examples(6, 200)])
print(len(calls(lm)), len(calls(teacher)), program.calls)
"""
"""A compile of data and programs whose order, addresses and counters differ in each process; prints the calls made."""


def test_no_order_of_sets_and_no_address_makes_a_second_process_pay_again(tmp_path, monkeypatch, capsys):
    script = tmp_path / "odd.py"
    script.write_text(ODD)
    arguments = [str(script), str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(script), run_name="__main__")
    student_calls, teacher_calls, _ = map(int, capsys.readouterr().out.split())
    assert student_calls >= 4 * 12
    assert teacher_calls >= 12
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    seed = "1" if os.environ.get("PYTHONHASHSEED") == "2" else "2"  # another than here, where it is mostly random
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "0", "0"]
