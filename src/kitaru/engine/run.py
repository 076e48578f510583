"""One claimed execution while its flow runs in this process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from kitaru.engine.journal import Journal, OnDivergence
from kitaru.engine.parking import Parking
from kitaru.engine.recorder import Recorder
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
    ExecutionRecord,
    WaitRecord,
    WaitStatus,
)

if TYPE_CHECKING:
    from kitaru.clock import Clock
    from kitaru.engine.calls import ActiveCall
    from kitaru.engine.feed import Feed
    from kitaru.engine.flusher import Flusher
    from kitaru.engine.lease import LeaseKeeper
    from kitaru.engine.pool import Pool
    from kitaru.engine.replay import Replay
    from kitaru.engine.values import Values
    from kitaru.engine.watcher import Watcher
    from kitaru.logs import LogCapture
    from kitaru.store.contract import Store, Writer

logger = logging.getLogger(__name__)

_PARKED = "the execution is not this run's while it waits"
_ANSWERED = frozenset({WaitStatus.ANSWERED, WaitStatus.ABORTED, WaitStatus.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What runs of one process on one store share.

    Attributes:
        store: For reading, and for writes that are not part of a run.
        writer: The way of every run's writes, so that concurrent ones share a transaction.
        capture: Keeps what the runs print and log.
        threads: Where event loops send what would block them.
        flusher: Shows calls whose bodies take long.
        feed: Takes what the runs tell those who watch.
        watcher: Notices answers.
        questions: Who is told of questions.
        keeps_stacks: Whether flows that wait stay in this process for as long as they say. A process that
            takes up whatever is pending need not: it comes back to them like any other.
    """

    store: Store
    writer: Writer
    values: Values
    leases: LeaseKeeper
    clock: Clock
    capture: LogCapture
    threads: Pool
    flusher: Flusher
    feed: Feed
    watcher: Watcher
    questions: Questions
    keeps_stacks: bool = True


class Questions(Protocol):
    """Who is told of the questions that runs of this process ask, to put them to someone."""

    def asked(self, run: Run, wait: WaitRecord) -> None:
        """Note that a question is open, durably."""
        ...

    def closed(self, run: Run, wait: WaitRecord) -> None:
        """Note that it is over, or that its run has left."""
        ...


class Run:
    """A runner's hold on one execution, and everything it must remember while it runs.

    Attributes:
        signal: What the flow's next Kitaru call raises, once it is set.
        ending: The flow is over and its outcome is being committed; nothing can stop it any more.
        divergence: The error that the flow may have caught but cannot go on from.
        is_homeless: The event loop has ended under the flow.
        is_held: Someone has stopped it by hand, and nobody is to go on with it unless asked to.
        flow_thread: The thread that a sync flow runs in.
        futures_exist: Whether arguments may contain futures.
        outstanding: Submitted calls that are not done.
        recorded_attempts: The failed attempts of calls without an outcome, by position.
        recorder: Its way to the store.
        cache_default: Whether checkpoints that do not say reuse results, and up to which age.
        in_flight: Calls whose bodies are running, by position; for watching.
        parking: What it waits for, and whether it holds its lease meanwhile.
        waits: The recorded waits that calls have not taken up yet, by position.
        replay: What it takes over from another execution, if it is a replay.
        limit: What bounds an async flow's time.
        runner_task: The task that runs an async flow's own; it is cancelled when their loop ends.
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
        self.in_flight: dict[str, ActiveCall] = {}
        self.futures_exist = False
        self.outstanding: set[concurrent.futures.Future[Any]] = set()
        self.recorded_attempts: dict[str, list[AttemptRecord]] = {}
        self.is_homeless = False
        self.is_held = False
        self.flow_thread: int | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.limit: asyncio.Timeout | None = None
        self.runner_task: asyncio.Task[object] | None = None
        self.waits: dict[str, WaitRecord] = {}
        self.replay: Replay | None = None
        self.parking = Parking(self)
        self._tasks: set[asyncio.Task[object]] = set()
        self._lock = threading.RLock()  # an interrupt may strike while it is held
        self.recorder = Recorder(
            services.writer, execution.id, execution.epoch, services.clock, self.committed
        )
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

    def check(self, *, waits: bool = False) -> None:
        """Raise what the flow must stop for, if anything.

        Args:
            waits: Whether it is the wait that asks for which the run may be parked.

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
        if self.parking.is_parked:
            if waits:
                return
            # A thread of the user's own: nothing may run while the execution is not this run's.
            raise Suspend(_PARKED)
        if not self.services.leases.trusts(self.exec_id):
            try:
                self.services.leases.confirm(self.exec_id)
            except KitaruBackendError as error:
                # Not the flow's failure: whoever can reach the store goes on with it.
                self.recorder.store_error = error
                raise
            if self.signal is not None:
                self.signal_raised = True
                raise self.signal
        if self.recorder.store_error is not None:
            raise self.recorder.store_error
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
        self.services.watcher.wake(self)
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

    def release(self, *, hold: bool = False) -> None:
        """Give the execution back at the next boundary, for someone to go on with.

        Args:
            hold: Only for someone who asks for it by name.
        """
        self.is_held = hold
        self.stop(Suspend("released"))

    def lose(self) -> LeaseLost:
        """Note that the lease is gone, and return what to raise."""
        lost = LeaseLost(self.exec_id)
        self.stop(lost)
        return lost

    def reenter(self, execution: ExecutionRecord, trusted_until: float) -> None:
        """Go on under another claim of the same execution."""
        self.execution = execution
        self.epoch = execution.epoch
        self.recorder.enter(execution.epoch)
        self._began = self.clock.monotonic()
        self.services.leases.hold(self, trusted_until)
        self.services.flusher.wake()

    def restart_limit(self) -> None:
        """Bound an async flow's time anew, after another claim; called on its loop."""
        if self.limit is not None and self._timeout is not None:
            self.limit.reschedule(asyncio.get_running_loop().time() + self._timeout)

    def sleep(self, seconds: float) -> None:
        """Block until the time has passed or the run must stop."""
        self._woken.wait(self.clock.pass_time(seconds))
        self.check()

    def is_losing_its_loop(self) -> bool:
        """Whether the event loop of an async flow is being shut down under it."""
        return self.runner_task is not None and self.runner_task.cancelling() > 0

    def is_on_loop(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the flow's own coroutine runs on this loop."""
        return self.loop is loop

    # What it remembers

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

    def load_journal(
        self,
        records: list[CallRecord],
        waits: list[WaitRecord],
        *,
        on_divergence: str,
        code_changed: bool,
    ) -> None:
        """Start from what is recorded."""
        self.waits = {wait.position: wait for wait in waits}
        answered = {wait.position for wait in waits if wait.status in _ANSWERED}
        self.journal = Journal(
            records,
            on_divergence=OnDivergence(on_divergence),
            code_changed=code_changed,
            unanswered={
                record.position
                for record in records
                if not record.status.is_recorded and record.position not in answered
            },
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
