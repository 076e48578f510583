"""From one claimed execution to its outcome.

`run_execution` is a protocol like `run_call`: it reads the journal, has the flow's function invoked, and
commits what became of it. Whatever the flow raises is an outcome; only the runner's own signals and a
store out of reach are not.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kitaru import logs
from kitaru.engine.context import current_scope
from kitaru.engine.drive import adrive, drive
from kitaru.engine.failure import causes, find_signal, inputs_error, record_failure
from kitaru.engine.journal import OnDivergence
from kitaru.engine.protocol import Fetch, Invoke, Join, Steps
from kitaru.engine.recorder import Commit
from kitaru.engine.reopen import reopen_failed
from kitaru.engine.replay import load_replay
from kitaru.engine.run import Run
from kitaru.engine.scope import install_task_factory, remove_task_factory
from kitaru.engine.values import UserValue, Values
from kitaru.errors import (
    CancelRequested,
    KitaruTimeoutError,
    LeaseLost,
    RunnerSignal,
    Suspend,
)
from kitaru.faults import fault
from kitaru.model import (
    CallKind,
    CallRecord,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    Outcome,
    WaitKind,
    WaitRecord,
)

logger = logging.getLogger(__name__)

# For events on their way into the store; nothing but their order depends on it.
_PATIENCE_SECONDS = 0.5
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCode:
    """A flow's function, as a runner needs it.

    Attributes:
        code_hash: Of the source as it is now; the execution's own says how it was.
        on_divergence: What the flow says about records that contradict its calls.
    """

    function: Callable[..., Any]
    signature: inspect.Signature
    is_async: bool
    code_hash: str
    on_divergence: OnDivergence


def run_in_thread(run: Run, code: FlowCode, on_divergence: OnDivergence | None = None) -> Outcome:
    """Run a sync flow in this thread to its outcome.

    Raises:
        LeaseLost: Another runner has the execution; nothing of the outcome was recorded.
        KitaruBackendError: The store is out of reach; the execution stays recoverable.
    """

    def invoke(_: object) -> UserValue:
        run.flow_thread = threading.get_ident()
        token = current_scope.set(run.root)
        target = logs.LogTarget(run.exec_id, "", 1)
        log_token = logs.target.set(target)
        try:
            return code.function(*bound.args, **bound.kwargs)
        finally:
            run.services.capture.finish(target)
            logs.target.reset(log_token)
            current_scope.reset(token)

    bound = bind_inputs(code, run.execution, run.services.values)
    with _held(run):
        return drive(run, run_execution(run, code, on_divergence), invoke)


async def run_on_loop(
    run: Run, code: FlowCode, on_divergence: OnDivergence | None = None
) -> Outcome:
    """Run an async flow on this loop to its outcome; raises as `run_in_thread` does."""
    loop = asyncio.get_running_loop()

    async def invoke(_: object) -> UserValue:
        token = current_scope.set(run.root)
        target = logs.LogTarget(run.exec_id, "", 1)
        log_token = logs.target.set(target)
        run.loop = loop
        run.runner_task = asyncio.current_task()
        install_task_factory(loop)
        limit = run.limit = asyncio.timeout(run.remaining_seconds)
        try:
            flow_task = asyncio.Task(_without_exit(code.function, bound), loop=loop)
            run.adopt(flow_task)
            async with limit:
                value, exited = await flow_task
            if exited is not None:
                raise exited
            return value
        except asyncio.CancelledError:
            if run.signal is None and _cancelled_from_outside():
                # The loop is being shut down under the flow, which can go on elsewhere.
                run.is_homeless = True
                run.release()
            if run.signal is not None:
                run.signal_raised = True
                raise run.signal from None
            raise
        except TimeoutError:
            if limit.expired():
                raise run.timed_out() from None
            raise
        finally:
            remove_task_factory(loop)
            run.services.capture.finish(target)
            logs.target.reset(log_token)
            current_scope.reset(token)

    bound = bind_inputs(code, run.execution, run.services.values)
    with _held(run):
        return await adrive(run, run_execution(run, code, on_divergence), invoke)


async def _without_exit(
    function: Callable[..., Any], bound: inspect.BoundArguments
) -> tuple[UserValue, KeyboardInterrupt | SystemExit | None]:
    # A task that raises one of these ends the whole loop, with everything else that runs on it. A flow
    # that does so has failed, as a sync one has.
    try:
        return await function(*bound.args, **bound.kwargs), None
    except (KeyboardInterrupt, SystemExit) as error:
        return None, error


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def bind_inputs(
    code: FlowCode, execution: ExecutionRecord, values: Values
) -> inspect.BoundArguments:
    """Return an execution's recorded inputs as arguments for the flow's function as it is now.

    A parameter that has come since gets its default.

    Raises:
        KitaruDivergenceError: The function takes other parameters now; they are named.
        KitaruSerializationError: The inputs cannot be read here.
    """
    inputs: Mapping[str, UserValue] = values.load(execution.inputs)
    parameters = code.signature.parameters
    gone = [name for name in inputs if name not in parameters]
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in inputs
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in _VARIADIC
    ]
    if gone or missing:
        raise inputs_error(execution, gone, missing)
    bound = inspect.BoundArguments(code.signature, OrderedDict(inputs))
    bound.apply_defaults()
    return bound


class _held:  # noqa: N801 - a context manager, read as a word
    """Close what a run has open when it is over, however it ends."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __enter__(self) -> None:
        self._run.services.capture.start(self._run.exec_id)

    def __exit__(self, *_: object) -> None:
        self._run.services.capture.stop(self._run.exec_id)
        self._run.services.feed.forget_run(self._run.exec_id)
        self._run.close()


