"""What a call writes: its journal rows and attempts, as commits for the run to make."""

from __future__ import annotations

from kitaru.engine.calls import ActiveCall, Call
from kitaru.engine.failure import record_failure
from kitaru.engine.recorder import Commit
from kitaru.errors import KitaruTimeoutError
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    CallRecord,
    CallStatus,
    FailureRecord,
    StoredValue,
)


def call_record(
    call: Call,
    status: CallStatus,
    *,
    output: StoredValue | None = None,
    failure: FailureRecord | None = None,
    cache_key: bytes | None = None,
    cached_from: str | None = None,
) -> CallRecord:
    """Return the journal row of a call as it stands now."""
    run = call.scope.run
    return CallRecord(
        position=call.position,
        call_id=call.call_id,
        name=call.spec.name,
        kind=call.kind,
        type=call.spec.type,
        fingerprint=call.fingerprint,
        ordered=call.ordered,
        status=status,
        inputs=run.services.values.keep_arguments(call.inputs),
        output=output,
        failure=failure,
        upstreams=call.upstreams,
        cache_key=cache_key,
        cached_from=cached_from,
        epoch=run.epoch,
        started_at=call.started_at,
        ended_at=run.clock.now() if status.is_recorded else None,
    )


def running_record(active: ActiveCall) -> CallRecord:
    """Return the row that shows a call while its body runs."""
    return call_record(active.call, CallStatus.RUNNING)


def failed_attempt(
    active: ActiveCall, error: Exception, ended_at: int, delay: float | None
) -> AttemptRecord:
    """Return the record of an attempt that has raised `error`.

    Args:
        active: The call and its attempt.
        error: What the body raised.
        ended_at: When it did.
        delay: Seconds until the next attempt; None if there is none.
    """
    call = active.call
    elapsed = int((call.scope.run.clock.monotonic() - active.began) * 1_000_000)
    # The call's own timeout, not one that the body ran into elsewhere.
    timed_out = isinstance(error, KitaruTimeoutError) and error.call_id == call.call_id
    return AttemptRecord(
        position=call.position,
        number=active.attempt,
        status=AttemptStatus.TIMED_OUT if timed_out else AttemptStatus.FAILED,
        started_at=ended_at - elapsed,
        ended_at=ended_at,
        failure=record_failure(error),
        next_at=None if delay is None else ended_at + round(delay * 1_000_000),
        most=None if delay is None else call.spec.retry.max_attempts + call.attempts_before,
    )


def _left_behind(active: ActiveCall) -> tuple[ArtifactRecord, ...]:
    return tuple(
        ArtifactRecord(
            id=artifact.id,
            position=artifact.position,
            attempt=artifact.attempt,
            name=artifact.name,
            kind=artifact.kind,
            tags=artifact.tags,
            value=artifact.value,
            attempt_failed=True,
            created_at=artifact.created_at,
        )
        for artifact in active.artifacts
    )


def completed(active: ActiveCall, output: StoredValue, cache_key: bytes | None) -> Commit:
    """Return what records a body's result, with what it saved and logged."""
    return Commit(
        calls=(call_record(active.call, CallStatus.COMPLETED, output=output, cache_key=cache_key),),
        artifacts=tuple(active.artifacts) if active.artifacts else (),
        metadata=tuple(active.metadata.values()) if active.metadata else (),
    )


def retried(active: ActiveCall, failed: AttemptRecord) -> Commit:
    """Return what records a failed attempt after which there will be another."""
    return Commit(
        calls=(call_record(active.call, CallStatus.RUNNING),),
        attempts=(failed,),
        artifacts=_left_behind(active),
        metadata=tuple(active.metadata.values()),
    )


def final_failure(active: ActiveCall, failed: AttemptRecord) -> Commit:
    """Return what records a call as failed, after its last attempt."""
    return Commit(
        calls=(call_record(active.call, CallStatus.FAILED, failure=failed.failure),),
        attempts=(failed,),
        artifacts=_left_behind(active),
        metadata=tuple(active.metadata.values()),
    )
