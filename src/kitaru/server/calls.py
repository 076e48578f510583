"""Blocking work beside the event loop.

A store's methods block, for a disk or a database. They run in threads of the application's own, so many at a
time and no more: what comes beyond that waits its turn, and the event loop goes on serving whoever else asks.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_MOST_THREADS = 16


class Calls:
    """A bounded pool of threads.

    Args:
        most: How many calls run at the same time.
    """

    def __init__(self, most: int = _MOST_THREADS) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="kitaru-server")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns, called in a thread of the pool."""
        context = contextvars.copy_context()
        call = partial(context.run, work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Wait for what runs, and let nothing more begin."""
        self._pool.shutdown()
