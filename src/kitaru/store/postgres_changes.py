"""Hearing from Postgres that something has become pending or a wait is over.

One connection that listens, in a thread of its own, while anybody in this process wants to know. It is for
speed only: whoever wants to be sure looks now and then, and more often while nobody listens, as is always
so behind a pooler that lends connections for a transaction.
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import threading
from collections.abc import Callable

import psycopg

from kitaru.store.postgres_session import PostgresSession

logger = logging.getLogger(__name__)

_CHANNEL = "kitaru_change"
# How soon the thread notices that nobody wants to know any more.
_LOOK_SECONDS = 1.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0


class PostgresWatch:
    """One party's being told; see `contract/sharing.py`."""

    def __init__(self, ear: PostgresEar, wake: Callable[[], None]) -> None:
        self._ear = ear
        self.wake = wake

    @property
    def is_live(self) -> bool:
        return self._ear.is_live

    def stop(self) -> None:
        """Be told no longer."""
        self._ear.remove(self)


class PostgresEar:
    """Listens for everybody in this process.

    Args:
        connect: Opens a connection.
    """

    def __init__(self, connect: Callable[[], PostgresSession]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._watches: set[PostgresWatch] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        # Closed to have the thread look up from the connection that it listens on.
        self._nudge: socket.socket | None = None
        self.is_live = False

    def add(self, wake: Callable[[], None]) -> PostgresWatch:
        """Have `wake` called from now on."""
        watch = PostgresWatch(self, wake)
        with self._lock:
            self._watches.add(watch)
        self.restart()
        return watch

    def remove(self, watch: PostgresWatch) -> None:
        """Tell one party no longer."""
        with self._lock:
            self._watches.discard(watch)

    def restart(self) -> None:
        """Listen again after `stop`, if anybody wants to know."""
        with self._lock:
            is_running = self._thread is not None and self._thread.is_alive()
            if self._watches and not is_running:
                self._stop = threading.Event()
                self._nudge, nudged = socket.socketpair()
                self._thread = threading.Thread(
                    target=self._listen,
                    args=(self._stop, nudged),
                    name="kitaru-changes",
                    daemon=True,
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection; whoever watches is told nothing until `restart` or `add`."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
            if self._nudge is not None:
                self._nudge.close()
                self._nudge = None
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _listen(self, stop: threading.Event, nudged: socket.socket) -> None:
        with nudged:
            self._keep_listening(stop, nudged)

    def _keep_listening(self, stop: threading.Event, nudged: socket.socket) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not stop.is_set():
            try:
                session = self._connect()
            except psycopg.Error:
                # Whoever reads or writes says that the database is away.
                logger.debug("changes cannot be listened for", exc_info=True)
                stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret, only jitter
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            pause = _FIRST_PAUSE_SECONDS
            try:
                if session.is_pooled:
                    self._wait_for_nothing(stop)
                    return
                self._hear(session, stop, nudged)
            except Exception:
                logger.debug("changes are not heard any more", exc_info=True)
            finally:
                self.is_live = False
                session.close()
                self._wake()  # whoever relied on being told has to look
            if self._ends():
                return

    def _hear(self, session: PostgresSession, stop: threading.Event, nudged: socket.socket) -> None:
        descriptor = session.connection.fileno()
        # Not `select.select`, which knows no descriptor above 1,023: a server has more connections than that.
        with selectors.DefaultSelector() as listening:
            listening.register(descriptor, selectors.EVENT_READ)
            listening.register(nudged, selectors.EVENT_READ)
            self._hear_while_anybody_asks(session, stop, listening)

    def _hear_while_anybody_asks(
        self, session: PostgresSession, stop: threading.Event, listening: selectors.BaseSelector
    ) -> None:
        connection = session.connection
        descriptor = connection.fileno()
        session.execute(f"LISTEN {_CHANNEL}")
        self.is_live = True
        self._wake()  # what came before was not heard
        while not stop.is_set() and self._watches:
            ready = {key.fileobj for key, _ in listening.select(_LOOK_SECONDS)}
            if descriptor in ready and list(connection.notifies(timeout=0)):
                self._wake()

    def _wait_for_nothing(self, stop: threading.Event) -> None:
        while self._watches and not stop.wait(_LOOK_SECONDS):
            pass
        self._ends()

    def _ends(self) -> bool:
        # Under the lock: whoever calls `add` meanwhile finds a thread that goes on, or none.
        with self._lock:
            if self._watches or self._thread is not threading.current_thread():
                return self._thread is not threading.current_thread()
            self._thread = None
            if self._nudge is not None:
                self._nudge.close()
                self._nudge = None
            return True

    def _wake(self) -> None:
        for watch in list(self._watches):
            watch.wake()
