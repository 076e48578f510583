"""Where Kitaru gets the time from, so that tests can own it.

Moments are integer microseconds since the Unix epoch, UTC, in the store and in the engine; they become
`datetime` only at the public surface. Spans that decide whether a lease may be trusted use `monotonic`,
which no clock adjustment moves.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Protocol

MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """The time, and how it passes."""

    def now(self) -> int:
        """Return the present moment in microseconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary point, never going back."""
        ...

    def pass_time(self, seconds: float) -> float:
        """Return for how many real seconds a caller who waits `seconds` must block.

        A fake clock moves itself on by `seconds` and returns 0.
        """
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()

    def pass_time(self, seconds: float) -> float:
        return seconds


SYSTEM_CLOCK = SystemClock()

_present: Clock = SYSTEM_CLOCK


def present_clock() -> Clock:
    """Return the clock that runs which start now live by, and that those who steer them go by."""
    return _present


@contextlib.contextmanager
def use_clock(clock: Clock) -> Generator[None, None, None]:
    """Have runs that start in this block live by another clock; for tests."""
    global _present  # noqa: PLW0603 - runs start in any thread
    former, _present = _present, clock
    try:
        yield
    finally:
        _present = former


def to_datetime(moment: int) -> datetime:
    """Return a stored moment as an aware `datetime` in UTC, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=moment)


def from_datetime(moment: datetime) -> int:
    """Return an aware `datetime` as microseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
