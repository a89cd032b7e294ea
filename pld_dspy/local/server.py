"""Serving a GGUF file: llama.cpp inside this process, behind an OpenAI-compatible API on a loopback port."""

from __future__ import annotations

import atexit
import logging
import os
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .lm import post_json

logger = logging.getLogger(__name__)

_HOST = "127.0.0.1"
_servers: dict[Path, LocalServer] = {}
_lock = threading.Lock()


class LocalServer:
    """A running server of one model, made by :func:`serve`; it stops at ``close`` or when the process ends."""

    def __init__(self, path: Path, name: str, settings: dict[str, int]) -> None:
        self.path = path
        self.settings = settings
        self._engine: Any = _start(path, name, **settings)
        self.url: str = self._engine.listening_address  # http://127.0.0.1:PORT
        # An engine that is stopped before its task queue runs waits forever; a first request makes sure it runs.
        post_json(f"{self.url}/completion", {"prompt": "a", "n_predict": 1})

    def close(self) -> None:
        """Answer the requests in progress, stop the server and free the model. Closing twice is fine."""
        with _lock:
            if _servers.get(self.path) is self:
                del _servers[self.path]
            engine, self._engine = self._engine, None
        # The engine stops with its last reference, and waits for open requests while it holds Python's global lock,
        # which their callers in this process need. So none may be open.
        while engine is not None and _busy(engine):
            time.sleep(0.05)


def serve(path: str | Path, *, context: int = 8192, threads: int | None = None, name: str | None = None) -> LocalServer:
    """Serve a GGUF file on a free loopback port; return the running server if this process serves it already."""
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise ModelError(f"There is no model file at {path}. Check the path.")
    settings = {"context": context, "threads": threads or _cores()}
    with _lock:
        if running := _servers.get(path):
            if running.settings != settings:
                logger.warning("%s is already served with %s; close it to change them.", path.name, running.settings)
            return running
        if _servers:
            logger.warning("%s shares the CPU with %d other local models.", path.name, len(_servers))
        _servers[path] = server = LocalServer(path, name or path.stem, settings)
    _bypass_proxies()
    logger.info("Serving %s at %s/v1", name or path.stem, server.url)
    return server


def _start(path: Path, name: str, *, context: int, threads: int) -> Any:
    # llama.cpp's threads wait for each other hundreds of times per token. By default OpenMP lets them spin for
    # milliseconds, and one other busy process makes answers 50 times slower. Read when OpenMP is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelError(
            "Local models need xllamacpp. Install it with: pip install '.[local]' in a clone of pld_dspy"
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {name}
    params.hostnames = [_HOST]
    params.port = 0
    params.cors_origins = f"http://{_HOST}"  # no web page may read answers
    params.ui = params.endpoint_slots = False
    params.endpoint_metrics = True
    params.verbosity = 0
    params.n_threads_http = 32  # connections held open at once; further ones wait
    params.n_parallel = 1  # requests answered together would change each other's answers
    params.n_ctx = context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_prompt = params.cont_batching = True
    params.cache_ram_mib = 1024
    # Flash attention rounds differently with the length of the cached prefix: answers would depend on earlier prompts.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ModelError(
            f"llama.cpp cannot serve {path}: {error} Check that it is a whole GGUF file and fits in memory."
        ) from error


def _busy(engine: Any) -> bool:
    """Return whether requests are being answered or are waiting for a slot."""
    return bool(re.search(r"^llamacpp:requests_(processing|deferred) [1-9]", engine.handle_metrics(), re.MULTILINE))


def _cores() -> int:
    """Return the number of cores to compute on."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Larger machines mostly count two hardware threads per core; the second one only slows this work down.
    return usable if usable <= 4 else usable // 2


def _bypass_proxies() -> None:
    """Keep HTTP clients of this process from asking a configured proxy for our own loopback address."""
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if urllib.request.getproxies() and _HOST not in exempt.split(","):
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (exempt, _HOST)))


@atexit.register
def _close_all() -> None:
    for server in list(_servers.values()):
        server.close()
