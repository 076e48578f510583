"""Continue what was interrupted, and run what is pending, in this process."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kitaru import settings
from kitaru.attendant.presence import dead_owner_of, facts_of_runner, list_present, why_lost
from kitaru.engine.journal import OnDivergence
from kitaru.engine.owner import Owner
from kitaru.engine.runner import FlowCode, bind_inputs
from kitaru.errors import (
    KitaruStateError,
    KitaruTimeoutError,
    KitaruUsageError,
)
from kitaru.faults import fault
from kitaru.fleet import RunnerFacts
from kitaru.model import ExecutionFilter, ExecutionRecord, ExecutionStatus
from kitaru.transitions import refuse
from kitaru.worker.cancelling import cancel
from kitaru.worker.loading import load_flow
from kitaru.worker.local import LocalRun, LocalRunner, claim_here, retry_here
from kitaru.worker.runners import all_runners, local_runner

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.settings import Settings

logger = logging.getLogger(__name__)

_PAGE = 200
# How often a run of another process is looked at, in seconds.
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Interrupted:
    """An execution that nobody runs although it is not over.

    Attributes:
        reason: Why, in plain words, such as "its process 4711 on this machine is gone".
    """

    execution: ExecutionRecord
    reason: str


def runner_of_execution(execution: ExecutionRecord, now: int) -> RunnerFacts:
    """Return what is known at a moment of the process that has claimed a running execution."""
    facts = facts_of_runner(execution, now=now)
    runs_here = any(runner.find(execution.id) is not None for runner in all_runners())
    return replace(facts, lost=None) if runs_here else facts


def find_interrupted(runner: LocalRunner | None = None) -> list[Interrupted]:
    """Return the executions that have lost their runner, oldest first."""
    runner = runner or _default_runner()
    now = runner.services.clock.now()
    found: list[Interrupted] = []
    for execution in runner.store.list_running():
        if runner.find(execution.id) is not None:
            continue
        if (reason := why_lost(execution, now=now)) is not None:
            found.append(Interrupted(execution, reason))
    return found


def recover(
    exec_ids: Sequence[str] | None = None,
    *,
    on_divergence: str | None = None,
    where: Settings | None = None,
) -> list[ExecutionRecord]:
    """Continue interrupted executions in this process, in the background.

    An execution is interrupted if its runner is gone, or if it was given back and is pending.

    Args:
        exec_ids: These; None means all of the present project. Of all, those whose source cannot be
            had here are left as they are, with a warning, unless there are no others.
        on_divergence: What to do this time with records that contradict the flow.
        where: The settings whose store this is about, if not the present ones.

    Returns:
        The executions that this process continues now.

    Raises:
        KitaruNotFoundError: An execution or its source file does not exist; it stays recoverable.
        KitaruStateError: One of `exec_ids` is finished, or its runner is alive.
        KitaruDivergenceError: Its inputs do not fit the flow's signature any more.
    """
    runner = _default_runner(where)
    policy = _policy(on_divergence)
    store, clock = runner.store, runner.services.clock
    lost = [entry.execution for entry in find_interrupted(runner)]
    if exec_ids is not None:
        wanted = {exec_id: _recoverable(runner, exec_id, lost) for exec_id in exec_ids}
        # The code is looked up first: without it nothing is touched.
        for execution in wanted.values():
            _load_code(runner, execution)
    else:
        lost = [e for e in lost if e.project == runner.settings.project]
        wanted = _having_code(runner, [*lost, *_all_pending(runner)])
    lost = [execution for execution in lost if execution.id in wanted]
    fault("recovery.before_reap")
    if lost:
        owners = {execution.lease_owner for execution in lost if execution.lease_owner}
        dead = [owner for owner in owners if (o := Owner.parse(owner)) is not None and o.is_dead()]
        store.reap(now=clock.now(), dead_owners=dead, exec_ids=[e.id for e in lost])
    fault("recovery.after_reap")
    # Oldest first, so that a parent starts before the children that it will ask for.
    oldest_first = sorted(
        wanted.values(), key=lambda execution: (execution.created_at, execution.id)
    )
    continued: list[ExecutionRecord] = []
    for execution in oldest_first:
        present = store.get_execution(execution.id)
        local = continue_here(runner, present, on_divergence=policy)
        if local is not None:
            continued.append(local.run.execution)
    return continued


def continue_here(
    runner: LocalRunner, execution: ExecutionRecord, *, on_divergence: OnDivergence | None = None
) -> LocalRun | None:
    """Run a pending execution in this process; None if it is not pending or someone was faster."""
    if execution.status is not ExecutionStatus.PENDING:
        return None
    code = _load_code(runner, execution)
    claimed = claim_here(runner, execution.id)
    if claimed is None:
        return None
    fault("recovery.after_claim")
    return runner.start(claimed[0], code, claimed[1], on_divergence=on_divergence)


def adopt(runner: LocalRunner, execution: ExecutionRecord) -> LocalRun | None:
    """Run an execution here if nobody does: it is pending, or its runner is gone.

    For a child whose parent is being recovered, and for a run asked for again under its idempotency key.
    """
    local = runner.find(execution.id)
    if local is not None:
        return local
    if execution.status is ExecutionStatus.RUNNING:
        now = runner.services.clock.now()
        if why_lost(execution, now=now) is None:
            return None
        runner.store.reap(now=now, dead_owners=dead_owner_of(execution), exec_ids=[execution.id])
        execution = runner.store.get_execution(execution.id)
    return continue_here(runner, execution)


def retry_execution(
    exec_id: str, *, on_divergence: str | None = None, where: Settings | None = None
) -> ExecutionRecord:
    """Run a failed execution again in this process, in the background, over its recorded calls.

    `where` has the settings whose store this is about, if not the present ones.

    Raises:
        KitaruStateError: It is not failed.
        KitaruNotFoundError: It or its source file does not exist.
        KitaruDivergenceError: Its inputs do not fit the flow's signature any more; it stays failed.
    """
    runner = _default_runner(where)
    policy = _policy(on_divergence)
    execution = runner.store.get_execution(exec_id)
    if execution.status is not ExecutionStatus.FAILED:
        refuse("retried", exec_id, execution.status, "failed")
    code = _load_code(runner, execution)
    claimed = retry_here(runner, exec_id)
    if claimed is None:
        return runner.store.get_execution(exec_id)
    execution, trusted_until = claimed
    runner.start(execution, code, trusted_until, on_divergence=policy)
    return execution


def cancel_execution(exec_id: str, *, where: Settings | None = None) -> ExecutionRecord:
    """Ask for an execution and its children to be cancelled, wherever they run.

    `where` has the settings whose store this is about, if not the present ones.

    Raises:
        KitaruStateError: It is over.
        KitaruNotFoundError: There is no such execution.
    """
    return cancel(_default_runner(where), exec_id)


def start(flow: Flow[..., Any], arguments: Mapping[str, Any], **options: Any) -> str:
    """Start a flow with arguments by name, as `.run()` does, and return the execution's id."""
    return flow.run(**arguments, **options).exec_id


