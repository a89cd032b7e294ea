"""Threads of linear algebra: at the sizes of a search they gain nothing, and cost tenfold where cores are busy."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Keep BLAS to one thread."""
    limits: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limits


@cache
def _controller() -> ThreadpoolController:
    """Look for the process's BLAS libraries once: that takes longer than what runs under the limit."""
    return ThreadpoolController()
