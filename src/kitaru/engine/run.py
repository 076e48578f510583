"""One claimed execution while its flow runs in this process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kitaru.engine.journal import Journal, OnDivergence
from kitaru.engine.scope import Scope
from kitaru.errors import (
    CancelRequested,
    KitaruBackendError,
    KitaruTimeoutError,
    LeaseLost,
    RunnerSignal,
    Suspend,
)
from kitaru.model import (
    AttemptRecord,
    CallRecord,
    Committed,
    EventRecord,
    ExecutionRecord,
    JournalEntry,
    MetadataRecord,
    Outcome,
    record,
)

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.engine.calls import ActiveCall
    from kitaru.engine.lease import LeaseKeeper
    from kitaru.engine.pool import Pool
    from kitaru.engine.values import Values
    from kitaru.logs import LogCapture
    from kitaru.model import ArtifactRecord
    from kitaru.store.contract import Store, Writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What runs of one process on one store share.

    Attributes:
        store: For reading, and for writes that are not part of a run.
        writer: The way of every run's writes, so that concurrent ones share a transaction.
        capture: Keeps what the runs print and log.
        threads: Where event loops send what would block them.
    """

    store: Store
    writer: Writer
    values: Values
    leases: LeaseKeeper
    clock: Clock
    capture: LogCapture
    threads: Pool


