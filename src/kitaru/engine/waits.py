"""The durable semantics of waiting for an answer or a moment, as generators that do no I/O themselves.

A question is durable, with its schema, before anyone is asked. An answer is durable in its own row before
the flow hears of it; the flow's typed value is then recorded as the call's output, so that recovery
returns that very value. A crash in between leaves the answer to be taken up again.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kitaru import schemas
from kitaru.engine.entries import call_record
from kitaru.engine.failure import record_failure
from kitaru.engine.owner import current_owner
from kitaru.engine.protocol import (
    Command,
    Fetch,
    Join,
    Sleep,
    Steps,
    keep_value,
    load_value,
    raise_recorded,
)
from kitaru.engine.recorder import Commit
from kitaru.engine.telling import tell_asked, tell_wait_over
from kitaru.engine.values import UserValue
from kitaru.errors import (
    FailureOrigin,
    KitaruBackendError,
    KitaruExecutionError,
    KitaruWaitAbortedError,
    KitaruWaitExpiredError,
    KitaruWaitValidationError,
    RunnerSignal,
)
from kitaru.faults import fault
from kitaru.model import CallRecord, CallStatus, WaitKind, WaitRecord, WaitStatus

if TYPE_CHECKING:
    from kitaru.engine.calls import Call
    from kitaru.engine.run import Run

SHORT_SLEEP_SECONDS = 60.0
"""Sleeps of up to this long are slept in place; for longer ones the execution leaves the process."""

# A clock that tests advance tells nobody; so a waiting run looks at it this often.
_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What `kitaru.wait` was asked to ask.

    Attributes:
        expected: The type of the answer as it was declared: a type, a JSON Schema, or None for a gate.
        schema: Its JSON Schema as text; None for a gate.
        metadata: JSON text.
        timeout: Seconds for which the process stays for an answer.
        wake_at: When the question expires.
        on_expire: What the flow gets then, if not an exception.
    """

    expected: object
    schema: str | None
    question: str | None
    metadata: str
    timeout: float
    wake_at: int | None
    on_expire: UserValue


def run_wait(call: Call, ask: Ask) -> Steps:
    """Return the answer to a settled call's question, as the declared type.

    Durability: asking is one commit, which also gives the execution back if nothing else goes on in it;
    taking the answer up is another.

    Raises:
        KitaruWaitAbortedError: Someone aborted the wait; on every recovery as well.
        KitaruWaitExpiredError: Nobody answered in time, and there is no value for that.
    """
    run = call.scope.run
    record = call.match.record if call.match is not None else None
    if record is not None and record.status.is_recorded:
        return (yield from _recorded_answer(call, ask, record))
    run.check()
    call.started_at = record.started_at if record is not None else run.clock.now()
    wait = run.waits.pop(call.position, None)
    problem: str | None = None
    while True:
        if problem is not None or wait is None or wait.status in _TO_BE_ASKED:
            is_known = problem is None and wait is not None and wait.status is WaitStatus.OPEN
            question = _question(call, ask, wait, problem)
            wait = yield from _answered(call, question, ask.timeout, is_known=is_known)
        if _is_another_question(call, ask, wait):
            problem = "it was given to another question, which this task had asked before."
            continue
        try:
            value = _value_of(ask, wait)
        except KitaruWaitValidationError as error:
            # The schema let it pass, the type's own validator did not: the question is open again.
            problem = error.message
        except KitaruExecutionError as error:
            run.call_failed(call.position, error)
            fault("wait.before_commit", call)
            yield Commit(
                calls=(call_record(call, CallStatus.FAILED, failure=record_failure(error)),)
            )
            fault("wait.after_commit", call)
            tell_wait_over(call, wait)
            raise
        else:
            taken = yield from _take_up(call, value)
            tell_wait_over(call, wait)
            return taken


def _is_another_question(call: Call, ask: Ask, wait: WaitRecord) -> bool:
    """Whether an answer came to a question with another text, which may be another item's.

    Where program order alone decides what is asked, it is the same question with, say, another date in it.
    """
    asked = (wait.question, wait.schema, wait.metadata)
    same = asked == (ask.question, ask.schema, ask.metadata)
    return not call.ordered and not same and wait.status is WaitStatus.ANSWERED


_TO_BE_ASKED = (WaitStatus.OPEN, WaitStatus.CLOSED)