def run_execution(run: Run, code: FlowCode, on_divergence: OnDivergence | None) -> Steps:
    """Return the outcome of a claimed execution, once it is durable.

    Durability: the outcome is one commit. A crash before it leaves the execution to be recovered, and
    the flow to run again over its recorded calls.
    """
    if run.epoch > 1 or run.execution.origin_id is not None:
        yield Fetch(lambda: _load_journal(run, code, on_divergence))
    try:
        value = yield Invoke(None)  # pyright: ignore[reportArgumentType] - the flow itself, not a call
        if run.outstanding:
            yield Join(tuple(run.outstanding))
        outcome = yield from _completed(run, value)
    except BaseException as error:
        if run.recorder.store_error is not None:
            # Nothing more can be recorded, least of all a failure. The execution stays recoverable.
            raise run.recorder.store_error from error
        if (parked := run.parking.end(error)) is not None:
            return parked
        outcome = _outcome_of(run, error)
    if outcome.status is ExecutionStatus.FAILED and _may_try_again(run):
        outcome = yield Fetch(lambda: _try_again(run, outcome))
    events = yield from _last_events(run)
    fault("outcome.before_commit")
    run.ending = True
    yield Commit(outcome=outcome, waits=_child_waits(run, outcome), events=events)
    fault("outcome.after_commit")
    return outcome


def _last_events(run: Run) -> Steps:
    """Return what the run has told and nobody has stored, to go along with its outcome."""
    feed = run.services.feed
    events = feed.take(run.exec_id)
    if events is None:
        # What is on its way comes first, unless the store is too slow for that.
        yield Fetch(lambda: feed.wait_stored(run.exec_id, _PATIENCE_SECONDS))
        events = feed.take(run.exec_id)
    return events or ()


def _child_waits(run: Run, outcome: Outcome) -> tuple[WaitRecord, ...]:
    """Return the rows that go along with a suspension: questions and timers have theirs already."""
    if outcome.status is not ExecutionStatus.WAITING:
        return ()
    return tuple(wait for wait in run.parking.left_for if wait.kind is WaitKind.CHILD)


def _load_journal(run: Run, code: FlowCode, on_divergence: OnDivergence | None) -> None:
    store = run.services.store
    records: list[CallRecord] = store.list_calls(run.exec_id)
    if any(not record.status.is_recorded for record in records):
        for attempt in store.list_attempts(run.exec_id):
            run.recorded_attempts.setdefault(attempt.position, []).append(attempt)
    run.replay = load_replay(run.services, run.execution, code.code_hash)
    has_waits = any(record.kind in {CallKind.WAIT, CallKind.TIMER} for record in records)
    run.load_journal(
        records,
        store.list_waits(run.exec_id) if has_waits else [],
        on_divergence=on_divergence or code.on_divergence,
        code_changed=code.code_hash != run.execution.code_hash,
    )


def _completed(run: Run, value: UserValue) -> Steps:
    if run.signal_raised and run.signal is not None:
        # The flow swallowed the signal (`except:`) and returned all the same.
        raise run.signal
    if run.recorder.store_error is not None:
        raise run.recorder.store_error
    if run.divergence is not None:
        raise run.divergence
    encoded = run.services.values.encode(value, root="result")
    result = yield Fetch(lambda: run.services.values.keep(encoded))
    for record in run.journal.unasked():
        payload = {"call_id": record.call_id, "checkpoint": record.name, "action": "unasked"}
        run.recorder.keep_event("divergence", record.position, payload)
    return Outcome(status=ExecutionStatus.COMPLETED, result=result, ended_at=run.clock.now())


def _may_try_again(run: Run) -> bool:
    # A contradiction between code and record does not go away by itself.
    return run.execution.retries_left > 0 and run.divergence is None


def _try_again(run: Run, failed: Outcome) -> Outcome:
    """Return the outcome that has a failed flow run again, over the calls that did not fail."""
    reopen = reopen_failed(run.services, run.exec_id, failed.failure)
    now = run.clock.now()
    return Outcome(
        status=ExecutionStatus.PENDING,
        failure=failed.failure,
        reason="retrying",
        runnable_at=now,
        held_at=now if run.is_held else None,
        reopen=tuple(reopen),
    )


def _outcome_of(run: Run, error: BaseException) -> Outcome:
    signal: RunnerSignal | None = find_signal(error)
    if signal is None and run.signal_raised:
        signal = run.signal
    if signal is None and isinstance(error, asyncio.CancelledError):
        signal = run.signal
    match signal:
        case LeaseLost():
            raise signal
        case CancelRequested():
            return Outcome(
                status=ExecutionStatus.CANCELLED, reason="cancelled", ended_at=run.clock.now()
            )
        case Suspend() if run.parking.left_for:
            return run.parking.outcome(run.parking.left_for)
        case Suspend():
            now = run.clock.now()
            return Outcome(
                status=ExecutionStatus.PENDING,
                reason="stopped by hand" if run.is_held else "released",
                runnable_at=now,
                held_at=now if run.is_held else None,
            )
        case _:
            return _failed(run, run.divergence or error)


def _failed(run: Run, error: BaseException) -> Outcome:
    chain = {id(cause) for cause in causes(error)}
    blamed = dict.fromkeys((*run.positions_of(chain), *run.root.unheard))
    failure: FailureRecord = record_failure(error, tuple(blamed))
    timed_out = isinstance(error, KitaruTimeoutError) and error.call_id is None
    reason = "timed out" if timed_out else None
    return Outcome(
        status=ExecutionStatus.FAILED, failure=failure, reason=reason, ended_at=run.clock.now()
    )
