"""A small OpenAI-compatible server on a loopback port, with the faults that real servers have."""

from __future__ import annotations

import itertools
import json
import math
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
from engine import Answerer

Body = dict[str, Any]
Refusal = Callable[[Body], tuple[int, str] | None]

FAULTS = ("reset", "rate limit", "error", "no JSON", "half", "nothing", "no choice", "empty", "slow", "silent")
"""What may come in place of an answer: the connection closed, 429, 500, bodies and texts cut, late or never."""


class ModelServer:
    """A server that answers with ``fn(system text, last user text)``, until the end of a ``with`` block.

    Args:
        fn: a function of the prompt, without demonstrations and corrections.
        refuses: request body -> the status and message with which it is refused; None where it is answered.
        faults: what comes in place of answers, in turn.
        rate: the share of the requests that get a fault.
        listed: token -> probability, as the list at the answer, where a request asks for log-probabilities.
        seed: of the draws.
    """

    def __init__(
        self,
        fn: Answerer,
        *,
        refuses: Refusal = lambda body: None,
        faults: Iterable[str] = (),
        rate: float = 0.0,
        listed: Callable[[str, str], dict[str, float]] | None = None,
        seed: int = 0,
    ) -> None:
        self.fn, self.refuses, self.listed = fn, refuses, listed
        self.faults, self.rate, self.chance = itertools.cycle(faults), rate, random.Random(seed)
        self.bodies: list[Body] = []
        self.failed: list[str] = []
        self.is_down = False
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.bodies.append(body)
                    fault = next(outer.faults) if outer.chance.random() < outer.rate else ""
                    fault = "reset" if outer.is_down else fault
                    outer.failed += [fault] if fault else []
                self.reply(body, fault)

            def reply(self, body: Body, fault: str) -> None:
                refusal = outer.refuses(body)
                errors = {"rate limit": (429, "Rate limit reached"), "error": (500, "boom")}
                if fault in errors or refusal is not None:
                    status, message = errors.get(fault) or refusal or (0, "")
                    self.send(status, {"error": {"message": message, "type": "error", "code": None}})
                elif fault == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                elif fault == "silent":
                    time.sleep(1.2)
                    self.close_connection = True
                else:
                    if fault == "slow":
                        time.sleep(0.05)
                    whole = json.dumps(outer.completion(body, fault)).encode()
                    self.send(200, {"no JSON": b"ok", "half": whole[:40], "nothing": b""}.get(fault, whole))

            def send(self, status: int, body: Body | bytes) -> None:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: Any) -> None:
                """Keep test output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *connection: None  # type: ignore[method-assign] # a client that gave up
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def completion(self, body: Body, fault: str) -> Body:
        """The answer to a request; one that is longer than ``max_tokens``, at four characters a token, is cut."""
        system = "\n".join(turn["content"] for turn in body["messages"] if turn["role"] == "system")
        user = next(turn["content"] for turn in body["messages"] if turn["role"] == "user")
        text, limit = self.fn(system, user), body.get("max_tokens") or body.get("max_completion_tokens") or 10**6
        is_cut = len(text) > 4 * limit
        text = "" if fault == "empty" else text[: 4 * limit]
        finish = "length" if is_cut else "stop"
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
        if self.listed and body.get("logprobs"):
            top = [
                {"token": token, "bytes": None, "logprob": math.log(p)}
                for token, p in self.listed(system, user).items()
            ]
            own = next((entry for entry in top if entry["token"] == text), top[0])
            choice["logprobs"] = {"content": [{**own, "top_logprobs": top}]}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        choices = [] if fault == "no choice" else [choice]
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": usage,
        }

    def lm(self, model: str = "openai/served", **settings: Any) -> dspy.LM:
        """An LM that asks this server, without DSPy's cache and retries, which wait a second and more."""
        base = f"http://127.0.0.1:{self.http.server_port}/v1"
        return dspy.LM(model, api_base=base, api_key="none", **{"num_retries": 0, "cache": False, **settings})
