"""What runs tell while they run: from user code through a queue to the store, for whoever watches.

Nothing depends on it. Telling never waits: events go through a bounded queue to a thread that hands them
to the store in batches, so that a slow, full or broken store costs events and never a run. What a queue
cannot hold is dropped from its old end, and a `gap` event says how many.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.forking import forget_in_child
from kitaru.model import EventKind, EventRecord

logger = logging.getLogger(__name__)

Told = tuple[str, EventRecord]  # an execution's id, and what it tells

INTERVAL_SECONDS = 0.1  # how long an event waits for others
# Of some there is one for every call; how long those do on a store that many share.
ROUTINE_SECONDS = 0.5
_ROUTINE = frozenset({EventKind.CHECKPOINT_RETURNED})
KEPT = 10_000  # events per execution; enough to watch a long run, little beside its journal
_PRUNE_EVERY = 1_000  # events of one execution, after which the old ones are forgotten
_MOST_COUNTED = 1_000  # executions whose events are counted until then
_BATCH = 1_000  # events per transaction: short enough not to keep a run's commits waiting
_CAPACITY = 10_000  # events that wait for a slow store
_CHARACTERS = 16 * 1024 * 1024  # and how long they may be together


class Sink(Protocol):
    """Where events are kept."""

    def append_events(self, events: Sequence[Told]) -> None:
        """Add events."""
        ...

    def prune_events(self, exec_id: str, *, keep: int) -> None:
        """Forget all but the newest events of an execution."""
        ...


class Feed:
    """Takes what the runs of this process on one store tell.

    Args:
        sink: Where events are kept; called from one thread.
        clock: Where notices of dropped events get their time from.
        interval: How many seconds events may wait for others.
        routine_interval: How many those may that come with every call; None for as many.
        capacity: How many events wait for a slow sink before the oldest are dropped.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Clock = SYSTEM_CLOCK,
        interval: float = INTERVAL_SECONDS,
        routine_interval: float | None = None,
        capacity: int = _CAPACITY,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._interval = interval
        self._routine_interval = interval if routine_interval is None else routine_interval
        self._capacity = capacity
        self._complained = False
        self._begin()
        _all.add(self)
        forget_in_child(self)

    def _begin(self) -> None:
        # Reentrant: a signal handler may tell something while it is held.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[Told] = deque()
        self._characters = 0
        self._dropped: dict[str, int] = {}
        self._added = 0  # events ever told; `_done` of them are stored or given up
        self._done = 0
        self._hurry = False
        self._stopped = False
        self._asleep = False
        self._urgent = False  # whether the queue has more than routine
        self._thread: threading.Thread | None = None
        self._storing: frozenset[str] = frozenset()
        self._since_pruning: dict[str, int] = {}
        self._indexes: dict[tuple[str, str], int] = {}

    def tell(self, exec_id: str, event: EventRecord) -> None:
        """Take an event; never waits, never raises."""
        with self._changed:
            self._queue.append((exec_id, event))
            self._added += 1
            self._characters += len(event.payload)
            was_urgent, self._urgent = self._urgent, self._urgent or event.kind not in _ROUTINE
            while len(self._queue) > self._capacity or self._characters > _CHARACTERS:
                self._drop(self._take())
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif self._asleep or self._urgent is not was_urgent:
                # Only then: a thread that gathers a batch would be woken for nothing.
                self._changed.notify_all()

    def _start(self) -> None:
        self._stopped = False
        self._thread = threading.Thread(
            target=self._store_events, name="kitaru-events", daemon=True
        )
        # An interpreter that is shutting down starts none; then the outcome takes the events along.
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def next_index(self, exec_id: str, sender: str, wanted: int | None) -> int | None:
        """Return the next number for what one attempt of a call tells; None if `wanted` is taken.

        Args:
            exec_id: The execution.
            sender: What tells the attempt apart from others.
            wanted: A number that user code has chosen.
        """
        with self._changed:
            free = self._indexes.get((exec_id, sender), 0)
            index = free if wanted is None else wanted
            if index < free:
                return None
            self._indexes[exec_id, sender] = index + 1
            return index

    def is_idle(self) -> bool:
        """Whether everything told so far is stored or given up."""
        return self._done >= self._added and not self._dropped

    def flush(self, timeout: float) -> bool:
        """Wait until all events so far are stored or given up; return whether they are."""
        with self._changed:
            if self.is_idle():
                return True
            wanted = self._added
            self._hurry = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= wanted and not self._hurry, timeout)

    def take(self, exec_id: str) -> tuple[EventRecord, ...] | None:
        """Return an execution's events that nobody has stored yet; the caller stores them.

        None if others are on their way into the store at this moment, which come first.
        """
        with self._changed:
            if exec_id in self._storing:
                return None
            dropped = self._dropped.pop(exec_id, 0)
            gaps = _gaps({exec_id: dropped}, self._clock.now()) if dropped else []
            taken = [told for told in self._queue if told[0] == exec_id]
            if taken:
                self._queue = deque(told for told in self._queue if told[0] != exec_id)
                self._characters -= sum(len(event.payload) for _, event in taken)
                self._done += len(taken)
            return tuple(event for _, event in (*gaps, *taken))

    def wait_stored(self, exec_id: str, timeout: float) -> None:
        """Wait until what was on its way is stored or given up."""
        with self._changed:
            self._changed.wait_for(lambda: exec_id not in self._storing, timeout)

    def forget_run(self, exec_id: str) -> None:
        """Let go of what is remembered of an execution that has left this process."""
        with self._changed:
            self._since_pruning.pop(exec_id, None)
            for key in [key for key in self._indexes if key[0] == exec_id]:
                del self._indexes[key]

    def stop(self) -> None:
        """Store what is queued and end the thread; the next event starts another."""
        self.flush(5.0)
        with self._changed:
            thread, self._thread = self._thread, None
            self._stopped = True
            self._changed.notify_all()
        if thread is not None:
            thread.join(5.0)

    def forget(self) -> None:
        """Begin anew without thread, lock and events, in a forked child: the runs are its parent's."""
        self._begin()

    def _take(self) -> Told:
        told = self._queue.popleft()
        self._characters -= len(told[1].payload)
        return told

    def _drop(self, told: Told) -> None:
        self._dropped[told[0]] = self._dropped.get(told[0], 0) + 1
        self._done += 1

    def _store_events(self) -> None:
        while True:
            with self._changed:
                self._asleep = not self._queue
                self._changed.wait_for(lambda: self._queue or self._stopped or self._hurry)
                self._asleep = False
                if self._stopped:
                    return
                self._gather()
                events = [self._take() for _ in range(min(len(self._queue), _BATCH))]
                self._urgent = self._urgent and bool(self._queue)
                dropped, self._dropped = self._dropped, {}
                self._storing = frozenset(exec_id for exec_id, _ in events)
            # The oldest were dropped: what is missing stood before what is here.
            if events or dropped:
                self._store([*_gaps(dropped, self._clock.now()), *events], events, dropped)
            with self._changed:
                self._storing = frozenset()
                self._hurry = self._hurry and bool(self._queue)
                self._changed.notify_all()

    def _gather(self) -> None:
        """Wait for company of what is queued, as long as that may."""
        began = time.monotonic()
        while not (self._hurry or self._stopped or len(self._queue) >= _BATCH):
            patience = self._interval if self._urgent else self._routine_interval
            left = began + patience - time.monotonic()
            if left <= 0:
                break
            self._changed.wait(left)

    def _store(self, batch: list[Told], events: list[Told], dropped: dict[str, int]) -> None:
        try:
            self._sink.append_events(batch)
        except Exception as error:  # noqa: BLE001 - a store may fail in any way, a run must not
            self._complain(error)
            with self._changed:
                for told in events:
                    self._drop(told)
                for exec_id, count in dropped.items():
                    self._dropped[exec_id] = self._dropped.get(exec_id, 0) + count
            return
        try:
            self._prune(batch)
        except Exception as error:  # noqa: BLE001 - see above; the next batch tries again
            self._complain(error)
        with self._changed:
            self._done += len(events)

    def _prune(self, batch: list[Told]) -> None:
        for exec_id, _ in batch:
            self._since_pruning[exec_id] = self._since_pruning.get(exec_id, 0) + 1
        if len(self._since_pruning) > _MOST_COUNTED:
            # Those that have left are among them. Counting anew lets some events live longer, no more.
            self._since_pruning = {exec_id: 0 for exec_id, _ in batch}
        for exec_id in {exec_id for exec_id, _ in batch}:
            if self._since_pruning[exec_id] >= _PRUNE_EVERY:
                self._sink.prune_events(exec_id, keep=KEPT)
                self._since_pruning[exec_id] = 0

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("events of runs cannot be stored, the runs go on: %s", error)


def _gaps(dropped: dict[str, int], moment: int) -> list[Told]:
    return [
        (
            exec_id,
            EventRecord(
                kind=EventKind.GAP,
                position="",
                payload=msgspec.json.encode({"data": {"dropped": count}}).decode(),
                created_at=moment,
            ),
        )
        for exec_id, count in dropped.items()
    ]


_all: weakref.WeakSet[Feed] = weakref.WeakSet()


def flush(timeout: float) -> bool:
    """Wait until what this process's runs have told is stored; return whether it is."""
    stored = [feed.flush(timeout) for feed in list(_all)]
    return all(stored)


atexit.register(flush, 2.0)
