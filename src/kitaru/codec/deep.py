"""Room for deeply nested values."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def with_whole_stack(work: Callable[[], T]) -> T:
    """Return what `work` returns, run again on an empty stack if the present one is too short.

    How deep a value may be nested must depend on the value alone: one that was kept from the bottom
    of the stack is read back by a worker at the top of its own, or the other way round.
    """
    try:
        return work()
    except RecursionError:
        pass
    outcome: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]
