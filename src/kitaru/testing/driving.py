"""Sees an execution and its children through to their ends: answers, lets time jump, continues."""

from __future__ import annotations

import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from kitaru.engine.owner import Owner
from kitaru.errors import KitaruError, KitaruNotFoundError, KitaruTimeoutError
from kitaru.model import ExecutionRecord, ExecutionStatus, WaitKind, WaitRecord, WaitStatus
from kitaru.testing.clock import FakeClock
from kitaru.testing.flows_at_hand import find_flow
from kitaru.worker.loading import look_up_flows
from kitaru.worker.recovery import adopt, continue_here

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.client import KitaruClient
    from kitaru.engine.journal import OnDivergence
    from kitaru.engine.run import Run
    from kitaru.testing.answers import Answers
    from kitaru.worker import LocalRunner

_MOST = 10_000  # executions that are not over
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.02

# A flow that waits for its child looks like one whose own code takes a while. For so long nothing must
# have happened before time jumps, or before a question counts as unanswered.
_QUIET_SECONDS = 0.15
_PATIENT_SECONDS = 1.0


class _Rest(Enum):
    """What an execution that is not over is doing."""

    BUSY = auto()
    SEEMS_TO_WAIT = auto()
    WAITS = auto()


class Driver:
    """Drives the executions of one run.

    Args:
        runner: Where they run.
        client: For answers.
        flow: The flow of the execution; its children's are looked up from there.
        answers: To their questions.
        on_divergence: What to do with records that contradict a flow, when it is entered again.
        timeout: Real seconds that it may all take.
    """

    def __init__(
        self,
        runner: LocalRunner,
        client: KitaruClient,
        flow: Flow[..., Any],
        answers: Answers,
        *,
        on_divergence: OnDivergence | None = None,
        timeout: float,
    ) -> None:
        self._runner = runner
        self._store = runner.store
        self._client = client
        self._flow = flow
        self._answers = answers
        self._on_divergence = on_divergence
        self._timeout = timeout
        self._clock = runner.services.clock

    def answer(self, wait: WaitRecord) -> None:
        """Answer a question if there is an answer; called where it is asked."""
        self._answers.give(self._client, self._store, wait)

    def see_through(self, exec_id: str) -> None:
        """Wait until an execution and its descendants are over, and see to it that they get there.

        Raises:
            KitaruUsageError: A question has no answer, or one that it does not take.
            KitaruTimeoutError: It has taken too long.
        """
        look_up_flows(lambda code_ref: find_flow(self._flow, code_ref))
        try:
            self._see_through(exec_id)
        except BaseException:
            self._cancel(exec_id)
            raise
        finally:
            look_up_flows(None)

    def _see_through(self, exec_id: str) -> None:
        began = changed = time.monotonic()
        pause = _SHORTEST_PAUSE
        before: object = None
        while tree := self._unfinished(exec_id):
            if self._answers.error is not None:
                raise self._answers.error
            waits = self._open_waits(tree)
            for wait in waits:
                self.answer(wait)
            present = self._signs(tree, waits)
            now = time.monotonic()
            if self._continue(tree) or present != before:
                before, changed, pause = present, now, _SHORTEST_PAUSE
            quiet = now - changed
            if self._let_time_jump(tree, waits, quiet):
                before = None
                continue
            if now - began > self._timeout:
                status = tree[0].status.value
                raise KitaruTimeoutError(exec_id, self._timeout, now - began, status)
            self._pause(exec_id, pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _pause(self, exec_id: str, seconds: float) -> None:
        local = self._runner.find(exec_id)
        if local is None:
            time.sleep(seconds)
            return
        try:
            local.finished.exception(seconds)
        except TimeoutError:
            return

    def _unfinished(self, exec_id: str) -> list[ExecutionRecord]:
        """Return what is not over of an execution and its descendants, ancestors first."""
        family = {exec_id}
        found: list[ExecutionRecord] = []
        for execution in self._store.list_unfinished(limit=_MOST):
            if execution.id in family or self._descends(execution, family):
                family.add(execution.id)
                found.append(execution)
        return found

    def _descends(self, execution: ExecutionRecord, family: set[str]) -> bool:
        parent_id = execution.parent_id
        while parent_id is not None:
            if parent_id in family:
                return True
            try:
                parent_id = self._store.get_execution(parent_id).parent_id
            except KitaruNotFoundError:
                return False
        return False

    def _open_waits(self, tree: list[ExecutionRecord]) -> list[WaitRecord]:
        return [
            wait
            for execution in tree
            for wait in self._store.list_waits(execution.id)
            if wait.status is WaitStatus.OPEN
        ]

    def _signs(self, tree: list[ExecutionRecord], waits: list[WaitRecord]) -> object:
        """Return what changes as long as something goes on."""
        runs = [self._find_run(execution) for execution in tree]
        return (
            [(execution.id, execution.status, execution.epoch) for execution in tree],
            [(wait.exec_id, wait.position, wait.problem) for wait in waits],
            [None if run is None else (run.journal.asked, list(run.in_flight)) for run in runs],
        )

    def _find_run(self, execution: ExecutionRecord) -> Run | None:
        local = self._runner.find(execution.id)
        return None if local is None else local.run

    # What goes on by itself, and what must be continued

    def _continue(self, tree: list[ExecutionRecord]) -> bool:
        """Go on with what nobody runs; return whether there was any."""
        found = False
        for execution in tree:
            if self._runner.find(execution.id) is not None:
                continue
            if execution.status is ExecutionStatus.RUNNING and self._has_lost_its_process(
                execution
            ):
                found = adopt(self._runner, execution) is not None or found
            elif execution.status is ExecutionStatus.PENDING and not (
                self._runner.services.watcher.expects(execution.id)
            ):
                found = (
                    continue_here(self._runner, execution, on_divergence=self._on_divergence)
                    is not None
                    or found
                )
        return found

    def _has_lost_its_process(self, execution: ExecutionRecord) -> bool:
        owner = Owner.parse(execution.lease_owner or "")
        return owner is not None and owner.is_dead()

    def _rest_of(self, execution: ExecutionRecord, parents: set[str | None]) -> _Rest:
        if execution.status is ExecutionStatus.WAITING:
            return _Rest.WAITS
        run = self._find_run(execution)
        if execution.status is not ExecutionStatus.RUNNING or run is None:
            return _Rest.BUSY
        if run.in_flight or run.outstanding:
            return _Rest.BUSY
        if run.parking.is_blocked() or execution.id in parents:
            return _Rest.SEEMS_TO_WAIT
        return _Rest.BUSY

    def _let_time_jump(
        self, tree: list[ExecutionRecord], waits: list[WaitRecord], quiet: float
    ) -> bool:
        """Go on to the next moment at which something is due, if all that is left waits.

        Raises:
            KitaruUsageError: Nothing ever is, for want of an answer.
        """
        parents = {execution.parent_id for execution in tree}
        rests = {self._rest_of(execution, parents) for execution in tree}
        seems = _Rest.SEEMS_TO_WAIT in rests
        if _Rest.BUSY in rests or (seems and quiet < _QUIET_SECONDS):
            return False
        due = [wait.wake_at for wait in waits if wait.wake_at is not None]
        if due:
            if not isinstance(self._clock, FakeClock):
                return False
            self._clock.advance_to(min(due))
            self._store.wake_due(now=self._clock.now(), limit=_MOST)
            self._runner.services.watcher.poke()
            return True
        if quiet >= (_PATIENT_SECONDS if seems else _QUIET_SECONDS):
            self._refuse_to_wait(waits)
        return False

    def _refuse_to_wait(self, waits: list[WaitRecord]) -> None:
        for wait in waits:
            if wait.kind is WaitKind.INPUT and self._answers.find_key(wait) is None:
                execution = self._client.executions.get(wait.exec_id)
                question = next(w for w in execution.waits if w.wait_id == wait.wait_id)
                raise self._answers.missing(wait, question)

    def _cancel(self, exec_id: str) -> None:
        """Leave nothing behind that goes on or waits."""
        from kitaru.worker.cancelling import cancel

        try:
            cancel(self._runner, exec_id)
        except KitaruError:  # it is over, or the store is out of reach
            return
        local = self._runner.find(exec_id)
        if local is not None:
            local.observation.observe()
            self._pause(exec_id, _PATIENT_SECONDS)