def start_detached(
    flow: Flow[..., Any], arguments: Mapping[str, Any], **options: Any
) -> tuple[str, bool]:
    """Create an execution of a flow that others run; return its id, and whether it is new.

    A worker takes it up, or an attendant has it run; see that somebody is there with `continue_detached`.
    """
    from kitaru.authoring.submission import submit_detached

    created = submit_detached(flow, arguments, options)
    assert created.execution is not None  # noqa: S101 - a NewExecution without a parent has a row
    return created.execution.id, created.created


def wait_for(exec_id: str, timeout: float | None = None) -> ExecutionRecord:
    """Wait until an execution is over or has left this process, and return its row.

    A failure that is returned here counts as seen.

    Raises:
        KitaruTimeoutError: It was still going on after `timeout` seconds; it is left alone.
        KeyboardInterrupt: Ctrl-C stopped it; it can be continued.
        BaseException: What kept its runner from having an outcome.
    """
    import time

    from kitaru.worker import interrupt

    runner = _default_runner()
    began = time.monotonic()
    while True:
        local = runner.find(exec_id)
        remaining = None if timeout is None else timeout - (time.monotonic() - began)
        if local is not None:
            local.observation.observe()
            try:
                local.finished.result(remaining)
            except TimeoutError as error:
                if local.finished.done():
                    raise
                elapsed = time.monotonic() - began
                raise KitaruTimeoutError(exec_id, timeout or 0.0, elapsed, "running") from error
            if interrupt.was_interrupted():
                raise KeyboardInterrupt
        execution = runner.store.get_execution(exec_id)
        if execution.status.is_finished or (local is not None and runner.find(exec_id) is None):
            return execution
        if remaining is not None and remaining <= 0:
            elapsed = time.monotonic() - began
            raise KitaruTimeoutError(exec_id, timeout or 0.0, elapsed, execution.status.value)
        time.sleep(_POLL_SECONDS if remaining is None else min(_POLL_SECONDS, remaining))


