"""A daemon thread for small errands, there only while there are any."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

# How long the thread stays without an errand.
_IDLE_SECONDS = 5.0


class Courier:
    """Runs errands one after the other, in the order given, in a thread of its own."""

    def __init__(self, name: str, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._name = name
        self._idle_seconds = idle_seconds
        self._errands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def send(self, errand: Callable[[], object]) -> None:
        """Have `errand` called soon; return at once."""
        with self._lock:
            self._errands.put(errand)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                errand = self._errands.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._lock:
                    # `send` puts under the same lock: what it put is seen here, or it sees no thread.
                    if self._errands.empty():
                        self._thread = None
                        return
                continue
            try:
                errand()
            except BaseException:
                # One errand's fault must not keep the next from running, whatever kind of fault it is.
                logger.exception("an errand failed", extra={"action": "errand"})
