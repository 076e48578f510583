"""Calls and what belongs to them to rows and back, the same for every SQL database.

The order of the columns here is the order in the `.sql` files. Building and reading a call's row is on the
path of every checkpoint, which is why nothing here is looped over that can be written out.
"""

from __future__ import annotations

import msgspec

from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    AttemptStatus,
    CallKind,
    CallRecord,
    CallStatus,
    FailureRecord,
    MetadataRecord,
    StoredValue,
)
from kitaru.store.queries import Row

_CALL_STATUS = {status.value: status for status in CallStatus}
_CALL_KIND = {kind.value: kind for kind in CallKind}
_ATTEMPT_STATUS = {status.value: status for status in AttemptStatus}

_encode_json = msgspec.json.Encoder().encode
words_from_json = msgspec.json.Decoder(tuple[str, ...]).decode
failure_from_json = msgspec.json.Decoder(FailureRecord).decode

_NO_VALUE = (None, None, None, None)


def clean(text: str) -> str:
    """Return `text` with what some store cannot keep, lone surrogates and NUL, replaced."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\N{SYMBOL FOR NULL}")


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


def value_columns(value: StoredValue | None) -> Row:
    """Return the four columns of a value: codec, bytes, digest, size."""
    if value is None:
        return _NO_VALUE
    return (value.codec, value.data, value.digest, value.size)


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
        *value_columns(call.inputs),
        *value_columns(call.output),
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
        failure=None if row[16] is None else failure_from_json(row[16]),
        upstreams=() if row[17] == "[]" else words_from_json(row[17]),
        cache_key=row[18],
        cached_from=row[19],
        epoch=row[20],
        started_at=row[21],
        ended_at=row[22],
    )


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
        attempt.next_at,
        attempt.most,
    )


def attempt_from_row(row: Row) -> AttemptRecord:
    """Return the attempt that a row of `list_attempts` describes."""
    position, number, status, started_at, ended_at, failure, next_at, most = row
    return AttemptRecord(
        position=position,
        number=number,
        status=_ATTEMPT_STATUS[status],
        started_at=started_at,
        ended_at=ended_at,
        failure=failure_from_json(failure),
        next_at=next_at,
        most=most,
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
        *value_columns(artifact.value),
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
        tags=words_from_json(row[5]),
        value=StoredValue(row[6], row[7], row[8], row[9]),
        attempt_failed=row[10] == 1,
        created_at=row[11],
    )


def metadata_from_row(row: Row) -> MetadataRecord:
    """Return the metadata that a row of `list_metadata` describes."""
    position, key, value = row
    return MetadataRecord(position=position, key=key, value=value)