def run_sleep(call: Call, seconds: float) -> Steps:
    """Let so many seconds pass, over crashes and restarts, counted from when the call was first made.

    Durability: the moment to wake at is committed first, and once more that it has come.
    """
    run = call.scope.run
    record = call.match.record if call.match is not None else None
    if record is not None and record.status.is_recorded:
        return (yield from _never_over(call)) if is_abandoned(record) else None
    run.check()
    now = run.clock.now()
    call.started_at = record.started_at if record is not None else now
    known = run.waits.pop(call.position, None)
    wake_at = now + round(seconds * 1_000_000)
    if known is not None and known.wake_at is not None:
        wake_at = known.wake_at
    over: tuple[WaitRecord, ...] = ()
    if known is None or known.status in _TO_BE_ASKED:
        timer = WaitRecord(
            exec_id=run.exec_id,
            position=call.position,
            wait_id=call.call_id,
            name=call.spec.name,
            kind=WaitKind.TIMER,
            wake_at=wake_at,
            asked_by=str(current_owner()),
            created_at=call.started_at,
        )
        remaining = (wake_at - now) / 1_000_000
        if remaining > SHORT_SLEEP_SECONDS:
            yield from _answered(call, timer, 0.0)
        else:
            fault("wait.before_ask", call)
            yield Commit(calls=(call_record(call, CallStatus.RUNNING),), waits=(timer,))
            fault("wait.after_ask", call)
            if remaining > 0:
                yield Sleep(remaining)
            over = (replace(timer, status=WaitStatus.ANSWERED, resolved_at=run.clock.now()),)
    return (yield from _take_up(call, None, over))


def _take_up(call: Call, value: UserValue, waits: tuple[WaitRecord, ...] = ()) -> Steps:
    """Record what the flow gets, and return it."""
    values = call.scope.run.services.values
    encoded = values.encode(value, root="answer")
    output = yield from keep_value(call, encoded)
    fault("wait.before_commit", call)
    yield Commit(calls=(call_record(call, CallStatus.COMPLETED, output=output),), waits=waits)
    fault("wait.after_commit", call)
    return values.as_recorded(value, encoded)


def _recorded_answer(call: Call, ask: Ask, record: CallRecord) -> Steps:
    if is_abandoned(record):
        return (yield from _never_over(call))
    if record.output is None:
        return raise_recorded(call, record)
    value = yield from load_value(call, record.output)
    if record.status is CallStatus.OVERRIDDEN:
        # Given to the replay as it would be given to the question.
        return schemas.typed(ask.expected, schemas.to_json(value))
    return value


def _question(call: Call, ask: Ask, before: WaitRecord | None, problem: str | None) -> WaitRecord:
    run = call.scope.run
    wake_at = ask.wake_at
    if before is not None and before.wake_at is not None:
        wake_at = before.wake_at  # a deadline does not move because the process was started again
    return WaitRecord(
        exec_id=run.exec_id,
        position=call.position,
        wait_id=call.call_id,
        name=call.spec.name,
        kind=WaitKind.INPUT,
        question=ask.question,
        schema=ask.schema,
        metadata=ask.metadata,
        wake_at=wake_at,
        asked_by=str(current_owner()),
        problem=problem,
        created_at=run.clock.now(),
    )


def _answered(
    call: Call, wait: WaitRecord, timeout: float, *, is_known: bool = False
) -> Generator[Command, Any, WaitRecord]:
    """Ask, and return the row once the wait is over; the run may have left the process by then."""
    run = call.scope.run
    running = call_record(call, CallStatus.RUNNING)
    run.parking.block(call.scope, wait, timeout if run.services.keeps_stacks else 0.0)
    found: WaitRecord | None = None
    try:
        fault("wait.before_ask", call)
        if run.parking.may_park(call.scope):
            yield from _park(run, Commit(calls=(running,), waits=(wait,)), wait)
        else:
            yield Commit(calls=(running,), waits=(wait,))
        fault("wait.after_ask", call)
        if not is_known:
            tell_asked(call, wait)
        run.services.questions.asked(run, wait)
        found = yield from _until_over(call, wait)
        return found
    except BaseException as error:
        is_told_to_stop = run.signal is not None or run.is_losing_its_loop()
        # Nor may anything be recorded any more when the coroutine itself is being taken down.
        is_the_end = isinstance(error, RunnerSignal | KitaruBackendError | GeneratorExit)
        if not is_told_to_stop and not is_the_end:
            # The flow has stopped waiting: a timeout of its own, or another task was faster.
            yield from _abandon(call, wait, error)
        raise
    finally:
        run.services.watcher.unwatch(run, wait.position)
        run.services.questions.closed(run, found or wait)
        run.parking.unblock(wait.position)
        run.parking.stir()


