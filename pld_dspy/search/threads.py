"""Threads of linear algebra: at the sizes of a search, more than one gain nothing, and cost tenfold on busy cores."""

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
    """Look for the process's BLAS libraries only once: that takes longer than the work under the limit."""
    return ThreadpoolController()
