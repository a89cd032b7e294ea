"""Calls at once by role: a teacher behind a slow server is asked eight at a time, whatever the student is.

The server waits ``PLD_TEST_WAIT`` seconds (0.1) before each of ``PLD_TEST_CALLS`` answers (96).
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest
from tasks import as_teacher, mail_task, mail_teacher, mails

from pld_dspy.explain import Explanations, explain
from pld_dspy.ledger.budget import Cost
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.lm import LocalLM

WAIT, CALLS = float(os.environ.get("PLD_TEST_WAIT", "0.1")), int(os.environ.get("PLD_TEST_CALLS", "96"))
TRAIN = mails(CALLS)


class SlowServer:
    """An OpenAI-compatible server on a loopback port that answers as the mail teacher does, after a wait."""

    def __init__(self) -> None:
        self.answer = mail_teacher().engine.fn
        self.at_once, self.most_at_once, self.wait = 0, 0, 0.01
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = json.dumps(outer.completion(body["messages"])).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *args: Any) -> None:
                """Keep test output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def completion(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.wait)
        with self.lock:
            self.at_once -= 1
        text = self.answer(messages[0]["content"], messages[-1]["content"])
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
        return {**head, "choices": [choice], "usage": usage}


@pytest.fixture
def server() -> Iterator[SlowServer]:
    running = SlowServer()
    yield running
    running.http.shutdown()
    running.http.server_close()


def explained(server: SlowServer, threads: int, *, wait: float) -> tuple[Explanations, Cost, float]:
    """The explanations, what they cost, and the seconds they took."""
    server.wait, ledger = wait, Ledger(num_threads=1, teacher_threads=threads)
    started = time.perf_counter()
    found = explain(TRAIN, mail_task(), teacher=as_teacher(lm_of(server), ledger))
    return found, ledger.total("teacher"), time.perf_counter() - started


def lm_of(server: SlowServer, kind: type[dspy.LM] = dspy.LM, **settings: Any) -> dspy.LM:
    return kind("openai/slow", api_base=server.base, api_key="none", cache=False, num_retries=0, **settings)


def test_eight_teacher_threads_take_a_sixth_of_the_time_for_the_same_results(server):
    one, spent_one, own_seconds = explained(server, 1, wait=0)
    assert server.most_at_once == 1
    eight, spent_eight, seconds = explained(server, 8, wait=WAIT)
    assert server.most_at_once == 8
    assert one == eight
    assert len(eight.micro_rules) == CALLS
    assert spent_one.model_dump(exclude={"call_seconds"}) == spent_eight.model_dump(exclude={"call_seconds"})
    assert (spent_eight.calls, spent_eight.failures, spent_eight.reused) == (CALLS, 0, 0)
    # Threads do not speed up the client's own work, which is as long as many short waits.
    own_work = own_seconds if WAIT < 1 else 0
    assert seconds <= (WAIT * CALLS + own_seconds) / 6 + own_work


def test_a_local_teacher_is_asked_one_question_at_a_time(server):
    ledger = Ledger(num_threads=8, teacher_threads=8)
    lm = lm_of(server, LocalLM, context_tokens=8192)
    assert len(explain(TRAIN[:8], mail_task(), teacher=as_teacher(lm, ledger)).micro_rules) == 8
    assert server.most_at_once == 1
