"""Records to rows and back, the same for every SQL database.

The order of the columns here is the order in the `.sql` files. Building and reading a call's row is on the
path of every checkpoint, which is why nothing here is looped over that can be written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kitaru.errors import KitaruUsageError
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    CallKind,
    CallRecord,
    CallStatus,
    EventRecord,
    ExecutionRecord,
    ExecutionStatus,
    FailureRecord,
    LogLine,
    LogSource,
    MetadataRecord,
    NewExecution,
    StoredValue,
)
from kitaru.store.queries import Row

_EXECUTION_STATUS = {status.value: status for status in ExecutionStatus}
_CALL_STATUS = {status.value: status for status in CallStatus}
_CALL_KIND = {kind.value: kind for kind in CallKind}
_ATTEMPT_STATUS = {status.value: status for status in AttemptStatus}
_LOG_SOURCE = {source.value: source for source in LogSource}

_encode_json = msgspec.json.Encoder().encode
_decode_words = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_failure = msgspec.json.Decoder(FailureRecord).decode
_decode_spec = msgspec.json.Decoder(dict[str, Any]).decode

_NO_VALUE = (None, None, None, None)


def clean(text: str) -> str:
    """Return `text` with what UTF-8 cannot express, lone surrogates, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def words_to_json(words: tuple[str, ...]) -> str:
    """Return words as JSON text."""
    return _encode_json(words).decode() if words else "[]"


def failure_to_json(failure: FailureRecord) -> str:
    """Return a failure as JSON text; what UTF-8 cannot express is replaced.

    An exception's message is whatever the user's code made it. It must never keep the failure itself
    from being recorded.
    """
    try:
        return _encode_json(failure).decode()
    except UnicodeEncodeError:
        return _encode_json(
            FailureRecord(
                exception_type=clean(failure.exception_type),
                message=clean(failure.message),
                traceback=clean(failure.traceback),
                origin=failure.origin,
                exception_codec=failure.exception_codec,
                exception=failure.exception,
                positions=tuple(map(clean, failure.positions)),
            )
        ).decode()


def _value_columns(value: StoredValue | None) -> Row:
    if value is None:
        return _NO_VALUE
    return (value.codec, value.data, value.digest, value.size)


# --- executions: see `execution_columns` in sql/executions.sql


def execution_from_row(row: Row) -> ExecutionRecord:
    """Return the execution that a row describes."""
    return ExecutionRecord(
        id=row[0],
        project=row[1],
        flow=row[2],
        code_ref=row[3],
        code_root=row[4],
        code_hash=row[5],
        status=_EXECUTION_STATUS[row[6]],
        epoch=row[7],
        lease_owner=row[8],
        lease_expires_at=row[9],
        inputs=StoredValue(row[10], row[11], row[12], row[13]),
        result=None if row[14] is None else StoredValue(row[14], row[15], row[16], row[17]),
        failure=None if row[18] is None else _decode_failure(row[18]),
        stack=row[19],
        spec=_decode_spec(row[20]),
        tags=_decode_words(row[21]),
        parent_id=row[22],
        parent_position=row[23],
        idempotency_key=row[24],
        cancel_requested_at=row[25],
        cancel_requested_by=row[26],
        recoveries=row[27],
        max_recoveries=row[28],
        retries_left=row[29],
        runnable_at=row[30],
        created_at=row[31],
        started_at=row[32],
        ended_at=row[33],
        status_reason=row[34],
    )


def execution_to_row(new: NewExecution) -> Row:
    """Return the parameters of `insert_execution`."""
    claim = new.claim
    inputs = new.inputs
    return (
        new.id,
        new.project,
        new.flow,
        new.code_ref,
        new.code_root,
        new.code_hash,
        "pending" if claim is None else "running",
        0 if claim is None else 1,
        None if claim is None else claim.owner,
        None if claim is None else claim.lease_expires_at,
        inputs.codec,
        inputs.data,
        inputs.digest,
        inputs.size,
        new.stack,
        spec_to_json(new.spec),
        words_to_json(new.tags),
        new.parent_id,
        new.parent_position,
        new.idempotency_key,
        new.max_recoveries,
        new.retries_left,
        new.created_at,
        new.created_at,
        None if claim is None else new.created_at,
    )


def created_execution(new: NewExecution) -> ExecutionRecord:
    """Return what reading the row of `execution_to_row` back would give, without reading it."""
    claim = new.claim
    return ExecutionRecord(
        id=new.id,
        project=new.project,
        flow=new.flow,
        code_ref=new.code_ref,
        code_root=new.code_root,
        code_hash=new.code_hash,
        status=ExecutionStatus.PENDING if claim is None else ExecutionStatus.RUNNING,
        epoch=0 if claim is None else 1,
        lease_owner=None if claim is None else claim.owner,
        lease_expires_at=None if claim is None else claim.lease_expires_at,
        inputs=new.inputs,
        result=None,
        failure=None,
        stack=new.stack,
        spec=new.spec,
        tags=new.tags,
        parent_id=new.parent_id,
        parent_position=new.parent_position,
        idempotency_key=new.idempotency_key,
        cancel_requested_at=None,
        cancel_requested_by=None,
        recoveries=0,
        max_recoveries=new.max_recoveries,
        retries_left=new.retries_left,
        runnable_at=new.created_at,
        created_at=new.created_at,
        started_at=None if claim is None else new.created_at,
        ended_at=None,
        status_reason=None,
    )