@record
class Commit:
    """What a run wants to write at once; the run adds what it has buffered."""

    calls: tuple[CallRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    artifacts: tuple[ArtifactRecord, ...] = ()
    metadata: tuple[MetadataRecord, ...] = ()
    outcome: Outcome | None = None


class Run:
    """A runner's hold on one execution, and everything it must remember while it runs.

    Attributes:
        signal: What the flow's next Kitaru call raises, once it is set.
        ending: The flow is over and its outcome is being committed; nothing can stop it any more.
        divergence: The error that the flow may have caught but cannot go on from.
        is_homeless: The event loop has ended under the flow.
        flow_thread: The thread that a sync flow runs in.
        futures_exist: Whether arguments may contain futures.
        outstanding: Submitted calls that are not done.
        recorded_attempts: The failed attempts of calls without an outcome, by position.
        store_error: The commit that failed; nothing after it may be recorded as if it had not.
        cache_default: Whether checkpoints that do not say reuse results, and up to which age.
        in_flight: Calls whose bodies are running, by position; for watching.
    """

    def __init__(self, execution: ExecutionRecord, services: Services) -> None:
        self.execution = execution
        self.exec_id = execution.id
        self.epoch = execution.epoch
        self.services = services
        self.clock = services.clock
        self.journal = Journal()
        self.root = Scope(self)
        self.signal: RunnerSignal | None = None
        self.signal_raised = False
        self.ending = False
        self.divergence: Exception | None = None
        self.store_error: KitaruBackendError | None = None
        self.in_flight: dict[str, ActiveCall] = {}
        self.futures_exist = False
        self.outstanding: set[concurrent.futures.Future[Any]] = set()
        self.recorded_attempts: dict[str, list[AttemptRecord]] = {}
        self.is_homeless = False
        self.flow_thread: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._lock = threading.RLock()  # an interrupt may strike while it is held
        self._values: list[CallRecord] = []
        self._metadata: dict[str, MetadataRecord] = {}
        self._all_metadata: dict[str, MetadataRecord] = {}
        self._events: list[EventRecord] = []
        self._has_buffered = False
        self._failures: list[tuple[BaseException, str]] = []
        self._woken = threading.Event()
        self._pool: Pool | None = None
        self._submissions: asyncio.Semaphore | None = None
        workers = execution.spec.get("max_workers")
        self._max_workers = workers if isinstance(workers, int) else 32
        cache = execution.spec.get("cache")
        # In the spec, an age is a number of seconds.
        self.cache_default: bool | timedelta = (
            timedelta(seconds=cache)
            if isinstance(cache, int | float) and not isinstance(cache, bool)
            else bool(cache)
        )
        timeout = execution.spec.get("timeout")
        self._timeout = float(timeout) if isinstance(timeout, int | float) else None
        # Of this claim: neither an outage nor the runs before a retry use up the flow's timeout.
        self._began = self.clock.monotonic()

    # What may stop a run

    def check(self) -> None:
        """Raise what the flow must stop for, if anything.

        Raises:
            LeaseLost: Another runner may have the execution by now.
            CancelRequested: Someone asked for it to be cancelled.
            Suspend: This process is giving it back.
            KitaruBackendError: A commit has failed before; nothing more can be recorded.
            KitaruTimeoutError: The flow's own timeout has passed.
        """
        if self.signal is not None:
            self.signal_raised = True
            raise self.signal
        if not self.services.leases.trusts(self.exec_id):
            try:
                self.services.leases.renew_now(self.exec_id)
            except KitaruBackendError as error:
                # Not the flow's failure: whoever can reach the store goes on with it.
                self.store_error = error
                raise
            if self.signal is not None:
                self.signal_raised = True
                raise self.signal
        if self.store_error is not None:
            raise self.store_error
        if self._timeout is not None and self.clock.monotonic() - self._began > self._timeout:
            raise self.timed_out()

    def timed_out(self) -> KitaruTimeoutError:
        """Return the error for a flow that has taken longer than its timeout."""
        elapsed = self.clock.monotonic() - self._began
        return KitaruTimeoutError(self.exec_id, self._timeout or 0.0, elapsed)

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds until the flow's timeout, or None if it has none."""
        if self._timeout is None:
            return None
        return max(0.0, self._timeout - (self.clock.monotonic() - self._began))

    def stop(self, signal: RunnerSignal) -> None:
        """Make the flow stop at its next Kitaru call; an async flow is cancelled where it stands."""
        if self.ending or (self.signal is not None and not isinstance(signal, LeaseLost)):
            return
        self.signal = signal
        self._woken.set()
        with self._lock:
            tasks = list(self._tasks)
        for task in tasks:
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                # The loop has just closed: the task is over.
                logger.debug("loop closed before stop", extra={"exec_id": self.exec_id})

    def adopt(self, task: asyncio.Task[object]) -> None:
        """Cancel this task when the run must stop."""
        with self._lock:
            self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.signal is not None:
            task.cancel()

    def request_cancel(self) -> None:
        """Act on a cancel request that was found in the store."""
        self.stop(CancelRequested(f"execution {self.exec_id!r} is being cancelled"))

    def release(self) -> None:
        """Give the execution back at the next boundary, for someone to go on with."""
        self.stop(Suspend("released"))

    def lose(self) -> LeaseLost:
        """Note that the lease is gone, and return what to raise."""
        lost = LeaseLost(self.exec_id)
        self.stop(lost)
        return lost

    def sleep(self, seconds: float) -> None:
        """Block until the time has passed or the run must stop."""
        self._woken.wait(self.clock.pass_time(seconds))
        self.check()

    def is_on_loop(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the flow's own coroutine runs on this loop."""
        return self.loop is loop

    # What it writes

    def commit(self, commit: Commit) -> None:
        """Make a commit durable, together with everything buffered before it.

        Durability: one transaction under this run's epoch. What was buffered stays buffered until it
        is written, so that no later commit can become durable without it.

        Raises:
            LeaseLost: Nothing was written; the execution is not this run's any more.
        """
        if not self._has_buffered:
            self.committed(self._write(self._entry(commit)))
            return
        # Thread A has taken the buffer and is about to be committed; thread B, whose call depends on
        # a buffered value, must not overtake it. So B waits here until A's commit is durable.
        with self._lock:
            taken = self._buffered()
            result = self._write(self._entry(commit, taken))
            self._drop(taken)
        self.committed(result)

    def commit_buffered(self) -> None:
        """Make what is buffered durable now, if anything is."""
        if self._has_buffered:
            self.commit(Commit())

    def _write(self, entry: JournalEntry) -> Committed:
        try:
            return self.services.writer.write(entry)
        except KitaruBackendError as error:
            self.store_error = error
            raise

    def submit_commit(self, commit: Commit, future: asyncio.Future[Committed]) -> None:
        """As `commit`, for an event loop: the future gets what became of it.

        What is buffered goes along with every entry until one of them is written, for any of them may
        fail alone; writing a value again changes nothing.
        """
        loop = future.get_loop()

        def done(result: Committed | BaseException) -> None:
            if isinstance(result, KitaruBackendError):
                self.store_error = result

            def settle() -> None:
                if isinstance(result, Committed):
                    with self._lock:
                        self._drop(taken)
                if future.done():
                    return
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:
                logger.debug("loop closed before commit returned", extra={"exec_id": self.exec_id})

        with self._lock:
            taken = self._buffered()
            # Events are told once, and may be lost.
            del self._events[: len(taken.events)]
            self.services.writer.submit(self._entry(commit, taken), done)

    def committed(self, result: Committed) -> None:
        """Act on what became of a commit.

        Raises:
            LeaseLost: It was not written.
        """
        if not result.held:
            self.signal_raised = True
            raise self.lose()
        if result.cancel_requested and self.signal is None:
            self.request_cancel()

    def _entry(self, commit: Commit, buffered: _Buffered | None = None) -> JournalEntry:
        if buffered is None:
            return JournalEntry(
                exec_id=self.exec_id,
                epoch=self.epoch,
                calls=commit.calls,
                attempts=commit.attempts,
                artifacts=commit.artifacts,
                metadata=commit.metadata,
                outcome=commit.outcome,
            )
        return JournalEntry(
            exec_id=self.exec_id,
            epoch=self.epoch,
            calls=(*buffered.values, *commit.calls),
            attempts=commit.attempts,
            artifacts=commit.artifacts,
            metadata=(*buffered.metadata, *commit.metadata),
            events=buffered.events,
            outcome=commit.outcome,
        )

    # What it writes with the next commit

    def buffer_value(self, record: CallRecord) -> None:
        """Keep a recorded value for the next commit."""
        with self._lock:
            self._values.append(record)
            self._has_buffered = True

    def update_metadata(
        self, update: Callable[[Mapping[str, MetadataRecord]], Mapping[str, MetadataRecord]]
    ) -> None:
        """Keep what `update` makes of the execution's own metadata for the next commit."""
        with self._lock:
            changed = update(self._all_metadata)
            self._all_metadata.update(changed)
            self._metadata.update(changed)
            self._has_buffered = True

    def buffer_event(self, kind: str, position: str, payload: Mapping[str, object]) -> None:
        """Keep an event for the next commit."""
        event = EventRecord(
            kind=kind,
            position=position,
            payload=json.dumps(payload, default=str),
            created_at=self.clock.now(),
        )
        with self._lock:
            self._events.append(event)
            self._has_buffered = True

    def _buffered(self) -> _Buffered:
        return _Buffered(tuple(self._values), tuple(self._metadata.values()), tuple(self._events))

    def _drop(self, written: _Buffered) -> None:
        gone = {id(entry) for entry in (*written.values, *written.events)}
        self._values = [value for value in self._values if id(value) not in gone]
        self._events = [event for event in self._events if id(event) not in gone]
        for logged in written.metadata:
            if self._metadata.get(logged.key) is logged:
                del self._metadata[logged.key]
        self._has_buffered = bool(self._values or self._metadata or self._events)

    # What it remembers

    def load_journal(
        self, records: list[CallRecord], *, on_divergence: str, code_changed: bool
    ) -> None:
        """Start from what is recorded."""
        self.journal = Journal(
            records, on_divergence=OnDivergence(on_divergence), code_changed=code_changed
        )

    def call_failed(self, position: str, error: BaseException) -> None:
        """Remember which call raised an exception, to tell later what the flow failed of."""
        self._failures.append((error, position))

    def positions_of(self, errors: set[int]) -> tuple[str, ...]:
        """Return the calls that raised one of these exceptions, given by `id`."""
        return tuple(dict.fromkeys(pos for error, pos in self._failures if id(error) in errors))

    def pool(self) -> Pool:
        """Return the threads that run submitted calls; they start when they are needed."""
        with self._lock:
            if self._pool is None:
                from kitaru.engine.pool import Pool

                self._pool = Pool(self._max_workers, name=f"kitaru-{self.exec_id[-6:]}")
            return self._pool

    def submitted(self, future: concurrent.futures.Future[Any]) -> None:
        """Remember a call that runs beside the flow until it is done."""
        self.futures_exist = True
        self.outstanding.add(future)
        future.add_done_callback(self.outstanding.discard)

    def submissions(self) -> asyncio.Semaphore:
        """Return what bounds the async calls that run beside the flow."""
        if self._submissions is None:
            self._submissions = asyncio.Semaphore(self._max_workers)
        return self._submissions

    def close(self) -> None:
        """Let submitted calls that have not started go, and the threads with them.

        What the flow has left behind, a task or a body in a thread, can record nothing any more.
        """
        self.ending = False
        self.stop(LeaseLost(self.exec_id))
        if self._pool is not None:
            self._pool.close()


@dataclass(frozen=True, slots=True)
class _Buffered:
    values: tuple[CallRecord, ...]
    metadata: tuple[MetadataRecord, ...]
    events: tuple[EventRecord, ...]
