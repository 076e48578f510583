"""What time it is for everybody who uses the server's store."""

from __future__ import annotations

import time

from kitaru.clock import MICROSECONDS, Clock


class Timekeeper:
    """The store's clock, and a copy of it that can be read without waiting for the store."""

    def __init__(self) -> None:
        self._clock: Clock | None = None
        self._anchor: tuple[float, int] | None = None

    def follow(self, clock: Clock) -> None:
        """Tell the time by this clock from now on."""
        self._clock = clock

    def ask(self) -> int:
        """Return the present moment of the store; this may wait for it.

        Raises:
            KitaruBackendError: The store cannot be reached, and has not been before.
        """
        assert self._clock is not None  # noqa: S101 - it is followed before the first request
        moment = self._clock.now()
        self._anchor = (time.monotonic(), moment)
        return moment

    def glance(self) -> int | None:
        """Return the present moment as the last answer has it; None before there was one."""
        if self._anchor is None:
            return None
        asked_at, moment = self._anchor
        return moment + round((time.monotonic() - asked_at) * MICROSECONDS)
