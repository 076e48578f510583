"""Where Kitaru gets the time from, so that tests can own it.

Moments are integer microseconds since the Unix epoch, UTC, in the store and in the engine; they become
`datetime` only at the public surface. Spans that decide whether a lease may be trusted use `monotonic`,
which no clock adjustment moves.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
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


class SharedClock:
    """The clock of a store that several machines use, as this process knows it.

    It is asked for once and then goes on by `monotonic`, so that nobody's setting of this machine's clock
    moves it. It is asked again now and then, and when the machine's clock has jumped against
    `monotonic`: it was set, or the machine has slept. While the store does not answer, the time goes on.

    Args:
        ask: Returns the store's present moment.
    """

    # Clocks drift by some ten microseconds in a second; leases are told apart by seconds.
    _ASK_AGAIN_SECONDS = 60.0
    _JUMP_SECONDS = 1.0
    # Of an answer that took longer it is not known well enough what moment it speaks of.
    _SLOW_SECONDS = 0.5

    def __init__(self, ask: Callable[[], int]) -> None:
        self._ask = ask
        # Monotonic second, machine's moment and store's moment, all of the same instant.
        self._anchor: tuple[float, int, int] | None = None
        self._asked_at = float("-inf")

    def now(self) -> int:
        anchor, monotonic, machine = self._anchor, time.monotonic(), SYSTEM_CLOCK.now()
        if anchor is None or self._is_stale(anchor, monotonic, machine):
            anchor = self._measure(anchor)
            monotonic = time.monotonic()
        return anchor[2] + round((monotonic - anchor[0]) * MICROSECONDS)

    def monotonic(self) -> float:
        return time.monotonic()

    def pass_time(self, seconds: float) -> float:
        return seconds

    def _is_stale(self, anchor: tuple[float, int, int], monotonic: float, machine: int) -> bool:
        drift = (machine - anchor[1]) / MICROSECONDS - (monotonic - anchor[0])
        due = self._ASK_AGAIN_SECONDS if abs(drift) < self._JUMP_SECONDS else self._JUMP_SECONDS
        return monotonic - self._asked_at >= due

    def _measure(self, before: tuple[float, int, int] | None) -> tuple[float, int, int]:
        # While one thread asks, the others go on by what is known: a store that does not answer must not
        # keep a lease from being renewed. Before the first answer each asks for itself.
        began = self._asked_at = time.monotonic()
        try:
            moment = self._ask()
            if time.monotonic() - began > self._SLOW_SECONDS:
                if before is not None:
                    return before
                # It was waited for. The next answer is quick, and half of a moment is no error to speak of.
                began = self._asked_at = time.monotonic()
                moment = self._ask()
        except Exception:
            if before is None:
                raise
            return before
        ended = time.monotonic()
        # The answer is of some instant in between; half of the way is the best guess.
        self._anchor = (began + (ended - began) / 2, SYSTEM_CLOCK.now(), moment)
        return self._anchor


_present: Clock = SYSTEM_CLOCK


def present_clock(shared: Clock = SYSTEM_CLOCK) -> Clock:
    """Return the clock that runs which start now live by, and that those who steer them go by.

    Args:
        shared: The store's, which counts unless a test owns the time.
    """
    return shared if _present is SYSTEM_CLOCK else _present


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
