"""Notices when the claim loop has gone deaf: it hangs in the store, or somebody keeps the interpreter."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import Self

logger = logging.getLogger(__name__)

# Whoever counts on a worker gives it up after as long: it has not said that it is there.
_DEAF_SECONDS = 10.0
_LOOK_SECONDS = 1.0


class Watchdog:
    """Says where a loop hangs that has not called `reset` for too long, and that it goes on again.

    It changes nothing: runs in flight go on, their leases have a thread of their own, and what is pending
    is left to others, because a loop that hangs does not announce its worker either.

    Args:
        deaf_seconds: How long is too long.
    """

    def __init__(self, deaf_seconds: float = _DEAF_SECONDS) -> None:
        self._deaf_seconds = deaf_seconds
        self._reset_at = time.monotonic()
        self._watched: int | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked_at = self._reset_at
        self.is_barking = False

    def __enter__(self) -> Self:
        self._watched = threading.get_ident()
        self.reset()
        self._looked_at = self._reset_at
        self._thread = threading.Thread(target=self._watch, name="kitaru-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def reset(self) -> None:
        """Note that the loop is alive."""
        self._reset_at = time.monotonic()

    def look(self) -> None:
        """Look once, and say so if something has changed."""
        now = time.monotonic()
        was_paused = now - self._looked_at > self._deaf_seconds
        self._looked_at = now
        if was_paused:
            # The whole process has slept; the loop gets as long as anyone to come round.
            self._reset_at = max(self._reset_at, now)
        silent = now - self._reset_at
        if silent > self._deaf_seconds and not self.is_barking:
            self.is_barking = True
            logger.error(
                "the worker has not looked for work for %.0f s; it hangs here:\n%s",
                silent,
                self._where(),
                extra={"action": "deaf"},
            )
        elif silent <= self._deaf_seconds and self.is_barking:
            self.is_barking = False
            logger.warning("the worker looks for work again", extra={"action": "deaf"})

    def _watch(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            self.look()

    def _where(self) -> str:
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented, the only way
        frame = frames.get(self._watched or 0)
        return "" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
