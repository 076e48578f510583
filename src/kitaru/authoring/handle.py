"""What `.run()` returns: a way to an execution, wherever it runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kitaru.engine.context import current_call, current_scope
from kitaru.engine.failure import execution_error
from kitaru.engine.owner import current_owner
from kitaru.errors import KitaruContextError, KitaruStateError, KitaruTimeoutError, LeaseLost
from kitaru.model import (
    ExecutionRecord,
    ExecutionStatus,
    Outcome,
    StoredValue,
    WaitKind,
    WaitRecord,
)

if TYPE_CHECKING:
    from kitaru.client.event_reading import ExecutionEvent
    from kitaru.client.models import Execution, LogEntry
    from kitaru.engine.run import Run
    from kitaru.worker.local import LocalRun, LocalRunner

R_co = TypeVar("R_co", covariant=True)

# Looking at a run of another process: quickly at first, then every half second.
_FIRST_POLL_SECONDS = 0.02
_LAST_POLL_SECONDS = 0.5
_SLICE_SECONDS = 0.5


class FlowHandle(Generic[R_co]):
    """One execution: wait for its result, ask for its status, cancel it. Can be awaited."""

    def __init__(
        self,
        exec_id: str,
        runner: LocalRunner,
        local: LocalRun | None,
        *,
        parent: tuple[Run, str] | None = None,
    ) -> None:
        self._exec_id = exec_id
        self._runner = runner
        self._local = local
        # Of a child that its parent's flow has started: the parent, and the position in it.
        self._parent = parent
        if parent is not None:
            parent[0].root.unheard[parent[1]] = None
        if local is not None:
            local.observation.add_watcher(self)

    @property
    def exec_id(self) -> str:
        """The execution's id."""
        return self._exec_id

    @property
    def status(self) -> ExecutionStatus:
        """The execution's status now."""
        row = self._row()
        if row.status.is_finished:
            self._heard()
        return row.status

    @property
    def execution(self) -> Execution:
        """The execution with its checkpoints, artifacts and metadata, as it is now."""
        from kitaru.client import KitaruClient

        return KitaruClient().executions.get(self._exec_id)

    def wait(self, timeout: float | None = None) -> R_co:
        """Return the flow's result, waiting up to `timeout` seconds for it.

        Raises:
            KitaruUserCodeError: The flow failed; `__cause__` is what it raised.
            KitaruExecutionError: It was cancelled, or failed for another reason.
            KitaruTimeoutError: It is not over yet; it goes on.
            KitaruContextError: It runs on the event loop that this would block; `await` the handle.
        """
        self._may_block("`wait()`", "Use `await handle`.")
        began = time.monotonic()
        pause = _FIRST_POLL_SECONDS
        while True:
            remaining = None if timeout is None else timeout - (time.monotonic() - began)
            if (local := self._in_flight()) is not None:
                outcome = self._join(local, remaining)
                if outcome is not None and outcome.status is ExecutionStatus.COMPLETED:
                    return self._load(outcome.result)
            elif (row := self._row()).status.is_finished:
                return self._result(row)
            elif remaining is None or remaining > 0:
                # Who waits with a timeout is still there when it has passed.
                with self._parked_with(row) if timeout is None else contextlib.nullcontext():
                    time.sleep(pause if remaining is None else min(pause, remaining))
                pause = min(pause * 2, _LAST_POLL_SECONDS)
                self._check_own_run()
            if timeout is not None and time.monotonic() - began >= timeout:
                row = self._row()
                if row.status.is_finished:
                    return self._result(row)
                elapsed = time.monotonic() - began
                raise KitaruTimeoutError(self._exec_id, timeout, elapsed, row.status.value)

    def get(self) -> R_co:
        """Return the flow's result if it is there; otherwise as `wait`.

        Raises:
            KitaruStateError: The execution is not over.
        """
        row = self._row()
        if not row.status.is_finished:
            message = (
                f"execution {self._exec_id!r} is still {row.status.value};"
                f" `wait()` waits for its result."
            )
            raise KitaruStateError(message)
        return self._result(row)

    def cancel(self) -> None:
        """Ask for the execution and its children to be cancelled.

        Async code is cancelled where it stands, sync code stops at its next Kitaru call.

        Raises:
            KitaruStateError: The execution is over.
        """
        from kitaru.worker.cancelling import cancel

        cancel(self._runner, self._exec_id)

    def input(self, wait: str, value: object) -> None:
        """Answer an open wait of the execution.

        Args:
            wait: Its name or id.
            value: The answer; it is checked against the wait's schema.

        Raises:
            KitaruWaitValidationError: The answer does not fit; the wait stays open.
            KitaruStateError: There is no such open wait, or someone was faster.
        """
        from kitaru.client import KitaruClient

        KitaruClient().executions.input(self._exec_id, wait=wait, value=value, via="handle")

    def logs(self) -> list[LogEntry]:
        """Return what the execution has printed and logged so far, oldest first."""
        from kitaru.client import KitaruClient

        self._runner.services.capture.flush()
        return KitaruClient().executions.logs(self._exec_id)

    def events(
        self,
        *,
        kinds: Sequence[str] | None = None,
        checkpoint: str | None = None,
        correlation_ids: Sequence[str] | None = None,
        since: str | None = None,
        reconnect: bool = True,
    ) -> Iterator[ExecutionEvent]:
        """Return an iterator over what the execution tells, as `client.executions.events` does.

        Raises:
            KitaruContextError: It runs on the event loop that this would block; iterate in a thread.
        """
        from kitaru.client import KitaruClient

        self._may_block("`events()`", "Iterate in a thread, as with `asyncio.to_thread`.")
        return KitaruClient().executions.events(
            self._exec_id,
            kinds=kinds,
            checkpoint=checkpoint,
            correlation_ids=correlation_ids,
            since=since,
            reconnect=reconnect,
        )

    def __await__(self) -> Generator[Any, None, R_co]:
        return self._await().__await__()

    async def _await(self) -> R_co:
        pause = _FIRST_POLL_SECONDS
        while True:
            if (local := self._in_flight()) is not None:
                # Shielded: who stops waiting does not stop the execution.
                await asyncio.wait((asyncio.wrap_future(local.finished),))
                outcome = self._left(local)
                if outcome is not None and outcome.status is ExecutionStatus.COMPLETED:
                    return self._load(outcome.result)
            elif (row := await asyncio.to_thread(self._row)).status.is_finished:
                return self._result(row)
            else:
                with self._parked_with(row):
                    await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_POLL_SECONDS)
                self._check_own_run()

    def _row(self) -> ExecutionRecord:
        return self._runner.store.get_execution(self._exec_id)

    def _in_flight(self) -> LocalRun | None:
        local = self._runner.find(self._exec_id)
        if local is None and self._local is not None:
            local, self._local = self._local, None
        return local

    def _join(self, local: LocalRun, timeout: float | None) -> Outcome | None:
        """Wait for a run of this process to leave it; None if it has not by then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not local.finished.done():
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                return None
            # In slices: a signal that comes just before a lock is waited for is handled after it.
            with contextlib.suppress(TimeoutError):
                local.finished.exception(
                    _SLICE_SECONDS if remaining is None else min(remaining, _SLICE_SECONDS)
                )
        return self._left(local)

    def _left(self, local: LocalRun) -> Outcome | None:
        """Return how a run of this process ended; None if it goes on elsewhere.

        Raises:
            KeyboardInterrupt: Ctrl-C stopped it.
            BaseException: What kept its runner from having an outcome.
        """
        from kitaru.worker import interrupt

        self._local = None
        local.observation.observe()
        self._check_own_run()
        error = local.finished.exception()
        if isinstance(error, LeaseLost):
            return None
        outcome = local.finished.result()
        if not outcome.status.is_finished and interrupt.was_interrupted():
            raise KeyboardInterrupt
        return outcome

    def _check_own_run(self) -> None:
        """Stop waiting when the flow that waits, if one does, must itself stop."""
        scope = current_scope.get()
        if scope is not None:
            scope.run.check()

    @contextlib.contextmanager
    def _parked_with(self, child: ExecutionRecord) -> Generator[None]:
        """Have the flow that waits for a child leave the process if that waits, and nothing else goes on."""
        scope = current_scope.get()
        is_own = self._parent is not None and scope is not None and scope.run is self._parent[0]
        if not is_own or child.status is not ExecutionStatus.WAITING or current_call.get():
            yield
            return
        assert scope is not None  # noqa: S101 - is_own
        assert self._parent is not None  # noqa: S101 - is_own
        parking, position = scope.run.parking, self._parent[1]
        wait = WaitRecord(
            exec_id=scope.run.exec_id,
            position=position,
            wait_id=position.rpartition("/")[2],
            name=child.flow,
            kind=WaitKind.CHILD,
            child_id=child.id,
            asked_by=str(current_owner()),
            created_at=scope.run.clock.now(),
        )
        parking.block(scope, wait, 0.0)
        try:
            yield
            parking.leave()
        finally:
            parking.unblock(position)

    def _result(self, row: ExecutionRecord) -> R_co:
        if self._local is not None:
            self._local.observation.observe()
        self._heard()
        if row.status is ExecutionStatus.COMPLETED:
            return self._load(row.result)
        error = execution_error(row, allow_pickle=self._runner.services.values.allow_pickle)
        if self._parent is not None:
            run, position = self._parent
            run.call_failed(position, error)
        raise error

    def _heard(self) -> None:
        """Note that the parent knows by now how its child ended."""
        if self._parent is not None:
            run, position = self._parent
            run.root.unheard.pop(position, None)

    def _load(self, result: StoredValue | None) -> R_co:
        assert result is not None  # noqa: S101 - a completed execution has a result, by CHECK
        value: R_co = self._runner.services.values.load(result)
        return value

    def _may_block(self, what: str, instead: str) -> None:
        local = self._runner.find(self._exec_id)
        if local is None or local.run.loop is None:
            return
        try:
            blocked = asyncio.get_running_loop() is local.run.loop
        except RuntimeError:
            return
        if blocked:
            message = (
                f"{what} would block the event loop that execution {self._exec_id!r} runs on."
                f" {instead}"
            )
            raise KitaruContextError(message)

    def __repr__(self) -> str:
        return f"<FlowHandle {self._exec_id}>"
