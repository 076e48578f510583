"""The claim loop: take pending executions from the store and run them in this process, as many as may be.

The loop never runs user code itself; runs have threads of their own. What is wrong with one execution is
that execution's affair: it is given back, left alone for a while, and the loop goes on. A worker keeps no
stacks: a run that waits leaves, and whoever is free takes it up when it may go on.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kitaru.engine.runner import bind_inputs
from kitaru.errors import KitaruBackendError, KitaruError
from kitaru.fleet import ClaimFilter, WorkerRecord
from kitaru.model import ExecutionStatus, JournalEntry, Outcome
from kitaru.stacks import LocalStack
from kitaru.worker.recovery import is_of_another_folder, load_flow
from kitaru.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.model import ExecutionRecord
    from kitaru.worker.flow_table import FlowTable
    from kitaru.worker.local import LocalRun, LocalRunner

logger = logging.getLogger(__name__)

# How often the store is asked for work while there is room for it; it costs one small read.
_POLL_SECONDS = 0.05
# How often a worker says that it is there; whoever counts on it waits five times as long.
_ANNOUNCE_SECONDS = 2.0
# An execution that cannot run here is left alone for so long, then for twice as long each time.
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0
# After a failure of the store.
_BROKEN_SECONDS = 1.0
# More than that are not remembered as unfit; the oldest are tried again.
_MOST_UNFIT = 500


@dataclass(slots=True)
class _Unfit:
    """An execution that could not be run here.

    Attributes:
        until: Monotonic second until which it is left alone.
        pause: For how long it was left alone the last time, in seconds.
    """

    until: float
    pause: float


class Worker:
    """Claims executions and runs them until it is told to stop.

    Args:
        runner: Runs them.
        flows: Whose executions; None for those of the project whose code can be found here.
        stack: Only executions of this stack.
        concurrency: How many run at once. One that waits is none; what a flow starts inside itself runs
            along with it.
        drain_seconds: After `stop`, how long runs may go on before they are asked to stop at their next
            boundary.
    """

    def __init__(
        self,
        runner: LocalRunner,
        flows: FlowTable | None,
        *,
        stack: str,
        concurrency: int,
        drain_seconds: float,
    ) -> None:
        self._runner = runner
        self._flows = flows
        self._stack = stack
        self._concurrency = concurrency
        self._drain_seconds = drain_seconds
        self._running: dict[str, LocalRun] = {}
        self._unfit: dict[str, _Unfit] = {}
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._started_at = runner.services.clock.now()
        self._announced_at = float("-inf")
        self._is_broken = False
        self._launches = LocalStack(runner.settings)
        self.watchdog = Watchdog()

    def stop(self) -> None:
        """Claim nothing more, and end once what runs has ended or was given back."""
        self._stopping.set()
        self._woken.set()

    def serve(self) -> None:
        """Claim and run until `stop`; then finish what is short and give back the rest."""
        with self.watchdog:
            # The first turn comes first: its own attendant would start processes for what it has not yet
            # been known to serve.
            pause = self._turn()
            self._runner.attend_always()
            while not self._stopping.is_set():
                self._woken.wait(pause)
                self._woken.clear()
                if not self._stopping.is_set():
                    self.watchdog.reset()
                    pause = self._turn()
        self._drain()

    def _turn(self) -> float:
        """Announce, claim, start; return how long to wait before the next turn."""
        try:
            self._announce()
            free = self._concurrency - len(self._running)
            won = self._claim(free) if free > 0 else 0
        except KitaruBackendError as error:
            if not self._is_broken:
                logger.warning("the store is out of reach, trying again: %s", error)
            self._is_broken = True
            return _BROKEN_SECONDS
        if self._is_broken:
            logger.warning("the store is there again")
            self._is_broken = False
        return 0.0 if free > 0 and won == free else _POLL_SECONDS

    def _announce(self) -> None:
        now = time.monotonic()
        if now - self._announced_at < _ANNOUNCE_SECONDS:
            return
        present = self._runner.services.clock.now()
        self._runner.store.announce_worker(
            WorkerRecord(
                owner=self._runner.services.leases.owner,
                project=self._runner.settings.project,
                stack=self._stack,
                code_refs=None if self._flows is None else self._flows.code_refs,
                concurrency=self._concurrency,
                running=len(self._running),
                started_at=self._started_at,
                seen_at=present,
            )
        )
        self._announced_at = now

    def _claim(self, limit: int) -> int:
        services = self._runner.services
        now = time.monotonic()
        where = ClaimFilter(
            project=self._runner.settings.project,
            stack=self._stack,
            code_refs=None if self._flows is None else self._flows.code_refs,
            besides=[exec_id for exec_id, unfit in self._unfit.items() if unfit.until > now],
        )
        trusted_until = services.leases.trust_from_now()
        claimed = self._runner.store.claim_executions(
            services.leases.claim(), now=services.clock.now(), limit=limit, where=where
        )
        for execution in claimed:
            self._take_up(execution, trusted_until)
        return len(claimed)

    def _take_up(self, execution: ExecutionRecord, trusted_until: float) -> None:
        try:
            flow = self._flow_of(execution)
            if is_of_another_folder(execution, flow):
                self._hand_over(execution)
                return
            code = flow.code
            bind_inputs(code, execution, self._runner.services.values)
        except Exception as error:  # noqa: BLE001 - the code of one flow may fail to load in any way
            message = (
                str(error) if isinstance(error, KitaruError) else f"{type(error).__name__}: {error}"
            )
            self._give_back(execution, message)
            return
        self._unfit.pop(execution.id, None)
        local = self._runner.start(execution, code, trusted_until)
        # Its end is logged; there is no handle that anybody could look at.
        local.observation.observe()
        self._running[execution.id] = local
        local.finished.add_done_callback(lambda _: self._ended(local))

    def _flow_of(self, execution: ExecutionRecord) -> Flow[..., Any]:
        flow = None if self._flows is None else self._flows.find(execution)
        return load_flow(execution, from_any_folder=True) if flow is None else flow

    def _hand_over(self, execution: ExecutionRecord) -> None:
        """Leave an execution to a process of its own, where another module has the name of ours."""
        self._give_back(
            execution,
            f"module {execution.code_ref.partition(':')[0]!r} of {execution.code_root!r} has the name of"
            f" one that is loaded here, so a process is started for it",
        )
        self._launches.launch(execution.id)
        self._launches.count()  # takes up the exit codes of those that have ended

    def _give_back(self, execution: ExecutionRecord, message: str) -> None:
        """Make an execution pending again that cannot run here, and leave it alone for a while."""
        before = self._unfit.pop(execution.id, None)
        pause = _FIRST_PAUSE_SECONDS
        if before is not None:
            pause = min(before.pause * 2, _LONGEST_PAUSE_SECONDS)
        while len(self._unfit) >= _MOST_UNFIT:
            del self._unfit[next(iter(self._unfit))]
        self._unfit[execution.id] = _Unfit(time.monotonic() + pause, pause)
        logger.warning(
            "execution %s of flow %s cannot run here and is given back: %s",
            execution.id,
            execution.flow,
            message,
            extra={"action": "give_back", "exec_id": execution.id, "flow": execution.flow},
        )
        outcome = Outcome(
            status=ExecutionStatus.PENDING,
            reason="no code",
            runnable_at=execution.runnable_at,
        )
        entry = JournalEntry(exec_id=execution.id, epoch=execution.epoch, outcome=outcome)
        self._runner.store.commit([entry])

    def _ended(self, local: LocalRun) -> None:
        # In the run's own thread.
        self._running.pop(local.exec_id, None)
        self._woken.set()

    def _drain(self) -> None:
        """Let what is short end, give back the rest at its next boundary, and leave."""
        try:
            # First, so that nobody leaves to it what it claims no more.
            self._runner.store.forget_workers([self._runner.services.leases.owner])
        except KitaruBackendError:
            logger.warning("the store is out of reach; it forgets this worker by itself")
        count = len(self._running)
        if count:
            logger.info(
                "stopping: %d running have %g s to end, and are given back then",
                count,
                self._drain_seconds,
            )
        self._await_end(self._drain_seconds)
        self._runner.release_all()
        self._await_end(None)

    def _await_end(self, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._runner.in_flight():
            remaining = _POLL_SECONDS if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return
            self._woken.wait(min(remaining, _POLL_SECONDS))
            self._woken.clear()