def is_running_here(exec_id: str) -> bool:
    """Whether a run of an execution is in flight in this process, parked or not."""
    return _default_runner().find(exec_id) is not None


def _load_code(runner: LocalRunner, execution: ExecutionRecord) -> FlowCode:
    """Return the code of an execution, which is known to fit its inputs."""
    code = load_flow(execution).code
    bind_inputs(code, execution, runner.services.values)
    return code


def _having_code(
    runner: LocalRunner, executions: Sequence[ExecutionRecord]
) -> dict[str, ExecutionRecord]:
    found: dict[str, ExecutionRecord] = {}
    missing: Exception | None = None
    for execution in executions:
        try:
            _load_code(runner, execution)
        except Exception as error:  # noqa: BLE001 - a script may fail in any way when it is loaded
            logger.warning("execution %s is left as it is: %s", execution.id, error)
            missing = missing or error
        else:
            found[execution.id] = execution
    if missing is not None and not found:
        raise missing
    return found


def _recoverable(
    runner: LocalRunner, exec_id: str, lost: Sequence[ExecutionRecord]
) -> ExecutionRecord:
    execution = runner.store.get_execution(exec_id)
    if execution.status.is_finished:
        refuse("recovered", exec_id, execution.status, "interrupted")
    if execution.status is ExecutionStatus.WAITING:
        from kitaru.worker.resuming import still_waiting

        raise still_waiting(runner, exec_id)
    if execution.status is ExecutionStatus.RUNNING and all(e.id != exec_id for e in lost):
        owner = Owner.parse(execution.lease_owner or "")
        where = f"process {owner.pid}" if owner is not None else "its runner"
        message = f"execution {exec_id!r} is running: {where} is alive and holds its lease."
        raise KitaruStateError(message)
    return execution


def _all_pending(runner: LocalRunner) -> list[ExecutionRecord]:
    where = ExecutionFilter(project=runner.settings.project, status=ExecutionStatus.PENDING)
    workers = [one.record for one in list_present(runner.store, now=runner.services.clock.now())]
    found: list[ExecutionRecord] = []
    before: tuple[int, str] | None = None
    while page := runner.store.list_executions(where, limit=_PAGE, before=before):
        # What is in a worker's queue interrupts nobody.
        found.extend(
            execution
            for execution in page
            if execution.held_at is not None or not any(one.serves(execution) for one in workers)
        )
        before = (page[-1].created_at, page[-1].id)
    return found


def _policy(on_divergence: str | None) -> OnDivergence | None:
    if on_divergence is None:
        return None
    try:
        return OnDivergence(on_divergence)
    except ValueError:
        choices = ", ".join(repr(choice.value) for choice in OnDivergence)
        message = f"expected `on_divergence` to be one of {choices}, got: {on_divergence!r}"
        raise KitaruUsageError(message) from None


def _default_runner(where: Settings | None = None) -> LocalRunner:
    return local_runner(where or settings.current())
