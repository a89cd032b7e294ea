"""Turn what a user writes for a model into a ``dspy.LM``; a local model is fetched and served first."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import dspy

from ..errors import ModelError
from .fetch import fetch
from .lm import LocalLM
from .models import CATALOGUE, CHUNK, DEFAULT_MODEL, find, is_path
from .server import serve


def local_lm(spec: str = "local", *, context: int = 8192, threads: int | None = None, **settings: Any) -> LocalLM:
    """Return an LM that runs on this machine's CPU; its model is fetched and served first.

    DSPy would look up prices on the network at its first call; a local model has none, so
    ``LITELLM_LOCAL_MODEL_COST_MAP`` is set unless the user has set it.

    Args:
        spec: ``local`` (the default model), ``local:NAME`` or the path of a ``.gguf`` file.
        context: tokens that one prompt and its answer may take together.
        threads: CPU threads; None for one per core.
        settings: further arguments of ``dspy.LM``; temperature 0 and 1,024 new tokens unless given.

    Raises:
        ModelError: the model is unknown, or cannot be fetched or served.
    """
    wanted = DEFAULT_MODEL if spec == "local" else spec.removeprefix("local:")
    path = find(wanted) if is_path(wanted) else fetch(wanted)
    if path is None:
        raise ModelError(f"There is no model file at {wanted}. Check the path.")
    name = f"{path.stem}-{_fingerprint(path)}" if is_path(wanted) else wanted
    server = serve(path, context=context, threads=threads, name=name)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    settings = {"temperature": 0.0, "max_tokens": 1024, **settings}
    return LocalLM(f"openai/{name}", context_tokens=context, api_base=f"{server.url}/v1", api_key="local", **settings)


def resolve_lm(spec: str, *, api_base: str | None = None, api_key: str | None = None, **settings: Any) -> dspy.LM:
    """Return the LM that ``spec`` stands for: what ``local_lm`` takes, or a DSPy model string (``openai/NAME``)."""
    if spec == "local" or spec.startswith("local:") or is_path(spec):
        if api_base is not None:
            raise ModelError(
                f"The local model {spec!r} takes no api_base, got {api_base!r}. To use a server of your own, name "
                "its model as PROVIDER/MODEL, for example openai/NAME."
            )
        return local_lm(spec, **settings)
    if "/" not in spec:
        hint = f"local:{spec}" if spec in CATALOGUE else "PROVIDER/MODEL, local, local:NAME or a .gguf path"
        raise ModelError(f"Cannot tell which model {spec!r} is. Write {hint}.")
    connection = {"api_base": api_base, "api_key": api_key}
    return dspy.LM(spec, **{key: value for key, value in connection.items() if value is not None}, **settings)


def _fingerprint(path: Path) -> str:
    """Return a digest of the file's size and samples of its weights: files of one name may differ."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for start in (0, size // 2, max(0, size - CHUNK)):
            stream.seek(start)
            digest.update(stream.read(CHUNK))
    return digest.hexdigest()[:8]
