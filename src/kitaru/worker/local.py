"""The runs of this process on one store: their threads and tasks, and who waits for them.

A sync flow runs in a thread of its own, an async one as a task on the loop it was started on or else on a
loop in a thread. The interpreter waits for them before it shuts anything down (`interrupt.py`), so that a
script may end without `.wait()`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from kitaru.clock import MICROSECONDS, SYSTEM_CLOCK, Clock
from kitaru.engine.feed import ROUTINE_SECONDS, Feed
from kitaru.engine.flusher import Flusher
from kitaru.engine.lease import LeaseKeeper
from kitaru.engine.loops import run_on_own_loop
from kitaru.engine.pool import Pool
from kitaru.engine.reopen import retry_failed
from kitaru.engine.run import Run, Services
from kitaru.engine.runner import FlowCode, run_in_thread, run_on_loop
from kitaru.engine.values import Values
from kitaru.engine.watcher import Watcher
from kitaru.errors import KitaruError, LeaseLost
from kitaru.logs import LogCapture
from kitaru.model import ExecutionRecord, ExecutionStatus, JournalEntry, Outcome
from kitaru.store.contract import Company
from kitaru.store.journal_writer import JournalWriter
from kitaru.worker import interrupt
from kitaru.worker.attending import Attending
from kitaru.worker.desk import Desk, Respondent
from kitaru.worker.reporting import Observation

if TYPE_CHECKING:
    from kitaru.engine.journal import OnDivergence
    from kitaru.settings import Settings
    from kitaru.store.contract import Store

logger = logging.getLogger(__name__)

# Threads for what would block an event loop: blob reads, cache look-ups.
_BLOCKING_THREADS = 4
# A run that broke is not taken up before so many seconds, unless someone asks for it.
_LONGEST_DELAY_SECONDS = 300.0
_MOST_DELAYS = 1_000
_RELEASED = Outcome(status=ExecutionStatus.PENDING, reason="released")


class LocalRun:
    """One execution that this process runs, or has run.

    Attributes:
        finished: Gets the outcome once it is durable, or what kept the runner from having one.
        observation: Whether anyone has seen how it ended.
        code: Its flow.
        on_divergence: What to do this time with records that contradict the flow.
    """

    def __init__(self, run: Run, code: FlowCode, on_divergence: OnDivergence | None = None) -> None:
        self.run = run
        self.code = code
        self.on_divergence = on_divergence
        self.exec_id = run.exec_id
        self.flow = run.execution.flow
        self.parent_id = run.execution.parent_id
        self.finished: concurrent.futures.Future[Outcome] = concurrent.futures.Future()
        self.observation = Observation(run.exec_id, run.execution.flow)


class LocalRunner:
    """Starts runs and knows those in flight."""

    def __init__(
        self, settings: Settings, *, clock: Clock = SYSTEM_CLOCK, keeps_stacks: bool = True
    ) -> None:
        from kitaru.blobs import open_blobs
        from kitaru.store import open_store

        self.settings = settings
        self.store: Store = open_store(settings.store_url, access=settings.access)
        if clock is SYSTEM_CLOCK:
            # Leases, moments and sleeps go by what all who use the store agree on.
            clock = self.store.clock
        leases = LeaseKeeper(
            self.store,
            clock,
            ttl_seconds=settings.lease_seconds,
            interval_seconds=settings.lease_renew_seconds,
        )
        writer = JournalWriter(self.store.commit)
        self._flusher = Flusher(writer, leases.runs)
        self._desk = Desk(self.store, clock)
        self.services = Services(
            store=self.store,
            writer=writer,
            values=Values(
                open_blobs(settings.artifact_store, access=settings.access), settings.allow_pickle
            ),
            leases=leases,
            clock=clock,
            capture=LogCapture(self.store.append_logs, clock=clock, enabled=settings.capture_logs),
            threads=Pool(_BLOCKING_THREADS, name="kitaru-store"),
            flusher=self._flusher,
            feed=Feed(
                self.store,
                clock=clock,
                routine_interval=(
                    None if self.store.company is Company.ONE_MACHINE else ROUTINE_SECONDS
                ),
            ),
            watcher=Watcher(self.store, clock),
            questions=self._desk,
            keeps_stacks=keeps_stacks,
        )
        self.attending = Attending(self)
        self._go_on: functools.partial[None] | None = None
        self._delays: dict[str, float] = {}
        self.is_releasing = False
        # As many as there are flows: a flow may wait for another.
        self._threads = Pool(sys.maxsize, name="kitaru-flow")
        self._lock = threading.RLock()  # an interrupt may strike while it is held
        self._runs: dict[str, LocalRun] = {}

    def answer_with(self, respondent: Respondent | None) -> None:
        """Have questions of runs here put to a program before anyone else; `None` takes it back."""
        self._desk.respondent = respondent

    def find(self, exec_id: str) -> LocalRun | None:
        """Return the run of this execution that is in flight here."""
        return self._runs.get(exec_id)

    def in_flight(self) -> list[LocalRun]:
        """Return the runs that have not ended."""
        with self._lock:
            return list(self._runs.values())

    def start(
        self,
        execution: ExecutionRecord,
        code: FlowCode,
        trusted_until: float,
        *,
        on_divergence: OnDivergence | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> LocalRun:
        """Run an execution that this process has just claimed, in the background.

        Args:
            execution: Its row.
            code: Its flow.
            trusted_until: Until when its lease is trusted.
            on_divergence: What to do this time with records that contradict the flow.
            loop: The loop for an async flow; the running one, or one of its own, if not given.
        """
        run = Run(execution, self.services)
        local = LocalRun(run, code, on_divergence)
        with self._lock:
            self._runs[execution.id] = local
        if self.is_releasing:
            # It was asked for before, and whoever asked counts on that.
            run.release()
        try:
            self.services.leases.hold(run, trusted_until)
            self._flusher.wake()
            self.attending.begin()
            interrupt.install()
        except BaseException:
            self._forget(local)
            raise
        logger.info(
            "execution started",
            extra={
                "action": "start",
                "exec_id": run.exec_id,
                "flow": local.flow,
                "epoch": run.epoch,
            },
        )
        if loop is None and code.is_async:
            loop = _running_loop()
        if loop is not None:
            # Known before the task has begun, so that nobody blocks the loop that it needs.
            run.loop = loop
            task = asyncio.Task(self._arun(local, code, on_divergence), loop=loop)
            _tasks.add(task)

            def over(task: asyncio.Task[None]) -> None:
                _tasks.discard(task)
                if not local.finished.done():
                    # The loop has ended under it, perhaps before its first step.
                    self._threads.put(
                        lambda: contextvars.Context().run(self._move, local, code, on_divergence)
                    )

            task.add_done_callback(over)
        else:
            self._threads.put(
                lambda: contextvars.Context().run(self._run, local, code, on_divergence)
            )
        return local

    def _run(self, local: LocalRun, code: FlowCode, on_divergence: OnDivergence | None) -> None:
        threading.current_thread().name = f"kitaru-{local.flow}"

        def attempt(run: Run) -> Outcome:
            if code.is_async:
                return run_on_own_loop(run_on_loop(run, code, on_divergence))
            return run_in_thread(run, code, on_divergence)

        def finish() -> None:
            while True:
                outcome = attempt(local.run)
                if not self._try_again(local, outcome):
                    return self._ended(local, outcome)

        self._guarded(local, finish)

    async def _arun(
        self, local: LocalRun, code: FlowCode, on_divergence: OnDivergence | None
    ) -> None:
        try:
            while True:
                outcome = await run_on_loop(local.run, code, on_divergence)
                if local.run.is_homeless:
                    return
                if not self._try_again(local, outcome):
                    break
        except asyncio.CancelledError:
            return
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._broken(local, error)
        else:
            self._ended(local, outcome)

    def _move(self, local: LocalRun, code: FlowCode, on_divergence: OnDivergence | None) -> None:
        """Go on in this thread with a run whose event loop has ended under it."""

        def go_on() -> None:
            if (parked := local.run.parking.end(None)) is not None:
                return self._ended(local, parked)
            self.services.leases.let_go(local.run)
            self._give_back(local.run)
            if interrupt.was_interrupted():
                return self._ended(local, _RELEASED)
            claimed = claim_here(self, local.exec_id)
            if claimed is None:
                raise LeaseLost(local.exec_id)
            local.run = Run(claimed[0], self.services)
            self.services.leases.hold(local.run, claimed[1])
            return self._run(local, code, on_divergence)

        self._guarded(local, go_on)

    def _guarded(self, local: LocalRun, finish: Callable[[], None]) -> None:
        try:
            finish()
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._broken(local, error)

    def _try_again(self, local: LocalRun, outcome: Outcome) -> bool:
        """Take up a failed flow that has retries left; return whether it is to run again now."""
        if outcome.status is not ExecutionStatus.PENDING or outcome.failure is None:
            return False
        if self.is_releasing or local.run.is_held:
            return False  # others try, or nobody is to
        self.services.leases.let_go(local.run)
        claimed = claim_here(self, local.exec_id)
        if claimed is None:
            return False
        logger.warning(
            "flow %s failed, trying again (execution %s)",
            local.flow,
            local.exec_id,
            extra={"action": "retry", "exec_id": local.exec_id, "flow": local.flow},
        )
        execution, trusted_until = claimed
        local.run = Run(execution, self.services)
        self.services.leases.hold(local.run, trusted_until)
        return True

    def _ended(self, local: LocalRun, outcome: Outcome) -> None:
        self._forget(local)
        failed = outcome.status is ExecutionStatus.FAILED
        logger.info(
            "execution ended",
            extra={
                "action": outcome.status.value,
                "exec_id": local.exec_id,
                "flow": local.flow,
                "epoch": local.run.epoch,
            },
        )
        if failed and outcome.failure is not None:
            local.observation.failed(outcome.failure)
        if outcome.status is ExecutionStatus.WAITING:
            self._expect(local)
        local.finished.set_result(outcome)

    def _expect(self, local: LocalRun) -> None:
        """Go on here with an execution that has left, once it may go on and unless others are faster."""
        if not self.services.keeps_stacks or interrupt.was_interrupted():
            return
        # Bound to what going on takes, not to the run: one that waits for months holds no journal, and
        # thousands of one flow share what they need.
        needed = (local.code, local.on_divergence, local.run.loop)
        if self._go_on is None or self._go_on.args != needed:
            self._go_on = functools.partial(self._bring_back, *needed)
        self.services.watcher.bring_back(local.exec_id, self._go_on)

    def _bring_back(
        self,
        code: FlowCode,
        on_divergence: OnDivergence | None,
        loop: asyncio.AbstractEventLoop | None,
        exec_id: str,
    ) -> None:
        """Go on here with an execution that has left while it waited, unless someone else does."""
        claimed = self.services.leases.take(exec_id)
        if claimed is None:
            return
        execution, trusted_until = claimed
        if loop is not None and loop.is_running():
            # On the loop that it was started on, for what it shares with others there.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(
                    lambda: self.start(
                        execution, code, trusted_until, on_divergence=on_divergence, loop=loop
                    ),
                    context=contextvars.Context(),
                )
                return
        self.start(execution, code, trusted_until, on_divergence=on_divergence)

    def _broken(self, local: LocalRun, error: BaseException) -> None:
        """End a run that has no outcome: its lease or its store was lost, or its code could not be had."""
        self._forget(local)
        if isinstance(error, LeaseLost):
            # A cut of the network may have been longer than the lease. Whoever took it back need not have
            # anybody to go on with it, and this process waits for its result.
            self._expect(local)
        else:
            # What keeps this process from going on may well keep the next one from it.
            self._give_back(local.run, self._next_delay(local.exec_id))
            local.observation.broken(error)
        # Losing a lease is nobody's mistake: the machine slept, and another process goes on.
        logger.log(
            logging.WARNING if isinstance(error, LeaseLost) else logging.ERROR,
            "execution %s of flow %s could not go on: %s",
            local.exec_id,
            local.flow,
            error,
            exc_info=error if not isinstance(error, KitaruError | LeaseLost) else None,
            extra={"action": "broken", "exec_id": local.exec_id, "flow": local.flow},
        )
        local.finished.set_exception(error)

    def _next_delay(self, exec_id: str) -> float:
        """Return for how many seconds an execution that has broken here is left alone."""
        delay = min(self._delays.pop(exec_id, 1.0) * 2, _LONGEST_DELAY_SECONDS)
        self._delays[exec_id] = delay
        while len(self._delays) > _MOST_DELAYS:
            del self._delays[next(iter(self._delays))]
        return delay

    def _give_back(self, run: Run, delay_seconds: float = 0.0) -> None:
        """Make the execution pending again, if the store can be reached; else its lease runs out."""
        now = run.clock.now()
        outcome = Outcome(
            status=ExecutionStatus.PENDING,
            reason="released",
            runnable_at=now + round(delay_seconds * MICROSECONDS),
            held_at=now if run.is_held else None,
        )
        entry = JournalEntry(exec_id=run.exec_id, epoch=run.epoch, outcome=outcome)
        try:
            self.services.writer.write(entry)
        except KitaruError:
            logger.warning("execution %s could not be released", run.exec_id)

    def _forget(self, local: LocalRun) -> None:
        self.services.leases.let_go(local.run)
        with self._lock:
            # Given back, the execution may have come here again before this one is out.
            if self._runs.get(local.exec_id) is local:
                del self._runs[local.exec_id]

    def release_all(self) -> None:
        """Have all runs given back at their next boundary, also those that begin from now on."""
        self.is_releasing = True
        for local in self.in_flight():
            local.run.release()

    def notice(self) -> None:
        """Ask the store at once whether anyone wants runs of this process cancelled."""
        for run in self.services.leases.runs():
            self.services.leases.renew_now(run.exec_id)
        self.services.watcher.poke()

    def close(self) -> None:
        """End the background threads; only for tests and for processes without runs in flight."""
        self.attending.stop()
        self.services.leases.stop()
        self.services.watcher.stop()
        self._desk.stop()
        self._flusher.stop()
        self.services.capture.close()
        self.services.feed.stop()
        self.services.threads.close()
        self._threads.close()


def retry_here(runner: LocalRunner, exec_id: str) -> tuple[ExecutionRecord, float] | None:
    """Make a failed execution pending again, and the failed children it failed of; claim it here.

    Returns:
        The claimed execution and until when its lease is trusted; None if someone else was faster.
    """
    retry_failed(runner.services, exec_id)
    return claim_here(runner, exec_id)


def claim_here(runner: LocalRunner, exec_id: str) -> tuple[ExecutionRecord, float] | None:
    """Claim a pending execution for this process; None if someone else was faster."""
    return runner.services.leases.take(exec_id)


_tasks: set[asyncio.Task[None]] = set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
