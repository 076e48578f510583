"""Events and log lines to rows and back."""

from __future__ import annotations

from kitaru.model import EventRecord, LogLine, LogSource
from kitaru.store.queries import Row
from kitaru.store.rows import clean

RECORD_EVENT = "record_event"
_SOURCE = {source.value: source for source in LogSource}


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
        source=_SOURCE[row[4]],
        level=row[5],
        logger=row[6],
        message=row[7],
        module=row[8],
        filename=row[9],
        lineno=row[10],
        logged_at=row[11],
    )
    return row[0], line
