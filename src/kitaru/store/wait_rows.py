"""Waits to rows and back; the order of the columns is that of `record_wait`."""

from __future__ import annotations

from kitaru.model import WaitKind, WaitRecord, WaitStatus
from kitaru.store.queries import Row

_KIND = {kind.value: kind for kind in WaitKind}
_STATUS = {status.value: status for status in WaitStatus}


def wait_to_row(wait: WaitRecord) -> Row:
    """Return the parameters of `record_wait`."""
    return (
        wait.exec_id,
        wait.position,
        wait.wait_id,
        wait.name,
        wait.kind.value,
        wait.status.value,
        wait.question,
        wait.schema,
        wait.metadata,
        wait.wake_at,
        wait.child_id,
        wait.asked_by,
        wait.problem,
        wait.created_at,
        wait.answer,
        wait.resolved_at,
        wait.resolved_by,
        wait.resolved_via,
    )


def wait_from_row(row: Row) -> WaitRecord:
    """Return the wait that a row of `list_waits` describes."""
    return WaitRecord(
        exec_id=row[0],
        position=row[1],
        wait_id=row[2],
        name=row[3],
        kind=_KIND[row[4]],
        status=_STATUS[row[5]],
        question=row[6],
        schema=row[7],
        metadata=row[8],
        wake_at=row[9],
        child_id=row[10],
        asked_by=row[11],
        problem=row[12],
        created_at=row[13],
        answer=row[14],
        resolved_at=row[15],
        resolved_by=row[16],
        resolved_via=row[17],
    )
