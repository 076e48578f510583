"""The commits that are nearly all there are, each in one statement instead of a transaction of several.

A way to the database and back takes as long as the database's work. So what usual runs write has statements
of its own, in which the fence and the rows are together: journal rows, an end, a creation. What they do is
what `journal.py` does. Whatever is not usual, or turns out not to be, they leave to it untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec

from kitaru.faults import fault
from kitaru.model import Committed, JournalEntry, NewExecution, Write
from kitaru.store.database import Session
from kitaru.store.execution_rows import INSERT_EXECUTION, created_execution, execution_to_row
from kitaru.store.journal import (
    ENDS,
    HELD,
    HELD_AND_CANCELLED,
    LOST,
    mark_of_end,
    outcome_columns,
)
from kitaru.store.log_rows import event_to_row
from kitaru.store.rows import call_to_row

Found = Mapping[int, Committed]
"""What became of writes, by their place; those that are missing are left to `journal.commit`."""


class Usual(Enum):
    """What a write consists of, if that is usual; in the order in which they are written."""

    CALL = "one journal row"
    END = "the end of an execution"
    CREATION = "an execution without a parent or a record"


def kind_of(write: Write) -> Usual | None:
    """Return what a write consists of; None if it is not usual."""
    if isinstance(write, NewExecution):
        is_usual = write.parent_id is None and write.origin_id is None and not write.calls
        return Usual.CREATION if is_usual else None
    if write.attempts or write.artifacts or write.metadata or write.waits:
        return None
    outcome = write.outcome
    if outcome is None:
        return Usual.CALL if len(write.calls) == 1 and not write.events else None
    is_usual = outcome.status in ENDS and not write.calls and not outcome.reopen
    return Usual.END if is_usual else None


def is_one_statement(writes: Sequence[Write]) -> bool:
    """Return whether writes that are all usual are one statement, and so need no transaction around them."""
    kinds = {kind_of(write) for write in writes}
    return len(kinds) == 1 and (len(writes) == 1 or Usual.CREATION not in kinds)


def commit_usual(session: Session, writes: Sequence[Write]) -> Found:
    """Write what is usual, kind by kind; one statement, and a transaction by itself, if it is of one kind.

    It may be done again if nobody knows whether it was committed: a row or an end that is there already is
    left to `journal.commit`, which says of it what was said the first time.
    """
    by_kind: dict[Usual, dict[int, Write]] = {kind: {} for kind in Usual}
    ended: set[str] = set()
    for place, write in enumerate(writes):
        kind = kind_of(write)
        if isinstance(write, JournalEntry):
            if write.exec_id in ended:
                continue  # its claim is over by then, which `journal.commit` will find
            if kind is Usual.END:
                ended.add(write.exec_id)
        if kind is not None:
            by_kind[kind][place] = write
    if len(writes) > 1:
        fault("commit.group")
    found: dict[int, Committed] = {}
    for kind, some in by_kind.items():
        if some:
            found |= _DO[kind](session, some)
    return found


def commit_call(session: Session, entry: JournalEntry) -> Committed | None:
    """Write an entry of one journal row.

    Returns:
        What became of it; None if the row has an outcome already, which `journal.commit` has to look at.
    """
    row = session.row("commit_call", *call_to_row(entry.exec_id, entry.calls[0]), entry.epoch)
    if row is None:
        return LOST
    cancel_requested_at, is_written = row
    return _held(cancel_requested_at) if is_written else None


def _commit_calls(session: Session, entries: Mapping[int, Write]) -> Found:
    if len(entries) == 1:
        [(place, entry)] = entries.items()
        assert isinstance(entry, JournalEntry)  # noqa: S101 - for the type checker; `kind_of` has looked
        committed = commit_call(session, entry)
        return {} if committed is None else {place: committed}
    arguments: dict[tuple[str, str], tuple[int, tuple[object, ...]]] = {}
    for place, entry in entries.items():
        assert isinstance(entry, JournalEntry)  # noqa: S101 - as above
        call = entry.calls[0]
        # A statement may not write a row twice. The later one is left over.
        arguments.setdefault(
            (entry.exec_id, call.position),
            (place, (*call_to_row(entry.exec_id, call), entry.epoch)),
        )
    rows = session.rows("commit_calls", _json([row for _, row in arguments.values()]))
    found: dict[int, Committed] = {}
    for (place, _), (is_held, cancel_requested_at, is_written) in zip(
        arguments.values(), rows, strict=True
    ):
        if not is_held:
            found[place] = LOST
        elif is_written:
            found[place] = _held(cancel_requested_at)
    return found


def _commit_ends(session: Session, entries: Mapping[int, Write]) -> Found:
    places: dict[str, int] = {}
    arguments: list[tuple[object, ...]] = []
    for place, entry in entries.items():
        assert isinstance(entry, JournalEntry)  # noqa: S101 - for the type checker; `kind_of` has looked
        assert entry.outcome is not None  # noqa: S101 - as above
        places[entry.exec_id] = place
        status, *columns = outcome_columns(entry.outcome, is_cancelled=False)
        codec, data, digest, size, failure, reason, _, _, ended_at, _ = columns
        events = [event_to_row(entry.exec_id, event)[1:] for event in entry.events]
        arguments.append(
            (
                *(entry.exec_id, entry.epoch, status.value, codec, data, digest, size),
                *(failure, reason, ended_at, mark_of_end(entry.epoch, entry.outcome), events),
            )
        )
    rows = session.rows("commit_ends", _json(arguments))
    return {places[exec_id]: _held(cancel_requested_at) for exec_id, cancel_requested_at in rows}


def _create(session: Session, news: Mapping[int, Write]) -> Found:
    found: dict[int, Committed] = {}
    for place, new in news.items():
        assert isinstance(new, NewExecution)  # noqa: S101 - for the type checker; `kind_of` has looked
        if session.run(INSERT_EXECUTION, *execution_to_row(new)):
            found[place] = Committed(held=True, execution=created_execution(new), created=True)
    return found


_DO = {Usual.CALL: _commit_calls, Usual.END: _commit_ends, Usual.CREATION: _create}


def _held(cancel_requested_at: int | None) -> Committed:
    return HELD if cancel_requested_at is None else HELD_AND_CANCELLED


def _json(rows: Sequence[object]) -> str:
    # Bytes become base64.
    return msgspec.json.encode(rows).decode()
