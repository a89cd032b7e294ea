"""The local default: a small language model on the CPU, with no key and no account.

The weights are found or fetched and verified (``models``, ``fetch``), served by llama.cpp inside this process on a
loopback port (``server``), and reached by an ordinary ``dspy.LM`` as any OpenAI-compatible server is (``lm``).
"""

from pld_dspy.local.fetch import fetch
from pld_dspy.local.lm import local_lm, resolve_lm
from pld_dspy.local.models import CATALOGUE, DEFAULT_MODEL, LocalModel, Part, cache_dir, find
from pld_dspy.local.server import LocalServer, serve, token_count

__all__ = [
    "CATALOGUE",
    "DEFAULT_MODEL",
    "LocalModel",
    "LocalServer",
    "Part",
    "cache_dir",
    "fetch",
    "find",
    "local_lm",
    "resolve_lm",
    "serve",
    "token_count",
]
