"""Calls on their way from the flow to a driver: made here, run in place, or submitted to run beside it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from kitaru import logs
from kitaru.engine.calls import ActiveCall, Call, CheckpointSpec
from kitaru.engine.context import current_call
from kitaru.engine.drive import adrive, drive
from kitaru.engine.futures import CheckpointFuture, find_futures, with_values
from kitaru.engine.loops import run_on_own_loop
from kitaru.engine.protocol import run_call, settle
from kitaru.errors import KitaruUsageError

if TYPE_CHECKING:
    from kitaru.engine.scope import Scope

UserValue = Any
Futures = list[CheckpointFuture[Any]]


def open_call(
    scope: Scope,
    spec: CheckpointSpec,
    *,
    arguments: Mapping[str, UserValue],
    args: tuple[UserValue, ...],
    kwargs: Mapping[str, UserValue],
    label: str | None = None,
    after: object = None,
) -> tuple[Call, Futures]:
    """Count a call where it is made, and return it with the futures that it must wait for."""
    run = scope.run
    run.check()
    waits_for: Futures = []
    if run.futures_exist:
        for value in (*args, *kwargs.values()):
            find_futures(value, waits_for)
    if after is not None:
        waits_for.extend(_futures_of(after))
    if label is not None:
        run.journal.take_call_id(label)
    call = Call(
        spec=spec,
        scope=scope,
        arguments=arguments,
        args=args,
        kwargs=kwargs,
        label=label,
        ordinal=scope.next_ordinal(label or spec.name),
        ordered=scope.ordered,
        placed=scope.placed,
        upstreams=scope.upstreams(),
        call_id=label or "",
    )
    return call, waits_for


def _futures_of(after: object) -> Futures:
    given = (after,) if isinstance(after, CheckpointFuture) else after  # pyright: ignore[reportUnknownVariableType] - of any result
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        items = cast("Sequence[object]", given)
        members: Futures = [item for item in items if isinstance(item, CheckpointFuture)]
        if len(members) == len(items):
            return members
    message = f"expected `after` to be a future or a sequence of futures, got: {after!r}"
    raise KitaruUsageError(message)


def _with_upstreams(call: Call, futures: Futures) -> None:
    """Put the results of finished futures in a call's arguments, and their calls in its upstreams."""
    if not futures:
        return
    positions = [future.call.position for future in futures]
    call.upstreams = tuple(dict.fromkeys((*call.upstreams, *positions)))
    call.arguments = {name: with_values(value) for name, value in call.arguments.items()}
    call.args = tuple(with_values(value) for value in call.args)
    call.kwargs = {name: with_values(value) for name, value in call.kwargs.items()}


def call_here(call: Call, waits_for: Futures) -> UserValue:
    """Run a call of a sync checkpoint in this thread and return its value."""
    try:
        for future in waits_for:
            future._may_block()  # pyright: ignore[reportPrivateUsage] - same package; the loop must not wait for itself
            future.wait_settled()
        _with_upstreams(call, waits_for)
        settle(call)
        return drive(call.scope.run, run_call(call), _invoke)
    finally:
        if call.position:
            call.scope.returned(call.position, call.upstreams)


async def acall_here(call: Call, waits_for: Futures) -> UserValue:
    """Run a call of an async checkpoint in this task and return its value."""
    try:
        await _await_all(waits_for)
        _with_upstreams(call, waits_for)
        settle(call)
        return await adrive(call.scope.run, run_call(call), _ainvoke)
    finally:
        if call.position:
            call.scope.returned(call.position, call.upstreams)


async def _await_all(futures: Futures) -> None:
    for future in futures:
        if not future.is_settled:
            await asyncio.wait((asyncio.wrap_future(future),))


def _invoke(active: ActiveCall) -> UserValue:
    call = active.call
    in_flight = call.scope.run.in_flight
    capture = call.scope.run.services.capture
    in_flight[call.position] = active
    call_token = current_call.set(active)
    target = logs.LogTarget(call.scope.run.exec_id, call.position, active.attempt)
    log_token = logs.target.set(target)
    try:
        value = call.spec.function(*call.args, **call.kwargs)
    finally:
        capture.finish(target)
        logs.target.reset(log_token)
        current_call.reset(call_token)
        in_flight.pop(call.position, None)
    if active.deadline is not None:
        now = call.scope.run.clock.monotonic()
        if now > active.deadline:
            raise active.timed_out(now)
    return value


