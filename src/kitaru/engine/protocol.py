"""The durable semantics of a checkpoint call, as a generator that does no I/O itself.

`run_call` yields commands and is sent their results; `drive.py` carries them out, once for threads and
once for event loops. So the semantics are written once, and tests can drive them by hand.
"""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kitaru import codec
from kitaru.engine.calls import (
    ActiveCall,
    Call,
    cache_key_of,
    encode_call_arguments,
    fingerprint_of,
)
from kitaru.engine.divergence import divergence_error, divergence_payload
from kitaru.engine.entries import (
    call_record,
    completed,
    failed_attempt,
    final_failure,
    retried,
)
from kitaru.engine.failure import raised_again
from kitaru.engine.journal import Match
from kitaru.engine.recorder import Commit
from kitaru.engine.telling import tell_failed, tell_returned
from kitaru.engine.values import UserValue
from kitaru.errors import KitaruBackendError, KitaruSerializationError
from kitaru.faults import fault
from kitaru.model import CallKind, CallRecord, CallStatus, MetadataRecord, StoredValue

if TYPE_CHECKING:
    from kitaru.engine.replay import Replay

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Invoke:
    """Run the body and send back what it returns, or throw in what it raises."""

    active: ActiveCall


@dataclass(slots=True)
class Sleep:
    """Let so many seconds pass, or throw in the signal that ends the wait early."""

    seconds: float


@dataclass(slots=True)
class Fetch:
    """Call a function that may block on the disk or the network, and send back what it returns."""

    operation: Callable[[], Any]


@dataclass(slots=True)
class Join:
    """Wait until these futures are done, however they end, or so many seconds have passed."""

    futures: Collection[concurrent.futures.Future[Any]]
    timeout: float | None = None


Command = Invoke | Sleep | Fetch | Join | Commit
Steps = Generator[Command, Any, Any]


def settle(call: Call) -> None:
    """Give a call its fingerprint, and find what the journal has for it.

    Raises:
        KitaruSerializationError: An argument cannot be encoded.
        KitaruDivergenceError: The record contradicts the call, and the code has changed.
    """
    run = call.scope.run
    call.inputs = encode_call_arguments(call, allow_pickle=run.services.values.allow_pickle)
    call.fingerprint = fingerprint_of(call.spec.name, call.inputs)
    path = call.scope.path
    match = run.journal.match(
        f"{path}/" if path else "",
        call.spec.name,
        call.ordinal,
        call.fingerprint,
        ordered=call.ordered,
        placed=call.placed,
        kind=call.kind,
        anonymous=call.spec.ignore.issuperset(call.arguments),
        label=call.label,
    )
    call.match = match
    call.position = match.position
    if match.contradiction is not None:
        payload = divergence_payload(call, match, run.services.values)
        run.recorder.keep_event("divergence", match.position, payload)
        logger.warning(
            "recorded call %s of execution %s contradicts the flow (%s)",
            match.position,
            run.exec_id,
            payload["action"],
            extra={"action": "divergence", "exec_id": run.exec_id, "call_key": match.position},
        )
        if match.diverged:
            error = divergence_error(run.execution, payload)
            run.divergence = error
            raise error
    if match.record is None and run.replay is not None:
        call.match = match = _from_origin(call, match, run.replay)
    known = match.record or match.earlier
    if match.earlier is not None:
        _continue_attempts(call, match.earlier)
    if known is not None:
        call.call_id = known.call_id
    elif call.call_id:
        run.journal.refuse_recorded_id(call.call_id)
    else:
        call.call_id = run.journal.new_call_id(call.spec.name)


def _from_origin(call: Call, match: Match, replay: Replay) -> Match:
    """Answer a call from the execution that is replayed, if that is what the replay is to do."""
    found = replay.find(call, match.position)
    journal = call.scope.run.journal
    if match.earlier is None and found.hint is not None and not call.call_id:
        call.call_id = journal.like(found.hint)
    if found.record is None:
        call.must_run = found.must_run
        return match
    call_id = call.call_id if match.earlier is None else match.earlier.call_id
    record = replace(found.record, call_id=call_id or journal.new_call_id(call.spec.name))
    call.scope.run.recorder.keep_reused(record, found.beside)
    return Match(match.position, record)


def _continue_attempts(call: Call, earlier: CallRecord) -> None:
    """Number a call's attempts after those that are recorded, and tell which of them count.

    A crash in the middle of retrying does not start the retry policy anew; a retry of the whole
    execution, which reopened the call as pending, does.
    """
    attempts = call.scope.run.recorded_attempts.get(call.position, [])
    call.first_attempt = len(attempts) + 1
    if earlier.status is CallStatus.PENDING:
        call.attempts_before = len(attempts)
    elif attempts:
        call.started_at = earlier.started_at
        before = [attempt for attempt in attempts if attempt.ended_at < earlier.started_at]
        call.attempts_before = len(before)


