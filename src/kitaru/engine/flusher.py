"""Rows for watching: calls whose bodies take long are shown as running, a little late."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from kitaru.engine.entries import running_record
from kitaru.engine.telling import tell_started
from kitaru.model import JournalEntry

if TYPE_CHECKING:
    from kitaru.engine.calls import ActiveCall
    from kitaru.engine.run import Run
    from kitaru.store.contract import Writer

logger = logging.getLogger(__name__)

# A body that has run for this long is worth a row of its own before it ends.
_LONG_SECONDS = 0.25


class Flusher:
    """Writes a `running` row for each call that has been running for a while.

    Nothing depends on these rows: a crash loses them, a late one never replaces an outcome.
    """

    def __init__(self, writer: Writer, runs: Callable[[], list[Run]]) -> None:
        self._writer = writer
        self._runs = runs
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._shown: set[tuple[str, int, str, int]] = set()

    def wake(self) -> None:
        """Watch from now on, until there is nothing to watch."""
        with self._lock:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(
                    target=self._watch, name="kitaru-flusher", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_LONG_SECONDS):
            runs = self._runs()
            if not runs:
                with self._lock:
                    if not self._runs() and self._thread is threading.current_thread():
                        self._thread = None
                        self._shown.clear()
                        return
            try:
                self.show(runs)
            except Exception:
                # For watching only: the run goes on without it.
                logger.debug("running calls could not be shown", exc_info=True)

    def show(self, runs: list[Run]) -> None:
        """Write the rows that are due now."""
        seen: set[tuple[str, int, str, int]] = set()
        for run in runs:
            due: list[ActiveCall] = []
            now = run.clock.monotonic()
            for position, active in list(run.in_flight.items()):
                key = (run.exec_id, run.epoch, position, active.attempt)
                if now - active.began < _LONG_SECONDS:
                    continue
                seen.add(key)
                if key not in self._shown:
                    due.append(active)
            if due:
                rows = tuple(running_record(active) for active in due)
                self._writer.write(JournalEntry(exec_id=run.exec_id, epoch=run.epoch, calls=rows))
                for active in due:
                    tell_started(active)
        self._shown = seen
