"""From what a user writes for a model to a ``dspy.LM``; a local one is fetched and served first."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path
from typing import Any

import dspy

from ..errors import ModelError
from ..student.constraints import LLAMA_CPP
from .fetch import fetch
from .models import CATALOGUE, CHUNK, DEFAULT_MODEL, find, is_path
from .server import serve, token_count

_LOCAL = "local"


def local_lm(spec: str = _LOCAL, *, context: int = 8192, threads: int | None = None, **settings: Any) -> dspy.LM:
    """Return an ordinary ``dspy.LM`` for a model that runs on this machine's CPU.

    The LM's name stands for the weights, so that DSPy's cache and history outlive the port. ``lm.pld_server`` says
    that llama.cpp answers, for adapters that can constrain it with a grammar.

    DSPy looks up prices on the network at its first call; for a local model nobody is asked, unless
    ``LITELLM_LOCAL_MODEL_COST_MAP`` is set to ``False``.

    Args:
        spec: ``local`` (the default model), ``local:NAME`` (a name in ``CATALOGUE``) or the path of a ``.gguf``
            file.
        context: tokens that one prompt and its answer may take together.
        threads: CPU threads; None for one per core.
        settings: further arguments of ``dspy.LM``; temperature 0 and 1,024 new tokens unless given.

    Raises:
        ModelError: the model is unknown, or cannot be fetched or served.
    """
    wanted = DEFAULT_MODEL if spec == _LOCAL else spec.removeprefix(f"{_LOCAL}:")
    path = find(wanted)
    if path is None and is_path(wanted):
        raise ModelError(f"There is no model file at {wanted}. Check the path.")
    path = path or fetch(wanted)
    name = f"{path.stem}-{_fingerprint(path)}" if is_path(wanted) else wanted
    server = serve(path, context=context, threads=threads, name=name)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    settings = {"temperature": 0.0, "max_tokens": 1024, **settings}
    lm = dspy.LM(f"openai/{name}", api_base=server.base_url, api_key=_LOCAL, **settings)
    lm.pld_server = LLAMA_CPP
    lm.pld_context = context
    lm.pld_count_tokens = partial(token_count, server.url)
    return lm


def resolve_lm(spec: str, *, api_base: str | None = None, api_key: str | None = None, **settings: Any) -> dspy.LM:
    """Return the LM that a user means by ``spec``.

    Args:
        spec: what ``local_lm`` takes, or any DSPy model string, such as ``openai/gpt-4o-mini``.
        api_base: address of an OpenAI-compatible server; not for local models.
        api_key: its key; None leaves it to the provider's environment variable.
        settings: further arguments of ``dspy.LM``.

    Raises:
        ModelError: ``spec`` is neither, or the local model cannot be fetched or served.
    """
    if spec == _LOCAL or spec.startswith(f"{_LOCAL}:") or is_path(spec):
        if api_base is not None:
            raise ModelError(
                f"The local model {spec!r} takes no api_base, got {api_base!r}. To use a server of your own, name "
                "its model as PROVIDER/MODEL, for example openai/NAME."
            )
        return local_lm(spec, **settings)
    if "/" not in spec:
        hint = f"local:{spec}" if spec in CATALOGUE else f"PROVIDER/MODEL, {_LOCAL}, {_LOCAL}:NAME or a .gguf path"
        raise ModelError(f"Cannot tell which model {spec!r} is. Write {hint}.")
    connection = {"api_base": api_base, "api_key": api_key}
    return dspy.LM(spec, **{key: value for key, value in connection.items() if value is not None}, **settings)


def _fingerprint(path: Path) -> str:
    """Tell files of the same name apart by their size and samples of the weights, without reading gigabytes."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for start in (0, size // 2, max(0, size - CHUNK)):
            stream.seek(start)
            digest.update(stream.read(CHUNK))
    return digest.hexdigest()[:8]