def run_call(call: Call) -> Steps:
    """Return a settled call's value: the recorded one, or that of its body once it is recorded.

    Durability: each failed attempt that will be tried again, and the outcome, are one commit each. A
    crash before the outcome's commit leaves the call to be run again; after it, never.

    Raises:
        BaseException: What the body's last attempt raised, on the first run and on every recovery.
    """
    run = call.scope.run
    match = call.match
    assert match is not None  # noqa: S101 - settle() came first
    if run.recorder.is_full:
        yield Commit()
    if match.record is not None:
        if match.record.kind is CallKind.CHECKPOINT and match.record.output is not None:
            return (yield from load_value(call, match.record.output))
        return raise_recorded(call, match.record)
    call.started_at = call.started_at or run.clock.now()
    cache = call.spec.cache if call.spec.cache is not None else run.cache_default
    if not cache or call.must_run:
        return (yield from _run_body(call, None))
    cache_key = cache_key_of(call.spec, call.fingerprint)
    reused = yield from _reuse(call, cache_key, cache)
    return reused[0] if reused else (yield from _run_body(call, cache_key))


def _reuse(
    call: Call, cache_key: bytes, cache: bool | timedelta
) -> Generator[Command, Any, tuple[UserValue] | None]:
    """Record another execution's result as this call's, and return it, if there is one."""
    since = None
    if isinstance(cache, timedelta):
        since = call.started_at - cache // timedelta(microseconds=1)
    found = yield Fetch(lambda: _find_cached(call, cache_key, since))
    if found is None:
        return None
    source, record = found
    try:
        # Before it is recorded: what cannot be read any more is no result to reuse.
        value = yield from load_value(call, record.output)
    except (KitaruBackendError, KitaruSerializationError) as error:
        logger.warning("cached result of execution %s cannot be reused: %s", source, error)
        return None
    origin = f"{source}/{record.position}"
    fault("call.before_commit", call)
    yield Commit(
        calls=(call_record(call, CallStatus.CACHED, output=record.output, cached_from=origin),)
    )
    fault("call.after_commit", call)
    return (value,)


def _run_body(call: Call, cache_key: bytes | None) -> Steps:
    """Run the body until it returns or its retry policy gives up, and record what came of it."""
    run = call.scope.run
    attempt = call.first_attempt
    logged: dict[str, MetadataRecord] = {}
    while True:
        run.check()
        active = _activate(call, attempt, logged)
        try:
            fault("call.before_body", call)
            value = yield Invoke(active)
            encoded = _encode_result(call, value)
        except Exception as error:
            ended_at = run.clock.now()
            run.call_failed(call.position, error)
            delay = None
            if not isinstance(error, KitaruSerializationError):
                delay = call.spec.retry.delay_after(attempt - call.attempts_before, error)
            failed = failed_attempt(active, error, ended_at, delay)
            if delay is None:
                fault("call.before_commit", call)
                yield final_failure(active, failed)
                fault("call.after_commit", call)
                tell_failed(active, error, will_retry=False)
                raise
            fault("attempt.before_commit", call)
            yield retried(active, failed)
            fault("attempt.after_commit", call)
            tell_failed(active, error, will_retry=True)
            yield Sleep(delay)
            attempt += 1
            # What a failed attempt has logged stays, and is merged with what the next one logs.
            logged = active.metadata
            continue
        fault("call.after_body", call)
        output = yield from keep_value(call, encoded)
        fault("call.before_commit", call)
        yield completed(active, output, cache_key)
        fault("call.after_commit", call)
        tell_returned(active)
        return run.services.values.as_recorded(value, encoded)


def _encode_result(call: Call, value: UserValue) -> codec.Encoded:
    try:
        return call.scope.run.services.values.encode(value, root="result")
    except KitaruSerializationError as error:
        message = f"checkpoint call {call.call_id!r}: {error.message}"
        raise KitaruSerializationError(message, path=error.path) from error.__cause__


def _activate(call: Call, attempt: int, logged: dict[str, MetadataRecord]) -> ActiveCall:
    began = call.scope.run.clock.monotonic()
    timeout = call.spec.timeout
    return ActiveCall(
        call=call,
        attempt=attempt,
        began=began,
        deadline=None if timeout is None else began + timeout,
        metadata=dict(logged),
    )


def load_value(call: Call, stored: StoredValue | None) -> Generator[Command, Any, UserValue]:
    """Return a recorded value."""
    assert stored is not None  # noqa: S101 - a completed call has an output, by CHECK
    values = call.scope.run.services.values
    if stored.data is not None:
        return values.load(stored)
    return (yield Fetch(lambda: values.load(stored)))


def keep_value(call: Call, encoded: codec.Encoded) -> Generator[Command, Any, StoredValue]:
    """Return what a row needs to name a value, which is durable then if it lies in a blob."""
    values = call.scope.run.services.values
    if values.is_inline(encoded.data):
        return values.keep(encoded)
    try:
        return (yield Fetch(lambda: values.keep(encoded)))
    except KitaruBackendError as error:
        # No failure of the flow: whoever can write goes on with it.
        call.scope.run.recorder.store_error = error
        raise


def raise_recorded(call: Call, record: CallRecord) -> UserValue:
    """Raise what a call is recorded to have raised."""
    run = call.scope.run
    assert record.failure is not None  # noqa: S101 - a failed call has a failure, by CHECK
    error = raised_again(
        record.failure,
        exec_id=run.exec_id,
        call_id=record.call_id,
        allow_pickle=run.services.values.allow_pickle,
    )
    run.call_failed(record.position, error)
    raise error


def _find_cached(call: Call, cache_key: bytes, since: int | None) -> tuple[str, CallRecord] | None:
    run = call.scope.run
    found = run.services.store.find_cached_call(
        run.execution.project, cache_key, since=since, besides=run.exec_id
    )
    # The execution that has it may be pruned before this call's row names the same blob.
    if found is None or not run.services.values.renew(found[1].output):
        return None
    return found