def _abandon(call: Call, wait: WaitRecord, error: BaseException) -> Generator[Command, Any, None]:
    """Record that the flow went on without an answer, so that a late one changes nothing.

    Raises:
        Suspend: Someone else has the execution by now.
    """
    run = call.scope.run
    if not (yield Fetch(lambda: run.parking.withdraw(wait))):
        run.check(waits=True)
    run.restart_limit()
    now = run.clock.now()
    closed = replace(wait, status=WaitStatus.CLOSED, resolved_at=now)
    failure = record_failure(error)
    yield Commit(
        calls=(call_record(call, CallStatus.FAILED, failure=failure),),
        waits=(closed,) if wait.kind is WaitKind.INPUT else (),
    )


def is_abandoned(record: CallRecord) -> bool:
    """Whether the flow stopped waiting before the wait was over."""
    return record.failure is not None and record.failure.exception_type in _CANCELLATIONS


_CANCELLATIONS = frozenset({"asyncio.exceptions.CancelledError"})


def _never_over(call: Call) -> Steps:
    """Wait until the flow stops waiting, as it did when this was recorded."""
    run = call.scope.run
    never: concurrent.futures.Future[None] = concurrent.futures.Future()
    while True:
        yield Join((never,), _TICK_SECONDS)
        run.check()


def _park(run: Run, commit: Commit, wait: WaitRecord) -> Generator[Command, Any, None]:
    run.parking.let_go()
    yield Commit(calls=commit.calls, waits=commit.waits, outcome=run.parking.outcome((wait,)))
    run.parking.parked()


def _until_over(call: Call, wait: WaitRecord) -> Generator[Command, Any, WaitRecord]:
    run, parking = call.scope.run, call.scope.run.parking
    while True:
        # Watched before it is checked: whoever stops the run wakes those who are watched.
        over = run.services.watcher.watch(run, wait.position, wait.wake_at)
        run.check(waits=True)
        patience = parking.patience(wait.position)
        if patience <= 0:
            parking.leave()
            run.check(waits=True)
        yield Join((over,), min(patience, _TICK_SECONDS) if patience > 0 else _TICK_SECONDS)
        run.check(waits=True)
        if parking.is_parked:
            if over.done() and (yield Fetch(parking.reclaim)):
                run.restart_limit()
                found = yield Fetch(lambda: _row(call, wait))
                if found is not None:
                    return found
            continue
        if over.done() and (found := (yield Fetch(lambda: _row(call, wait)))) is not None:
            return found
        if parking.may_park(call.scope):
            # What went on beside it is over.
            yield from _park(run, Commit(), wait)


def _row(call: Call, wait: WaitRecord) -> WaitRecord | None:
    """Return a wait's row if the wait is over."""
    run = call.scope.run
    try:
        found = run.services.store.list_waits(run.exec_id, positions=[wait.position])
    except KitaruBackendError:
        return None  # it will be looked at again
    return found[0] if found and found[0].status is not WaitStatus.OPEN else None


def _value_of(ask: Ask, wait: WaitRecord) -> UserValue:
    """Return what the flow gets for an answered wait, or raise what it gets for another end."""
    match wait.status:
        case WaitStatus.ABORTED:
            message = (
                f"wait {wait.wait_id!r} of execution {wait.exec_id!r} was aborted by"
                f" {wait.resolved_by or 'someone'}."
            )
            raise KitaruWaitAbortedError(
                message, exec_id=wait.exec_id, failure_origin=FailureOrigin.USER_CODE
            )
        case WaitStatus.EXPIRED:
            if ask.on_expire is not None:
                return ask.on_expire
            message = (
                f"wait {wait.wait_id!r} of execution {wait.exec_id!r} has expired: nobody answered in"
                f" time. `on_expire=` gives the flow a value for that."
            )
            raise KitaruWaitExpiredError(
                message, exec_id=wait.exec_id, failure_origin=FailureOrigin.USER_CODE
            )
        case _:
            return schemas.typed(ask.expected, wait.answer if wait.answer is not None else "null")
