"""Watches the store for answers, due timers and executions that may go on, for all runs of a process.

One thread, however many runs wait; none when none does. It looks when the store tells of a change; where it
does not, quickly while a flow's stack is kept for an answer, less often when only executions that have left
this process may come back to it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from kitaru.clock import MICROSECONDS
from kitaru.engine.pace import Pace
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
# What others have finished is forgotten in turns.
_FORGET_SECONDS = 2.0
_BROKEN_SECONDS = 2.0
# What is due is ended at least so often, however often the store tells of other things.
_WAKE_SECONDS = 1.0
_BATCH = 1000  # executions that are asked for at once
# Of executions that have left, a process remembers as many as cost it some megabytes. Beyond that the
# oldest are left to attendants and workers.
_MOST_AWAY = 50_000

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
        self._live: dict[tuple[str, str], tuple[Run, Closed, int | None]] = {}
        self._away: dict[str, Callable[[str], None]] = {}
        self._thread: threading.Thread | None = None
        self._pace = Pace(store, clock)
        self._stopped = False
        self._is_broken = False
        self._turn = 0
        self._away_due_at = float("-inf")
        self._wake_due_at = float("-inf")
        self._forget_due_at = float("-inf")

    def watch(self, run: Run, position: str, wake_at: int | None = None) -> Closed:
        """Return a future that is done when a run should look at its wait again.

        Args:
            run: Whose wait.
            position: Where it is.
            wake_at: When it ends by itself.
        """
        with self._lock:
            key = (run.exec_id, position)
            former = self._live.get(key)
            # A new one each time: an event loop leaves a callback on each that it waits for.
            closed = Closed()
            self._live[key] = (run, closed, wake_at)
            self._start()
        if former is None or former[0] is not run:
            self._pace.hurry()
        elif former[1].done():
            # It was told just when the run had stopped listening, to look by itself.
            self._pace.hear()
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
            found = [closed for owner, closed, _ in self._live.values() if owner is run]
        for closed in found:
            _settle(closed)

    def bring_back(self, exec_id: str, go_on: Callable[[str], None]) -> None:
        """Call `go_on` with the id once an execution that has left this process may go on."""
        with self._lock:
            self._away.pop(exec_id, None)
            while len(self._away) >= _MOST_AWAY:
                del self._away[next(iter(self._away))]
            self._away[exec_id] = go_on
            # Not woken for it: a process that parks thousands would do nothing but look.
            self._start()

    def expects(self, exec_id: str) -> bool:
        """Whether an execution that has left this process is to come back to it."""
        return exec_id in self._away

    def expects_any(self) -> bool:
        """Whether any execution is to come back to this process."""
        return bool(self._away)

    def poke(self) -> None:
        """Look at once."""
        self._pace.hurry()

    def stop(self) -> None:
        """End the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._stopped = True
        self._pace.hurry()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _start(self) -> None:
        if self._thread is None and not self._stopped:
            # Each thread has its own: a former one may still be on its way out.
            self._pace = Pace(self._store, self._clock)
            self._thread = threading.Thread(
                target=self._watch, args=(self._pace,), name="kitaru-watcher", daemon=True
            )
            self._thread.start()

    def _watch(self, pace: Pace) -> None:
        pace.begin()
        try:
            self._keep_watching(pace)
        finally:
            pace.end()

    def _keep_watching(self, pace: Pace) -> None:
        while True:
            pause = _LIVE_SECONDS if self._live else _AWAY_SECONDS
            only_told = pace.wait(_BROKEN_SECONDS if self._is_broken else pause, self._until_due)
            with self._lock:
                if self._thread is not threading.current_thread():
                    return
                if not self._live and not self._away:
                    self._thread = None
                    return
            try:
                self.look(only_told=only_told)
                self._is_broken = False
            except Exception:
                # The store is out of reach: whoever waits goes on waiting.
                if not self._is_broken:
                    logger.warning("waits cannot be looked at", exc_info=True)
                self._is_broken = True

    def _until_due(self) -> float:
        """Return in how many seconds the next wait of a run here ends by itself; at least a look's pause."""
        with self._lock:
            moments = [moment for _, _, moment in self._live.values() if moment is not None]
        if not moments:
            return float("inf")
        return max(_LIVE_SECONDS, (min(moments) - self._clock.now()) / MICROSECONDS)

    def look(self, *, only_told: bool = False) -> None:
        """Look once: wake what is due, tell runs whose waits are over, continue what may go on.

        Args:
            only_told: It is time for no other reason than that the store has told of a change.
        """
        now = time.monotonic()
        if not only_told or now >= self._wake_due_at:
            self._wake_due_at = now + _WAKE_SECONDS
            self._store.wake_due(now=self._clock.now(), limit=_BATCH)
        with self._lock:
            live = list(self._live.items())
            has_away = bool(self._away)
        parked = {exec_id for (exec_id, _), (run, *_) in live if run.parking.is_parked}
        over = self._find_over(parked, [key for key, _ in live])
        for key in over:
            with self._lock:
                # The run may have come back with another one while the store was asked.
                watched = self._live.get(key)
            if watched is not None:
                _settle(watched[1])
        # However quickly a flow that stands here is looked after, those that have left can wait a moment,
        # unless the store says that something has become of one.
        if has_away and (only_told or now >= self._away_due_at):
            self._away_due_at = now + _AWAY_SECONDS * 0.9
            self._continue()

    def _find_over(self, parked: set[str], live: list[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these waits, by execution and position, their runs should look at."""
        statuses = self._store.get_statuses(sorted(parked)) if parked else {}
        over: set[tuple[str, str]] = set()
        asked: dict[str, list[str]] = {}
        for exec_id, position in live:
            if exec_id not in parked:
                asked.setdefault(exec_id, []).append(position)
            elif statuses.get(exec_id) is not ExecutionStatus.WAITING:
                over.add((exec_id, position))
        for exec_id, positions in asked.items():
            over.update(
                (exec_id, wait.position)
                for wait in self._store.list_waits(exec_id, positions=positions)
                if wait.status is not WaitStatus.OPEN
            )
        return over

    def _continue(self) -> None:
        now = self._clock.now()
        pending = self._store.find_pending_ids(now=now, limit=_BATCH)
        if len(pending) == _BATCH:
            # Others have left so much to be done that ours may stand behind it.
            pending += self._store.find_pending_ids(
                now=now, limit=_BATCH, exec_ids=self._next_away()
            )
        for exec_id in pending:
            with self._lock:
                go_on = self._away.pop(exec_id, None)
            if go_on is None:
                continue
            try:
                go_on(exec_id)
            except Exception:
                # It is tried again: the store, most likely, could not be reached.
                logger.warning("execution %s could not be continued yet", exec_id, exc_info=True)
                with self._lock:
                    self._away.setdefault(exec_id, go_on)
        if time.monotonic() >= self._forget_due_at:
            self._forget_due_at = time.monotonic() + _FORGET_SECONDS
            self._forget_finished()

    def _forget_finished(self) -> None:
        window = self._next_away()
        statuses = self._store.get_statuses(window)
        with self._lock:
            for exec_id in window:
                if exec_id not in statuses or statuses[exec_id].is_finished:
                    self._away.pop(exec_id, None)

    def _next_away(self) -> list[str]:
        """Return some of the executions that have left; all of them have their turn."""
        with self._lock:
            ids = list(self._away)
        if len(ids) <= _BATCH:
            return ids
        start = self._turn % len(ids)
        self._turn = start + _BATCH
        return (ids[start:] + ids[:start])[:_BATCH]


def _settle(closed: Closed) -> None:
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        closed.set_result(None)
