"""The claim loop: take pending executions from the store and run them in this process, as many as may be.

The loop never runs user code itself: `discovery.py` imports it, and runs have threads of their own. What is
wrong with one execution is that execution's affair: it is given back, and the loop goes on. A worker keeps no
stacks: a run that waits leaves, and whoever is free takes it up when it may go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitaru.clock import MICROSECONDS
from kitaru.engine.pace import Pace
from kitaru.engine.runner import bind_inputs
from kitaru.errors import KitaruBackendError, KitaruError
from kitaru.fleet import NO_CODE, ClaimFilter, WorkerRecord, code_key
from kitaru.model import ExecutionStatus, JournalEntry, Outcome
from kitaru.worker.discovery import Discovery
from kitaru.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from kitaru.model import ExecutionRecord
    from kitaru.worker.flow_table import FlowTable
    from kitaru.worker.local import LocalRun, LocalRunner

logger = logging.getLogger(__name__)

# How often the store is asked for work while there is room for it and it does not tell by itself; it costs
# one small read.
_POLL_SECONDS = 0.05
# How often a worker says that it is there; whoever counts on it waits five times as long.
_ANNOUNCE_SECONDS = 2.0
# An execution that does not fit the code here is left to others for so long; after that nobody may claim it
# for 5 s, then for twice as long each time.
_LEFT_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 300.0
_MOST_LEFT = 500  # of more the oldest are claimed again, after their pause
_MOST_PAUSES = 10_000  # of more the oldest are forgotten, and begin anew
# After a failure of the store.
_BROKEN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Pause:
    """What is done about an execution that does not fit the code here.

    Attributes:
        pause: For how many seconds nobody could claim it, the last time.
        left_until: Monotonic second until which this worker leaves it.
    """

    pause: float
    left_until: float


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
        runner.is_releasing = False  # one that was here before has given its runs back
        self._stack = stack
        self._concurrency = concurrency
        self._drain_seconds = drain_seconds
        self._running: dict[str, LocalRun] = {}
        self._unreturned: list[tuple[ExecutionRecord, str]] = []
        self._pauses: OrderedDict[str, _Pause] = OrderedDict()
        self._stopping = threading.Event()
        self._pace = Pace(runner.store, runner.services.clock)
        self._started_at = runner.services.clock.now()
        self._announced_at = float("-inf")
        self._is_broken = False
        self._discovery = Discovery(runner, flows, stack, self._has_more_code)
        self.watchdog = Watchdog()

    def stop(self) -> None:
        """Claim nothing more, and end once what runs has ended or was given back."""
        self._stopping.set()
        self._pace.hurry()

    def serve(self) -> None:
        """Claim and run until `stop`; then finish what is short and give back the rest."""
        with self.watchdog:
            # The first turn comes first: its own attendant would start processes for what it has not yet
            # been known to serve.
            pause = self._turn()
            self._discovery.start()
            self._runner.attending.begin_for_good()
            self._pace.begin()
            while not self._stopping.is_set():
                self._pace.wait(pause)
                if not self._stopping.is_set():
                    self.watchdog.reset()
                    pause = self._turn()
        self._pace.end()
        self._discovery.stop()
        self._drain()

    def _turn(self) -> float:
        """Announce, claim, start; return how long to wait before the next turn."""
        try:
            self._announce()
            self._return_what_is_left()
            free = self._concurrency - len(self._running)
            started = self._claim(free) if free > 0 else 0
        except Exception as error:  # noqa: BLE001 - a worker goes on, whatever happens to one turn
            if not self._is_broken:
                reason = error if isinstance(error, KitaruBackendError) else repr(error)
                logger.warning("the store is out of reach, trying again: %s", reason)
            self._is_broken = True
            return _BROKEN_SECONDS
        if self._is_broken:
            logger.warning("the store is there again")
            self._is_broken = False
        return 0.0 if free > 0 and started == free else _POLL_SECONDS

    def _has_more_code(self) -> None:
        self._announced_at = float("-inf")
        self._pace.hurry()

    def _announce(self) -> None:
        now = time.monotonic()
        if now - self._announced_at < _ANNOUNCE_SECONDS:
            return
        self._announced_at = now
        self._runner.store.announce_worker(
            WorkerRecord(
                owner=self._runner.services.leases.owner,
                project=self._runner.settings.project,
                stack=self._stack,
                code_keys=self._discovery.announced,
                concurrency=self._concurrency,
                running=len(self._running),
                started_at=self._started_at,
                seen_at=self._runner.services.clock.now(),
            )
        )

    def _claim(self, limit: int) -> int:
        """Claim up to `limit` executions; return how many run now."""
        services = self._runner.services
        served = self._discovery.served
        if not served:
            return 0
        where = ClaimFilter(
            project=self._runner.settings.project,
            stack=self._stack,
            code_keys=list(served),
            # One that has just been given back may still be on its way out.
            besides=[*(local.exec_id for local in self._runner.in_flight()), *self._left()],
        )
        trusted_until = services.leases.trust_from_now()
        claimed = self._runner.store.claim_executions(
            services.leases.claim(), now=services.clock.now(), limit=limit, where=where
        )
        return sum([self._take_up(execution, trusted_until) for execution in claimed])

    def _take_up(self, execution: ExecutionRecord, trusted_until: float) -> bool:
        """Run a claimed execution; return whether it runs."""
        try:
            flow = self._discovery.served[code_key(execution.code_root, execution.code_ref)]
            bind_inputs(flow.code, execution, self._runner.services.values)
            local = self._runner.start(execution, flow.code, trusted_until)
        except Exception as error:  # noqa: BLE001 - what is wrong with one must not touch the others
            message = error.message if isinstance(error, KitaruError) else repr(error)
            self._unreturned.append((execution, message))
            self._return_what_is_left()
            return False
        self._pauses.pop(execution.id, None)
        # Its end is logged; there is no handle that anybody could look at.
        local.observation.observe()
        self._running[execution.id] = local
        local.finished.add_done_callback(lambda _: self._ended(local))
        return True

    def _return_what_is_left(self) -> None:
        """Make executions pending again that were claimed and cannot run here.

        Durability: one commit for each. What cannot be returned now is the next turn's work.
        """
        while self._unreturned:
            execution, message = self._unreturned[0]
            pause = self._next_pause(execution.id)
            outcome = Outcome(
                status=ExecutionStatus.PENDING,
                reason=NO_CODE,
                runnable_at=self._runner.services.clock.now() + round(pause * MICROSECONDS),
            )
            entry = JournalEntry(exec_id=execution.id, epoch=execution.epoch, outcome=outcome)
            self._runner.store.commit([entry])
            del self._unreturned[0]
            logger.warning(
                "execution %s of flow %s cannot run here and is given back for %.0f s: %s",
                execution.id,
                execution.flow,
                pause,
                message,
                extra={"action": "give_back", "exec_id": execution.id, "flow": execution.flow},
            )

    def _next_pause(self, exec_id: str) -> float:
        """Return for how many seconds nobody may claim an execution that did not fit; at first at once."""
        before = self._pauses.pop(exec_id, None)
        pause = 0.0 if before is None else min(before.pause * 2 or 5.0, _LONGEST_PAUSE_SECONDS)
        self._pauses[exec_id] = _Pause(pause, time.monotonic() + pause + _LEFT_SECONDS)
        while len(self._pauses) > _MOST_PAUSES:
            self._pauses.popitem(last=False)
        return pause

    def _left(self) -> list[str]:
        """Return what is left to others, whose code may be newer, for a while."""
        now = time.monotonic()
        newest = list(self._pauses.items())[-_MOST_LEFT:]
        return [exec_id for exec_id, pause in newest if pause.left_until > now]

    def _ended(self, local: LocalRun) -> None:
        # In the run's own thread; another run of the same execution may have begun here.
        if self._running.get(local.exec_id) is local:
            del self._running[local.exec_id]
        self._pace.hurry()

    def _drain(self) -> None:
        """Let what is short end, give back the rest at its next boundary, and leave."""
        # First, so that nobody leaves to it what it claims no more; and it is no attendant of others.
        self._runner.attending.stop()
        try:
            self._runner.store.forget_workers([self._runner.services.leases.owner])
            self._return_what_is_left()
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
            self._pace.wait(min(remaining, _POLL_SECONDS))
