"""Strike at a named fault point: kill the process, or raise."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from kitaru import faults
from kitaru.errors import KitaruUsageError


def kill_at(point: str, *, occurrence: int = 1) -> None:
    """Kill this process with SIGKILL when it reaches `point` for the `occurrence`-th time.

    Where there is no SIGKILL (Windows) the process ends without any clean-up all the same.

    Raises:
        KitaruUsageError: There is no such fault point.
    """

    def kill() -> None:
        if hasattr(signal, "SIGKILL"):
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()  # the signal may be delivered to another thread first
        os._exit(137)

    _strike(point, occurrence, kill)


def fail_at(point: str, error: BaseException, *, occurrence: int = 1) -> None:
    """Raise `error` when this process reaches `point` for the `occurrence`-th time.

    Raises:
        KitaruUsageError: There is no such fault point.
    """

    def fail() -> None:
        raise error

    _strike(point, occurrence, fail)


def disarm() -> None:
    """Strike nowhere any more."""
    faults.arm(None)


def _strike(point: str, occurrence: int, strike: Callable[[], None]) -> None:
    if point not in faults.FAULT_POINTS:
        message = f"unknown fault point {point!r}. There are: {', '.join(faults.FAULT_POINTS)}."
        raise KitaruUsageError(message)
    lock = threading.Lock()
    reached = 0

    def visit(name: str) -> None:
        nonlocal reached
        if name != point:
            return
        with lock:
            reached += 1
            due = reached == occurrence
        if due:
            strike()

    faults.arm(visit)
