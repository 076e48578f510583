"""Hearing from a server that something has changed.

One thread for each store reads the server's stream of changes while somebody watches, and wakes everybody
who does. A watch is live while the stream stands and the server says that it hears of changes itself. When
that begins or ends, all are woken: something may have happened that nobody has told, or they have to look by
themselves now.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse

from kitaru.forking import forget_in_child
from kitaru.wire.connection import ServerConnection

logger = logging.getLogger(__name__)

_PATH = "/api/v1/changes"

# The server says something every five seconds.
_SILENT_SECONDS = 16.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class _Watch:
    """One party's watch."""

    __slots__ = ("_stream", "wake")

    def __init__(self, stream: ChangeStream, wake: Callable[[], None]) -> None:
        self._stream = stream
        self.wake = wake

    @property
    def is_live(self) -> bool:
        return self._stream.is_live(self)

    def stop(self) -> None:
        self._stream.remove(self)


class ChangeStream:
    """Everybody's watch on one server. Safe to use from any thread.

    Args:
        server: Whose changes.
    """

    def __init__(self, server: ServerConnection) -> None:
        self._server = server
        self.forget()
        forget_in_child(self)

    def forget(self) -> None:
        """Begin without watches, in a forked child: the thread and those who watched are not there."""
        self._lock = threading.Lock()
        self._watches: set[_Watch] = set()
        self._is_live = False
        # The thread that is to go on has this event; another one ends when it notices.
        self._stop: threading.Event | None = None
        self._connection: HTTPConnection | None = None

    def add(self, wake: Callable[[], None]) -> _Watch:
        """Have `wake` called on every change from now on."""
        watch = _Watch(self, wake)
        with self._lock:
            self._watches.add(watch)
            if self._stop is None:
                stop = self._stop = threading.Event()
                threading.Thread(
                    target=self._follow, args=(stop,), name="kitaru-changes", daemon=True
                ).start()
        return watch

    def remove(self, watch: _Watch) -> None:
        """Call it no longer; the last one ends the stream."""
        with self._lock:
            self._watches.discard(watch)
            if not self._watches:
                self._end()

    def close(self) -> None:
        """End the stream. Who still watches is not told any more, and knows it."""
        with self._lock:
            self._watches.clear()
            self._end()

    def is_live(self, watch: _Watch) -> bool:
        """Whether a watch is told of changes just now."""
        return self._is_live and watch in self._watches

    def _end(self) -> None:
        self._is_live = False
        if self._stop is not None:
            self._stop.set()
            self._stop = None
        sock = None if self._connection is None else self._connection.sock
        if sock is not None:
            # It wakes the thread, which closes it: a read would go on for as long as the server is silent.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _follow(self, stop: threading.Event) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            try:
                if self._read(stop):
                    pause = _FIRST_PAUSE_SECONDS
            except (OSError, HTTPException, ValueError) as error:
                logger.debug("the changes of %r are not heard: %s", self._server.url, error)
            self._become(stop, is_live=False)
            stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads clients, guards nothing
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _read(self, stop: threading.Event) -> bool:
        """Read the stream to its end; return whether there was one."""
        connection, response = self._server.open_stream(_PATH, try_seconds=_SILENT_SECONDS)
        with self._lock:
            if stop.is_set():
                connection.close()
                return False
            self._connection = connection
        try:
            if response.status != 200:
                return False
            self._read_events(response, stop)
            return True
        finally:
            with self._lock:
                if self._connection is connection:
                    self._connection = None
            response.close()
            connection.close()

    def _read_events(self, response: HTTPResponse, stop: threading.Event) -> None:
        kind = ""
        while line := response.readline():
            if stop.is_set():
                return
            field, _, value = line.strip().decode().partition(":")
            if field == "event":
                kind = value.strip()
            elif field == "data" and kind == "state":
                self._become(stop, is_live='"live":true' in value)
            elif field == "data" and kind == "change":
                self._wake()

    def _become(self, stop: threading.Event, *, is_live: bool) -> None:
        with self._lock:
            if stop.is_set() or self._is_live == is_live:
                return
            self._is_live = is_live
        self._wake()

    def _wake(self) -> None:
        for watch in list(self._watches):
            watch.wake()
