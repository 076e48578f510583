"""What a run is blocked on, and how it parks: gives its lease back and keeps its place in memory.

Model. A run whose flow does nothing but wait needs no lease. It *parks*: the commit that asks the question
also makes the execution `waiting`, so that killing the process then loses nothing, and an answer from
anywhere makes it `pending`. Whoever claims it first goes on with it. While this process keeps the flow's
stack, up to the wait's `timeout`, it usually is the first: it claims and goes on where it stands, under
a new epoch. If someone else was faster, the stack is dropped.

A run that has other work in flight (submitted calls, other tasks) keeps its lease and stays `running`; its
questions are open all the same. It *leaves* (suspends) once all that is left of it waits.

Which tasks are blocked is known only by their calls of Kitaru. So a task that waits for other tasks counts
as blocked when all of those are, and a run is given some time to prove the contrary before it leaves.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kitaru.engine.failure import find_signal
from kitaru.errors import CancelRequested, KitaruBackendError, KitaruStateError, Suspend
from kitaru.faults import fault
from kitaru.ids import current_user
from kitaru.model import (
    ExecutionStatus,
    JournalEntry,
    Outcome,
    Resolution,
    WaitRecord,
    WaitStatus,
)

if TYPE_CHECKING:
    from kitaru.engine.run import Run
    from kitaru.engine.scope import Scope
    from kitaru.model import ExecutionRecord

logger = logging.getLogger(__name__)

# How long nothing must have happened in a run of several tasks before it is taken to be blocked.
_QUIET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """One scope that waits.

    Attributes:
        wait: What it waits for.
        until: Monotonic second until which the process stays for it.
    """

    scope: Scope
    wait: WaitRecord
    until: float


class Parking:
    """The waits that a run is in, and whether it holds its execution meanwhile.

    Attributes:
        is_parked: The execution is not this run's: it is `waiting`, or someone else's by now.
        left_for: What the run was told to leave for, if it was.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._blocks: dict[str, Block] = {}
        self._leaves: dict[Scope, None] = {run.root: None}
        self._quiet_since = run.clock.monotonic()
        self.is_parked = False
        self.left_for: tuple[WaitRecord, ...] = ()
        self._coming_back = threading.Lock()
        self._is_over = False

    # Which scopes there are

    def task_began(self, parent: Scope, child: Scope) -> None:
        """Note that a task was created in a scope."""
        parent.live += 1
        self._leaves.pop(parent, None)
        self._leaves[child] = None
        self.stir()

    def task_ended(self, parent: Scope, child: Scope) -> None:
        """Note that a task is over."""
        child.over = True
        self._leaves.pop(child, None)
        parent.live -= 1
        if parent.live == 0 and not parent.over:
            self._leaves[parent] = None
        self.stir()

    def stir(self) -> None:
        """Note that something has happened in the run."""
        self._quiet_since = self._run.clock.monotonic()

    # What they wait for

    def block(self, scope: Scope, wait: WaitRecord, seconds: float) -> None:
        """Note that a scope waits from now on, and for how long the process stays for that."""
        until = self._run.clock.monotonic() + seconds
        self._blocks[wait.position] = Block(scope, wait, until)

    def unblock(self, position: str) -> None:
        """Note that a scope waits no longer."""
        self._blocks.pop(position, None)

    def patience(self, position: str) -> float:
        """Return for how many more seconds the process stays for a wait; 0 or less if it does not."""
        return self._blocks[position].until - self._run.clock.monotonic()

    def may_park(self, scope: Scope) -> bool:
        """Whether a wait of this scope is all that its run is doing."""
        run = self._run
        return scope is run.root and scope.live == 0 and not run.in_flight and not run.outstanding

    def is_blocked(self) -> bool:
        run = self._run
        if run.in_flight or run.outstanding:
            return False
        waiting = {block.scope for block in self._blocks.values()}
        return all(leaf in waiting for leaf in list(self._leaves))

    # Parking, coming back, leaving

    def outcome(self, waits: tuple[WaitRecord, ...]) -> Outcome:
        """Return what gives the execution back until one of these waits is over."""
        return Outcome(
            status=ExecutionStatus.WAITING,
            reason=reason_of(waits),
            waits_for=tuple(wait.position for wait in waits),
        )

    def let_go(self) -> None:
        """Stop renewing the lease, because the next commit gives it back."""
        self._run.services.leases.let_go(self._run)

    def parked(self) -> None:
        """Note that the execution has been given back."""
        self.is_parked = True
        if self._run.limit is not None:
            self._run.limit.reschedule(None)

    def reclaim(self) -> bool:
        """Take the execution back if it may go on; return whether this run has it now.

        A store that cannot be reached is no reason for the flow to hear of it: whoever waits looks again.
        """
        # Two may come for it: the wait itself and, while it is still in here, the cancellation of the wait.
        with self._coming_back:
            if not self.is_parked:
                return True
            if self._is_over:
                return False
            try:
                return self._reclaim()
            except KitaruBackendError:
                logger.warning("execution %s cannot be looked at", self._run.exec_id, exc_info=True)
                return False

    def _reclaim(self) -> bool:
        run = self._run
        claimed = run.services.leases.take(run.exec_id)
        if claimed is None:
            status = run.services.store.get_execution(run.exec_id).status
            if status is ExecutionStatus.CANCELLED:
                run.request_cancel()
            elif status is not ExecutionStatus.WAITING:
                # Someone else was faster, and goes on with it.
                run.stop(Suspend("continued elsewhere"))
            return False
        execution, trusted_until = claimed
        fault("wait.after_claim")
        if execution.epoch != run.epoch + 1:
            # This process slept through a claim of someone else, who has recorded what this stack knows
            # nothing of. The flow is to run anew, over the record.
            self._give_back(execution)
            run.stop(Suspend("continued elsewhere"))
            return False
        run.reenter(execution, trusted_until)
        self.is_parked = False
        return True

    def _give_back(self, execution: ExecutionRecord) -> None:
        outcome = Outcome(
            status=ExecutionStatus.PENDING,
            reason="released",
            runnable_at=self._run.clock.now(),
        )
        entry = JournalEntry(exec_id=execution.id, epoch=execution.epoch, outcome=outcome)
        self._run.services.writer.write(entry)

    def withdraw(self, wait: WaitRecord) -> bool:
        """Take back a question that the flow has stopped waiting for; return whether the run goes on.

        The flow's own timeout, say. The execution is `waiting`, which only the end of a wait changes.
        """
        with self._coming_back:
            if not self.is_parked:
                return True
        said = Resolution(status=WaitStatus.ABORTED, answer=None, by=current_user(), via="its flow")
        with contextlib.suppress(KitaruStateError):  # it is over: the flow decided without knowing
            self._run.services.store.resolve_wait(
                wait.exec_id, wait.position, said, now=self._run.clock.now()
            )
        if self.reclaim():
            return True
        self._run.stop(Suspend("suspended"))
        return False

    def leave(self) -> None:
        """Make the run stop if nobody has answered in time and nothing else goes on in it."""
        if self.is_parked:
            self._run.stop(Suspend("suspended"))
            return
        now = self._run.clock.monotonic()
        if now - self._quiet_since < _QUIET_SECONDS or not self.is_blocked():
            return
        if all(block.until <= now for block in self._blocks.values()):
            self.left_for = tuple(block.wait for block in self._blocks.values())
            self._run.stop(Suspend("suspended"))

    def end(self, error: BaseException | None) -> Outcome | None:
        """Return the outcome of a run that was stopped while it was parked; None if it was not.

        It is not to be committed: the execution was given back when the run parked.
        """
        with self._coming_back:
            if not self.is_parked:
                return None
            self._is_over = True
        signal = (error and find_signal(error)) or self._run.signal
        if isinstance(signal, CancelRequested):
            return Outcome(
                status=ExecutionStatus.CANCELLED,
                reason="cancelled",
                ended_at=self._run.clock.now(),
            )
        return self.outcome(tuple(block.wait for block in self._blocks.values()))


def reason_of(waits: tuple[WaitRecord, ...]) -> str:
    """Return in a few words what an execution waits for."""
    return "waiting for " + ", ".join(repr(wait.wait_id) for wait in waits[:3])
