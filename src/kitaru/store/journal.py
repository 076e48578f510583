"""Writing and reading what happens inside executions.

The fence. A runner may be paused for minutes and wake up believing that it still holds its execution,
while another has reaped and claimed it. So each entry is written only if, inside the transaction that
writes it, the execution is running under the entry's epoch. No other check protects the record, and none
is needed: the transaction holds the database's write lock, so that no claim can come between.
"""

from __future__ import annotations

from collections.abc import Sequence

from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.faults import fault
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    CallRecord,
    Committed,
    ExecutionStatus,
    JournalEntry,
    MetadataRecord,
    NewExecution,
    Outcome,
    Write,
)
from kitaru.store.database import Session
from kitaru.store.executions import get_execution, reopen_calls
from kitaru.store.queries import Row
from kitaru.store.rows import (
    artifact_from_row,
    artifact_to_row,
    attempt_from_row,
    attempt_to_row,
    call_from_row,
    call_to_row,
    created_execution,
    execution_to_row,
    failure_to_json,
    metadata_from_row,
)

_HELD = Committed(held=True)
_HELD_AND_CANCELLED = Committed(held=True, cancel_requested=True)
_LOST = Committed(held=False)

# How a claim may end. A release is not an outcome of the run; someone goes on with it.
_RELEASES = frozenset({ExecutionStatus.PENDING, ExecutionStatus.WAITING})
_ENDS = frozenset(status for status in ExecutionStatus if status.is_finished)

# Older than any moment.
_EVER = 0


def commit(session: Session, writes: Sequence[Write]) -> list[Committed]:
    """Write several things; return what became of each, in order."""
    if len(writes) == 1 and isinstance(writes[0], JournalEntry):
        return [_write_entry(session, writes[0])]
    committed = [
        _write_entry(session, write) if isinstance(write, JournalEntry) else _create(session, write)
        for write in writes
    ]
    if len(writes) > 1:
        fault("commit.group")
    return committed


def _write_entry(session: Session, entry: JournalEntry) -> Committed:
    fence = session.row("check_fence", entry.exec_id, entry.epoch)
    if fence is None:
        return _LOST
    exec_id = entry.exec_id
    if entry.calls:
        session.run_many("record_call", [call_to_row(exec_id, call) for call in entry.calls])
    if entry.attempts:
        rows = [attempt_to_row(exec_id, attempt) for attempt in entry.attempts]
        session.run_many("record_attempt", rows)
    if entry.artifacts:
        rows = [artifact_to_row(exec_id, artifact) for artifact in entry.artifacts]
        session.run_many("record_artifact", rows)
    if entry.metadata:
        rows = [(exec_id, datum.position, datum.key, datum.value) for datum in entry.metadata]
        session.run_many("record_metadata", rows)
    if entry.events:
        rows = [
            (exec_id, event.kind, event.position, event.payload, event.created_at)
            for event in entry.events
        ]
        session.run_many("record_event", rows)
    cancel_requested_at: int | None = fence[0]
    if entry.outcome is not None:
        session.run(
            "record_outcome",
            *_outcome_columns(entry.outcome, cancel_requested_at),
            exec_id,
            entry.epoch,
        )
        reopen_calls(session, exec_id, entry.outcome.reopen)
    return _HELD if cancel_requested_at is None else _HELD_AND_CANCELLED


def _outcome_columns(outcome: Outcome, cancel_requested_at: int | None) -> Row:
    status, ended_at = outcome.status, outcome.ended_at
    failure, spent_retries = outcome.failure, 0
    if status in _RELEASES:
        if status is ExecutionStatus.PENDING and failure is not None:
            spent_retries = 1
        failure, ended_at = None, None
        if cancel_requested_at is not None:
            # Nobody would go on with it only to find the request.
            status, spent_retries = ExecutionStatus.CANCELLED, 0
            ended_at = outcome.ended_at or cancel_requested_at
    elif status not in _ENDS:
        message = f"expected an outcome to end a claim, got status {status.value!r}"
        raise KitaruUsageError(message)
    result = outcome.result
    return (
        status.value,
        None if result is None else result.codec,
        None if result is None else result.data,
        None if result is None else result.digest,
        None if result is None else result.size,
        None if failure is None else failure_to_json(failure),
        outcome.reason,
        outcome.runnable_at,
        ended_at,
        spent_retries,
    )


def _create(session: Session, new: NewExecution) -> Committed:
    cancel_requested = False
    if new.parent_id is not None:
        parent = session.row("get_parent", new.parent_id)
        if parent is None:
            message = f"there is no execution {new.parent_id!r} to be the parent of {new.id!r}."
            raise KitaruNotFoundError(message)
        status, epoch, cancel_requested_at = parent
        if new.parent_epoch is not None and (status, epoch) != ("running", new.parent_epoch):
            return _LOST
        cancel_requested = cancel_requested_at is not None
    if cancel_requested or not session.run("insert_execution", *execution_to_row(new)):
        exec_id = _find_existing(session, new)
        existing = None if exec_id is None else get_execution(session, exec_id)
        return Committed(held=True, cancel_requested=cancel_requested, execution=existing)
    if new.parent_call is not None and new.parent_id is not None:
        session.run_many("record_call", [call_to_row(new.parent_id, new.parent_call)])
    return Committed(held=True, execution=created_execution(new), created=True)


def _find_existing(session: Session, new: NewExecution) -> str | None:
    if new.idempotency_key is not None:
        row = session.row("find_by_idempotency_key", new.project, new.flow, new.idempotency_key)
        if row is not None:
            return row[0]
    if new.parent_id is not None and new.parent_position is not None:
        row = session.row("find_by_parent_position", new.parent_id, new.parent_position)
        if row is not None:
            return row[0]
    row = session.row("get_status", new.id)
    return None if row is None else new.id


def list_calls(session: Session, exec_id: str) -> list[CallRecord]:
    """Return an execution's journal in the order in which its rows were first written."""
    return [call_from_row(row) for row in session.rows("list_calls", exec_id)]


def list_attempts(session: Session, exec_id: str) -> list[AttemptRecord]:
    """Return the failed attempts of an execution's calls."""
    return [attempt_from_row(row) for row in session.rows("list_attempts", exec_id)]


def list_artifacts(session: Session, exec_id: str) -> list[ArtifactRecord]:
    """Return what an execution saved, in that order."""
    return [artifact_from_row(row) for row in session.rows("list_artifacts", exec_id)]


def list_metadata(session: Session, exec_id: str) -> list[MetadataRecord]:
    """Return what an execution and its calls logged about themselves."""
    return [metadata_from_row(row) for row in session.rows("list_metadata", exec_id)]


def find_cached_call(
    session: Session, project: str, cache_key: bytes, since: int | None
) -> tuple[str, CallRecord] | None:
    """Return the newest completed call with this key, and its execution's id."""
    row = session.row("find_cached_call", cache_key, project, _EVER if since is None else since)
    return None if row is None else (row[0], call_from_row(row[1:]))
