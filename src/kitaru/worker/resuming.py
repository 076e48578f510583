"""Go on with executions whose answer or moment has come, in this process or in one started for that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from kitaru import settings
from kitaru.attendant.presence import find_workers, list_present
from kitaru.clock import MICROSECONDS, to_datetime
from kitaru.engine.owner import Owner
from kitaru.errors import KitaruStateError
from kitaru.fleet import NO_CODE
from kitaru.model import ExecutionStatus, WaitKind, WaitStatus
from kitaru.stacks import LocalStack
from kitaru.transitions import refuse
from kitaru.worker.loading import load_flow
from kitaru.worker.recovery import adopt, continue_here
from kitaru.worker.runners import all_runners, local_runner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kitaru.model import ExecutionRecord, WaitRecord
    from kitaru.settings import Settings
    from kitaru.worker.local import LocalRunner

# A process that holds the flow's stack takes up an answer within 0.1 s, one that has let it go within 0.3 s.
_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.02
# A worker that looks for code tries it in a process of its own before it loads it.
_LOADING_SECONDS = 3.0
# So long nobody else starts a process for what one was started for.
_LAUNCH_PAUSE = 10 * MICROSECONDS


def resume_execution(exec_id: str, *, where: Settings | None = None) -> ExecutionRecord:
    """Continue an execution here, in the background, that waits for nothing any more.

    `where` has the settings whose store this is about, if not the present ones.

    Raises:
        KitaruStateError: It still waits, it runs, or it is over.
        KitaruNotFoundError: It or its source file does not exist.
        KitaruDivergenceError: Its inputs do not fit the flow's signature any more.
    """
    runner = local_runner(where or settings.current())
    runner.store.wake_due(now=runner.services.clock.now(), limit=100, exec_ids=[exec_id])
    execution = runner.store.get_execution(exec_id)
    if execution.status.is_finished:
        refuse("resumed", exec_id, execution.status, "waiting")
    if execution.status is ExecutionStatus.RUNNING:
        message = (
            f"execution {exec_id!r} is running. If its process is gone, continue it with"
            f" `kitaru executions recover {exec_id}`."
        )
        raise KitaruStateError(message)
    if execution.status is ExecutionStatus.WAITING:
        raise still_waiting(runner, exec_id)
    local = continue_here(runner, execution)
    return runner.store.get_execution(exec_id) if local is None else local.run.execution


def still_waiting(runner: LocalRunner, exec_id: str) -> KitaruStateError:
    """Return the error for an execution that cannot go on, with what would make it."""
    found = [w for w in runner.store.list_waits(exec_id) if w.status is WaitStatus.OPEN]
    told = "; ".join(_told(wait) for wait in found) or "something that is not recorded"
    return KitaruStateError(f"execution {exec_id!r} waits for {told}.")


def _told(wait: WaitRecord) -> str:
    match wait.kind:
        case WaitKind.INPUT:
            return (
                f"an answer to {wait.wait_id!r}: `kitaru executions input {wait.exec_id}"
                f" --wait {wait.wait_id}`"
            )
        case WaitKind.TIMER:
            moment = (
                "later"
                if wait.wake_at is None
                else f"{to_datetime(wait.wake_at):%Y-%m-%d %H:%M:%S} UTC"
            )
            return f"its timer {wait.wait_id!r}, until {moment}"
        case WaitKind.CHILD:
            return f"the execution {wait.child_id!r} that it has started"


def answered(exec_id: str) -> None:
    """Have the runs of this process look for answers at once."""
    for runner in all_runners():
        if runner.find(exec_id) is not None or runner.services.watcher.expects(exec_id):
            runner.services.watcher.poke()


def replay_execution(
    exec_id: str,
    *,
    from_: str | None = None,
    at: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    code: Literal["current", "recorded"] = "current",
    flow_inputs: Mapping[str, Any],
) -> str:
    """Start a replay of an execution in this process, with its flow as it is now; return the new id.

    Raises:
        KitaruNotFoundError: It or its source file does not exist.
        KitaruError: As `Flow.replay` raises.
    """
    runner = local_runner(settings.current())
    flow = load_flow(runner.store.get_execution(exec_id))
    started = flow.replay(
        exec_id,
        from_=from_,
        at=at,
        overrides=overrides,
        code=code,
        **flow_inputs,
    )
    return started.exec_id


def continue_detached(exec_id: str) -> int | None:
    """Have an execution that may go on continued, by a process started for that if nobody else does.

    Returns:
        The new process's id; None if none was needed.
    """
    present = settings.current()
    runner = local_runner(present)
    if not _needs_someone(runner, exec_id):
        return None
    # Fails here, where someone looks, rather than there.
    execution = runner.store.get_execution(exec_id)
    load_flow(execution, from_any_folder=True)
    now = runner.services.clock.now()
    if execution.status is ExecutionStatus.PENDING and not runner.store.reserve_launch(
        exec_id, now=now, pause=_LAUNCH_PAUSE
    ):
        return None
    return LocalStack(present).launch(execution)


def _needs_someone(runner: LocalRunner, exec_id: str) -> bool:
    """Whether nobody takes up an execution that may go on, given a moment if somebody could."""
    execution = runner.store.get_execution(exec_id)
    workers = find_workers(runner.store, execution, now=runner.services.clock.now())
    if workers and execution.held_at is None and execution.status_reason != NO_CODE:
        return False
    asked = {wait.asked_by for wait in runner.store.list_waits(exec_id)}
    owners = [owner for owner in map(Owner.parse, asked) if owner is not None]
    deadline = time.monotonic()
    if not all(owner.is_dead() for owner in owners):
        deadline += _GRACE_SECONDS
    present = list_present(runner.store, now=runner.services.clock.now())
    if execution.held_at is None and any(one.record.may_load(execution) for one in present):
        deadline += _LOADING_SECONDS
    while True:
        execution = runner.store.get_execution(exec_id)
        if execution.status is ExecutionStatus.RUNNING:
            owner = Owner.parse(execution.lease_owner or "")
            return owner is not None and owner.is_dead()
        if execution.status is not ExecutionStatus.PENDING:
            return False
        if time.monotonic() >= deadline:
            return True
        time.sleep(_POLL_SECONDS)


def run_once(exec_id: str) -> ExecutionRecord:
    """Continue one execution here and wait until it is over or has left; then what waited for its end."""
    # It leaves at once when it waits: whoever brings the answer starts the next process.
    runner = local_runner(settings.current(), keeps_stacks=False)
    execution = runner.store.get_execution(exec_id)
    while not runner.is_releasing:  # asked to stop before it has begun
        local = adopt(runner, execution)
        if local is not None:
            local.observation.observe()
            local.finished.exception()
        ended = runner.store.get_execution(execution.id)
        if ended.parent_id is None or local is None:
            return runner.store.get_execution(exec_id)
        execution = runner.store.get_execution(ended.parent_id)
        if execution.status is not ExecutionStatus.PENDING:
            return runner.store.get_execution(exec_id)
    return runner.store.get_execution(exec_id)
