"""Keeping what runs print and tell, for watching."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from kitaru.model import EventRecord, LogLine
from kitaru.store.database import Session
from kitaru.store.executions import get_statuses
from kitaru.store.log_rows import (
    RECORD_EVENT,
    event_from_row,
    event_to_row,
    log_from_row,
    log_to_row,
)

# The largest number of rows that either database can be asked for.
_ALL = 2**63 - 1


def serialize_cursors(session: Session, exec_ids: Iterable[str]) -> None:
    """Have what is told of an execution committed in the order of its cursors.

    Whoever reads on after a cursor would miss a smaller one that is committed later.
    """
    for exec_id in sorted(exec_ids):
        session.serialize(f"told:{exec_id}")


def append_logs(session: Session, lines: Sequence[LogLine]) -> None:
    """Add log lines; those of unknown executions are dropped."""
    serialize_cursors(session, {line.exec_id for line in lines})
    session.run_many("append_log", [log_to_row(line) for line in lines])


def append_events(session: Session, events: Sequence[tuple[str, EventRecord]]) -> None:
    """Add events, each with its execution's id; those of unknown executions are dropped."""
    serialize_cursors(session, {exec_id for exec_id, _ in events})
    # Asked once for each execution: there are hundreds of events at a time, and of few executions.
    known = get_statuses(session, list({exec_id for exec_id, _ in events}))
    rows = [event_to_row(exec_id, event) for exec_id, event in events if exec_id in known]
    session.run_many(RECORD_EVENT, rows)


def prune_events(session: Session, exec_id: str, keep: int) -> None:
    """Forget all but the newest events of an execution."""
    session.run("prune_events", exec_id, keep)


def list_logs(
    session: Session,
    exec_id: str,
    positions: Sequence[str] | None,
    after: int,
    limit: int | None,
) -> list[tuple[int, LogLine]]:
    """Return log lines with their cursor, oldest first."""
    words = None if positions is None else msgspec.json.encode(list(positions)).decode()
    rows = session.rows("list_logs", exec_id, after, words, _ALL if limit is None else limit)
    return [log_from_row(row) for row in rows]


def list_events(
    session: Session, exec_id: str, after: int, limit: int | None
) -> list[tuple[int, EventRecord]]:
    """Return events with their cursor, oldest first."""
    rows = session.rows("list_events", exec_id, after, _ALL if limit is None else limit)
    return [event_from_row(row) for row in rows]
