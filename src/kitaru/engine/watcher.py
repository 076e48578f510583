"""Watches the store for answers, due timers and executions that may go on, for all runs of a process.

One thread, however many runs wait; none when none does. It looks quickly while a flow's stack is kept for an
answer, less often when only executions that have left this process may come back to it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from kitaru.model import ExecutionStatus, WaitStatus

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.engine.run import Run
    from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# An answer given elsewhere is noticed within this time by a flow that stands and waits.
_LIVE_SECONDS = 0.05
# And by a process that the execution has left.
_AWAY_SECONDS = 0.25
_BROKEN_SECONDS = 2.0
# Asked for one by one below this number; above it, what is pending is asked for and looked through.
_FEW = 64
_BATCH = 1000

Closed = concurrent.futures.Future[None]


class Watcher:
    """Tells runs that what they wait for is over, and continues executions that have left.

    Args:
        store: Where to look.
        clock: The time, for what is due.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[tuple[str, str], tuple[Run, Closed]] = {}
        self._away: dict[str, Callable[[], None]] = {}
        self._thread: threading.Thread | None = None
        self._look = threading.Event()
        self._stopped = False
        self._is_broken = False

    def watch(self, run: Run, position: str) -> Closed:
        """Return a future that is done when a run should look at its wait again."""
        with self._lock:
            key = (run.exec_id, position)
            known = self._live.get(key)
            if known is not None and known[0] is run and not known[1].done():
                return known[1]
            closed = Closed()
            self._live[key] = (run, closed)
            self._start()
        self._look.set()
        return closed

    def unwatch(self, run: Run, position: str) -> None:
        """Stop watching a wait."""
        with self._lock:
            known = self._live.get((run.exec_id, position))
            if known is not None and known[0] is run:
                del self._live[run.exec_id, position]

    def wake(self, run: Run) -> None:
        """Have a run look at its waits now, because it must stop."""
        with self._lock:
            found = [closed for owner, closed in self._live.values() if owner is run]
        for closed in found:
            _settle(closed)

    def bring_back(self, exec_id: str, go_on: Callable[[], None]) -> None:
        """Call `go_on` once an execution that has left this process may go on."""
        with self._lock:
            self._away[exec_id] = go_on
            self._start()
        self._look.set()

    def expects(self, exec_id: str) -> bool:
        """Whether an execution that has left this process is to come back to it."""
        return exec_id in self._away

    def poke(self) -> None:
        """Look at once."""
        self._look.set()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped = True
        self._look.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._watch, name="kitaru-watcher", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while True:
            pause = _LIVE_SECONDS if self._live else _AWAY_SECONDS
            self._look.wait(_BROKEN_SECONDS if self._is_broken else pause)
            self._look.clear()
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                if not self._live and not self._away:
                    self._thread = None
                    return
            try:
                self.look()
                self._is_broken = False
            except Exception:
                # The store is out of reach: whoever waits goes on waiting.
                if not self._is_broken:
                    logger.warning("waits cannot be looked at", exc_info=True)
                self._is_broken = True

    def look(self) -> None:
        """Look once: wake what is due, tell runs whose waits are over, continue what may go on."""
        self._store.wake_due(now=self._clock.now(), limit=_BATCH)
        with self._lock:
            live = list(self._live.items())
            away = dict(self._away)
        parked = {run.exec_id for (run, _) in (entry for _, entry in live) if run.parking.is_parked}
        statuses = self._store.get_statuses(sorted(parked)) if parked else {}
        for (exec_id, position), (run, closed) in live:
            if run.parking.is_parked:
                if statuses.get(exec_id) is not ExecutionStatus.WAITING:
                    _settle(closed)
            elif self._is_over(exec_id, position):
                _settle(closed)
        if away:
            self._continue(away)

    def _is_over(self, exec_id: str, position: str) -> bool:
        found = self._store.list_waits(exec_id, positions=[position])
        return bool(found) and found[0].status is not WaitStatus.OPEN

    def _continue(self, away: dict[str, Callable[[], None]]) -> None:
        asked = sorted(away) if len(away) <= _FEW else None
        pending = self._store.find_pending_ids(now=self._clock.now(), limit=_BATCH, exec_ids=asked)
        for exec_id in pending:
            go_on = away.get(exec_id)
            if go_on is None:
                continue
            with self._lock:
                self._away.pop(exec_id, None)
            try:
                go_on()
            except Exception:
                logger.exception("execution %s could not be continued here", exec_id)
        if asked is not None:
            statuses = self._store.get_statuses(asked)
            gone = [
                exec_id
                for exec_id in asked
                if exec_id not in statuses or statuses[exec_id].is_finished
            ]
            with self._lock:
                for exec_id in gone:
                    self._away.pop(exec_id, None)


def _settle(closed: Closed) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        closed.set_result(None)
