"""Waiting for other processes that use the same file.

SQLite's own busy handler sleeps up to 100 ms between looks. Among processes that commit one small thing
after the other, whoever sleeps longest loses; here everybody looks again after one or two milliseconds,
at random, for as long as it takes.
"""

from __future__ import annotations

import logging
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.store.sqlite_errors import is_busy, to_kitaru_error
from kitaru.store.sqlite_locks import find_holder

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Commits take fractions of a millisecond. Who holds the lock for longer is doing something else, such
# as a migration, and need not be asked as often.
_EAGER_SECONDS = 2.0
_EAGER = (0.000_3, 0.003)
_CALM = (0.005, 0.02)

# Whoever waits for so long wants to know for whom.
_TELL_SECONDS = 3.0

# No transaction of ours takes longer than moments. Someone has opened one by hand and left it open.
_GIVE_UP_SECONDS = 300.0


class Patience:
    """How long one operation has been waiting for others."""

    __slots__ = ("_clock", "_has_told", "_path", "_since")

    def __init__(self, path: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._clock = clock
        self._since: float | None = None
        self._has_told = False

    def wait(self, error: sqlite3.Error) -> None:
        """Wait a moment because of `error`; raise it as ours if it is no reason to, or for too long.

        Raises:
            KitaruError: The database is not busy but failed, or it has been busy for minutes.
        """
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        waited = now - self._since
        if not is_busy(error) or waited > _GIVE_UP_SECONDS:
            raise to_kitaru_error(error, self._path) from error
        if waited > _TELL_SECONDS and not self._has_told:
            self._has_told = True
            holder = find_holder(self._path)
            logger.warning(
                "the store '%s' has been locked for %.0f s%s",
                self._path,
                waited,
                "" if holder is None else f": {holder}",
            )
        shortest, longest = _EAGER if waited < _EAGER_SECONDS else _CALM
        pause = random.uniform(shortest, longest)  # noqa: S311 - no secret, only jitter
        time.sleep(self._clock.pass_time(pause))


def patiently(path: Path, step: Callable[[], T], clock: Clock = SYSTEM_CLOCK) -> T:
    """Return what `step` returns, calling it again for as long as the database is busy.

    Raises:
        KitaruError: The database is not busy but failed, or it has been busy for minutes.
    """
    patience = Patience(path, clock)
    while True:
        try:
            return step()
        except sqlite3.Error as error:
            patience.wait(error)