def spec_to_json(spec: Mapping[str, object]) -> str:
    """Return an execution spec as JSON text.

    Raises:
        KitaruUsageError: It holds something that JSON cannot express.
    """
    try:
        return _encode_json(spec).decode()
    except (TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        message = f"an execution spec must hold JSON values only: {error}. Got: {spec!r}"
        raise KitaruUsageError(message) from error


# --- calls: see `record_call` and `list_calls` in sql/journal.sql


def call_to_row(exec_id: str, call: CallRecord) -> Row:
    """Return the parameters of `record_call`."""
    # Plain strings and integers: the driver takes a detour for subclasses such as StrEnum and bool.
    return (
        exec_id,
        call.position,
        call.call_id,
        call.name,
        call.kind.value,
        call.type,
        call.fingerprint,
        1 if call.ordered else 0,
        call.status.value,
        *_value_columns(call.inputs),
        *_value_columns(call.output),
        None if call.failure is None else failure_to_json(call.failure),
        words_to_json(call.upstreams),
        call.cache_key,
        call.cached_from,
        call.epoch,
        call.started_at,
        call.ended_at,
    )


def call_from_row(row: Row) -> CallRecord:
    """Return the call that a row of `list_calls` describes."""
    return CallRecord(
        position=row[0],
        call_id=row[1],
        name=row[2],
        kind=_CALL_KIND[row[3]],
        type=row[4],
        fingerprint=row[5],
        ordered=row[6] == 1,
        status=_CALL_STATUS[row[7]],
        inputs=None if row[8] is None else StoredValue(row[8], row[9], row[10], row[11]),
        output=None if row[12] is None else StoredValue(row[12], row[13], row[14], row[15]),
        failure=None if row[16] is None else _decode_failure(row[16]),
        upstreams=() if row[17] == "[]" else _decode_words(row[17]),
        cache_key=row[18],
        cached_from=row[19],
        epoch=row[20],
        started_at=row[21],
        ended_at=row[22],
    )


# --- what belongs to calls


def attempt_to_row(exec_id: str, attempt: AttemptRecord) -> Row:
    """Return the parameters of `record_attempt`."""
    return (
        exec_id,
        attempt.position,
        attempt.number,
        attempt.status.value,
        attempt.started_at,
        attempt.ended_at,
        failure_to_json(attempt.failure),
    )


def attempt_from_row(row: Row) -> AttemptRecord:
    """Return the attempt that a row of `list_attempts` describes."""
    position, number, status, started_at, ended_at, failure = row
    return AttemptRecord(
        position=position,
        number=number,
        status=_ATTEMPT_STATUS[status],
        started_at=started_at,
        ended_at=ended_at,
        failure=_decode_failure(failure),
    )


def artifact_to_row(exec_id: str, artifact: ArtifactRecord) -> Row:
    """Return the parameters of `record_artifact`."""
    return (
        exec_id,
        artifact.id,
        artifact.position,
        artifact.attempt,
        artifact.name,
        artifact.kind,
        words_to_json(artifact.tags),
        *_value_columns(artifact.value),
        1 if artifact.attempt_failed else 0,
        artifact.created_at,
    )


def artifact_from_row(row: Row) -> ArtifactRecord:
    """Return the artifact that a row of `list_artifacts` describes."""
    return ArtifactRecord(
        id=row[0],
        position=row[1],
        attempt=row[2],
        name=row[3],
        kind=row[4],
        tags=_decode_words(row[5]),
        value=StoredValue(row[6], row[7], row[8], row[9]),
        attempt_failed=row[10] == 1,
        created_at=row[11],
    )


def metadata_from_row(row: Row) -> MetadataRecord:
    """Return the metadata that a row of `list_metadata` describes."""
    position, key, value = row
    return MetadataRecord(position=position, key=key, value=value)


def event_to_row(exec_id: str, event: EventRecord) -> Row:
    """Return the parameters of `record_event`."""
    return (exec_id, event.kind, event.position, event.payload, event.created_at)


def event_from_row(row: Row) -> tuple[int, EventRecord]:
    """Return the cursor and the event that a row of `list_events` describes."""
    cursor, kind, position, payload, created_at = row
    event = EventRecord(kind=kind, position=position, payload=payload, created_at=created_at)
    return cursor, event


def log_to_row(line: LogLine) -> Row:
    """Return the parameters of `append_log`; what UTF-8 cannot express is replaced."""
    return (
        line.exec_id,
        line.position,
        line.attempt,
        line.source.value,
        line.level and clean(line.level),
        line.logger and clean(line.logger),
        clean(line.message),
        line.module and clean(line.module),
        line.filename and clean(line.filename),
        line.lineno,
        line.logged_at,
    )


def log_from_row(row: Row) -> tuple[int, LogLine]:
    """Return the cursor and the line that a row of `list_logs` describes."""
    line = LogLine(
        exec_id=row[1],
        position=row[2],
        attempt=row[3],
        source=_LOG_SOURCE[row[4]],
        level=row[5],
        logger=row[6],
        message=row[7],
        module=row[8],
        filename=row[9],
        lineno=row[10],
        logged_at=row[11],
    )
    return row[0], line
