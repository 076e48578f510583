"""The commits that are nearly all there are, each in one statement instead of a transaction of several.

A way to the database and back takes as long as the database's work. So what usual runs write has statements
of its own, in which the fence and the rows are together: journal rows, an end, a creation. What they do is
what `journal.py` does. Whatever is not usual, or turns out not to be, they leave to it untouched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class UsualWrites:
    """Writes that are all usual, by their places, in the order in which they are written.

    Attributes:
        calls: One journal row each.
        ends: Ends of executions.
        creations: Executions without a parent or a record.
        others: How many there are that come after the end of their claim, which `journal.commit` will find.
    """

    calls: Mapping[int, JournalEntry]
    ends: Mapping[int, JournalEntry]
    creations: Mapping[int, NewExecution]
    others: int

    @property
    def are_one_statement(self) -> bool:
        """Whether they need no transaction around them."""
        if self.creations:
            return len(self.creations) == 1 and not (self.calls or self.ends)
        return not (self.calls and self.ends)

    def __len__(self) -> int:
        return len(self.calls) + len(self.ends) + len(self.creations) + self.others


def find_usual(writes: Sequence[Write]) -> UsualWrites | None:
    """Return writes by what they consist of; None if one of them is not usual."""
    calls: dict[int, JournalEntry] = {}
    ends: dict[int, JournalEntry] = {}
    creations: dict[int, NewExecution] = {}
    ended: set[str] = set()
    others = 0
    for place, write in enumerate(writes):
        if isinstance(write, NewExecution):
            if write.parent_id is not None or write.origin_id is not None or write.calls:
                return None
            creations[place] = write
        elif write.attempts or write.artifacts or write.metadata or write.waits:
            return None
        elif write.exec_id in ended:
            others += 1
        elif _is_call(write):
            calls[place] = write
        elif _is_end(write):
            ended.add(write.exec_id)
            ends[place] = write
        else:
            return None
    return UsualWrites(calls, ends, creations, others)


def _is_call(entry: JournalEntry) -> bool:
    return entry.outcome is None and len(entry.calls) == 1 and not entry.events


def _is_end(entry: JournalEntry) -> bool:
    outcome = entry.outcome
    return outcome is not None and outcome.status in ENDS and not entry.calls and not outcome.reopen


def commit_usual(session: Session, writes: UsualWrites) -> Found:
    """Write what is usual, kind by kind; a transaction by itself if it is one statement.

    It may be done again if nobody knows whether it was committed: a row or an end that is there already is
    left to `journal.commit`, which says of it what was said the first time.
    """
    if len(writes) > 1:
        fault("commit.group")
    found: dict[int, Committed] = {}
    if writes.calls:
        found |= _commit_calls(session, writes.calls)
    if writes.ends:
        found |= _commit_ends(session, writes.ends)
    if writes.creations:
        found |= _create(session, writes.creations)
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


def _commit_calls(session: Session, entries: Mapping[int, JournalEntry]) -> Found:
    if len(entries) == 1:
        [(place, entry)] = entries.items()
        committed = commit_call(session, entry)
        return {} if committed is None else {place: committed}
    arguments: dict[tuple[str, str], tuple[int, tuple[object, ...]]] = {}
    for place, entry in entries.items():
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


def _commit_ends(session: Session, entries: Mapping[int, JournalEntry]) -> Found:
    places: dict[str, int] = {}
    arguments: list[tuple[object, ...]] = []
    events: list[Sequence[object]] = []
    for place, entry in entries.items():
        assert entry.outcome is not None  # noqa: S101 - for the type checker; `_is_end` has looked
        places[entry.exec_id] = place
        status, *columns = outcome_columns(entry.outcome, is_cancelled=False)
        codec, data, digest, size, failure, reason, _, _, ended_at, _ = columns
        arguments.append(
            (
                *(entry.exec_id, entry.epoch, status.value, codec, data, digest, size),
                *(failure, reason, ended_at, mark_of_end(entry.epoch, entry.outcome)),
            )
        )
        events.append([event_to_row(entry.exec_id, event)[1:] for event in entry.events])
    if len(arguments) == 1:
        rows = session.rows("commit_end", *arguments[0], _json(events[0]))
    else:
        whole = [(*row, told) for row, told in zip(arguments, events, strict=True)]
        rows = session.rows("commit_ends", _json(whole))
    return {places[exec_id]: _held(cancel_requested_at) for exec_id, cancel_requested_at in rows}


def _create(session: Session, news: Mapping[int, NewExecution]) -> Found:
    found: dict[int, Committed] = {}
    for place, new in news.items():
        if session.run(INSERT_EXECUTION, *execution_to_row(new)):
            found[place] = Committed(held=True, execution=created_execution(new), created=True)
    return found


def _held(cancel_requested_at: int | None) -> Committed:
    return HELD if cancel_requested_at is None else HELD_AND_CANCELLED


def _json(rows: Sequence[object]) -> str:
    # Bytes become base64.
    return msgspec.json.encode(rows).decode()
