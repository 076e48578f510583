"""A few connections to one database, for any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Pooled(Protocol):
    """A connection as the pool sees it."""

    generation: int

    def close(self) -> None:
        """Let go of it."""
        ...


S = TypeVar("S", bound=Pooled)


class Sessions(Generic[S]):
    """A few connections for any number of threads, the one used last first.

    Args:
        connect: Opens one.
        most: How many there may be at once; more threads than that wait for each other.
    """

    def __init__(self, connect: Callable[[], S], *, most: int) -> None:
        self._connect = connect
        self._most = most
        self._changed = threading.Condition(threading.Lock())
        self._idle: list[S] = []
        self._borrowed = 0
        # Raised when all that were opened before are to be closed, also those in use at the time.
        self._generation = 0
        self._is_paused = False

    def borrow(self) -> S:
        """Return a connection that nobody else uses until it is given back."""
        with self._changed:
            while self._is_paused or self._borrowed == self._most:
                self._changed.wait()
            self._borrowed += 1
            generation = self._generation
            session = self._idle.pop() if self._idle else None
        if session is not None:
            return session
        try:
            session = self._connect()
        except BaseException:
            self._returned(None)
            raise
        session.generation = generation
        return session

    def give_back(self, session: S, *, is_sound: bool) -> None:
        """Let others use a connection, or close it if it is not sound."""
        if is_sound and session.generation == self._generation:
            self._returned(session)
        else:
            session.close()
            self._returned(None)

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        with self._changed:
            self._generation += 1
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def pause(self) -> None:
        """Wait until nobody reads, let nobody begin to, and close all connections."""
        with self._changed:
            self._is_paused = True
            while self._borrowed:
                self._changed.wait()
        self.close()

    def resume(self) -> None:
        """Let reading go on after `pause`."""
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def _returned(self, session: S | None) -> None:
        with self._changed:
            self._borrowed -= 1
            if session is not None:
                self._idle.append(session)
            if self._is_paused:
                self._changed.notify_all()
            else:
                self._changed.notify()
