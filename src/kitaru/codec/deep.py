"""Room for deeply nested values."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


# Reading takes more frames a level than writing, how many more depends on the version of Python; what
# could be written must be readable by all of them.
_READING_FACTOR = 4
_limit_lock = threading.Lock()


def with_whole_stack(work: Callable[[], T], *, reads: bool = False) -> T:
    """Return what `work` returns, run again on an empty stack if the present one is too short.

    How deep a value may be nested must depend on the value alone: one that was kept from the bottom
    of the stack is read back by a worker at the top of its own, or the other way round.

    Args:
        work: What needs the stack.
        reads: Whether it reads what was written within the ordinary limit, and must not fail for
            want of frames.
    """
    try:
        return work()
    except RecursionError:
        pass
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(_beyond_the_limit(work) if reads else work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _beyond_the_limit(work: Callable[[], T]) -> T:
    # The limit is the process's; that it is higher for a moment does no other thread any harm.
    with _limit_lock:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(limit * _READING_FACTOR)
        try:
            return work()
        finally:
            sys.setrecursionlimit(limit)