async def _ainvoke(active: ActiveCall) -> UserValue:
    call = active.call
    run = call.scope.run
    capture = run.services.capture
    run.in_flight[call.position] = active
    call_token = current_call.set(active)
    target = logs.LogTarget(call.scope.run.exec_id, call.position, active.attempt)
    log_token = logs.target.set(target)
    try:
        if call.spec.timeout is None:
            return await call.spec.function(*call.args, **call.kwargs)
        limit = asyncio.timeout(call.spec.timeout)
        try:
            async with limit:
                return await call.spec.function(*call.args, **call.kwargs)
        except TimeoutError:
            if limit.expired():
                raise active.timed_out(run.clock.monotonic()) from None
            raise
    finally:
        capture.finish(target)
        logs.target.reset(log_token)
        current_call.reset(call_token)
        run.in_flight.pop(call.position, None)


class Limiter:
    """Lets at most so many calls of one `.map()` run at once."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()

    def enter(self, start: Callable[[], None]) -> bool:
        """Return whether a call may start now; if not, `start` is kept for later."""
        with self._lock:
            if self._free == 0:
                self._waiting.append(start)
                return False
            self._free -= 1
            return True

    def leave(self) -> Callable[[], None] | None:
        """Note that a call is over, and return what starts the next one, if one waits."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None


def submit(call: Call, waits_for: Futures, limiter: Limiter | None = None) -> CheckpointFuture[Any]:
    """Run a call beside the flow and return its future result."""
    scope, run = call.scope, call.scope.run
    future: CheckpointFuture[Any] = CheckpointFuture()
    future.call = call
    if not waits_for:
        settle(call)
    scope.submitted(future)
    if call.match is not None and call.match.record is not None:
        # Recorded: the value is there at once, without a thread.
        run.futures_exist = True
        _resolve(future, lambda: drive(run, run_call(call), _invoke))
        return future
    run.submitted(future)
    context = contextvars.copy_context()
    if call.spec.is_async and run.loop is not None:
        loop = run.loop
        scope.unorder_after_yield()

        def start() -> None:
            task = _asubmitted(call, waits_for)
            loop.call_soon_threadsafe(_start_task, future, task, limiter, context=context)

        if limiter is None or limiter.enter(start):
            start()
        return future

    def job() -> None:
        context.run(_run_job, future, waits_for)

    if limiter is None:
        run.pool().put(job)
    elif limiter.enter(job):
        run.pool().put(lambda: _run_all(job, limiter))
    return future


def _run_all(job: Callable[[], None] | None, limiter: Limiter) -> None:
    """Run a call and then, in the same thread, those that waited for it to be over."""
    while job is not None:
        job()
        job = limiter.leave()


def _run_job(future: CheckpointFuture[Any], waits_for: Futures) -> None:
    call = future.call
    run = call.scope.run

    def compute() -> UserValue:
        for other in waits_for:
            other.wait_settled()
        _with_upstreams(call, waits_for)
        if call.match is None:
            settle(call)
        if call.spec.is_async:
            return run_on_own_loop(_adopted(call))
        return drive(run, run_call(call), _invoke)

    if future.set_running_or_notify_cancel():
        _resolve(future, compute)


async def _adopted(call: Call) -> UserValue:
    """Drive a call on a loop of its own, to be cancelled when the run must stop."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - coroutines run in tasks
    call.scope.run.adopt(task)
    return await adrive(call.scope.run, run_call(call), _ainvoke)


async def _asubmitted(call: Call, waits_for: Futures) -> UserValue:
    # First what it depends on: holding one of the run's places meanwhile could keep that from running.
    await _await_all(waits_for)
    async with call.scope.run.submissions():
        _with_upstreams(call, waits_for)
        if call.match is None:
            settle(call)
        return await adrive(call.scope.run, run_call(call), _ainvoke)


def _start_task(
    future: CheckpointFuture[Any],
    coroutine: Coroutine[Any, Any, UserValue],
    limiter: Limiter | None,
) -> None:
    if not future.set_running_or_notify_cancel():
        coroutine.close()
        if limiter is not None and (following := limiter.leave()) is not None:
            following()
        return
    # Made by hand, past the loop's task factory: the body's task is no scope of the flow's.
    task = asyncio.Task(coroutine, loop=asyncio.get_running_loop())
    future.call.scope.run.adopt(task)

    def done(task: asyncio.Task[Any]) -> None:
        if limiter is not None and (following := limiter.leave()) is not None:
            following()
        _resolve(future, task.result)

    task.add_done_callback(done)


def _resolve(future: CheckpointFuture[Any], compute: Callable[[], UserValue]) -> None:
    try:
        value = compute()
    except BaseException as error:  # noqa: BLE001 - raised again where the result is taken
        if isinstance(error, asyncio.CancelledError) and (signal := future.call.scope.run.signal):
            error = signal
        future.set_exception(error)
    else:
        future.set_result(value)
