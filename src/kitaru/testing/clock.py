"""A clock that moves only when a test moves it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from kitaru.clock import from_datetime


class FakeClock:
    """A `Clock` whose time passes when someone advances it or waits on it.

    Whoever would wait does not: the clock moves on by as much instead. In `run_flow` it also moves by
    itself, to the next moment at which something is due, once everything that is left waits.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._now = from_datetime(start)

    def now(self) -> int:
        """Return the present moment in microseconds since the epoch."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the same moment in seconds."""
        return self.now() / 1_000_000

    def pass_time(self, seconds: float) -> float:
        """Move on by `seconds`; nobody has to wait for them."""
        self.advance(seconds)
        return 0.0

    def advance(self, by: float | timedelta) -> None:
        """Move the time on."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        with self._lock:
            self._now += round(seconds * 1_000_000)

    def advance_to(self, moment: int) -> None:
        """Move the time on to a moment in microseconds since the epoch, unless it has passed."""
        with self._lock:
            self._now = max(self._now, moment)
