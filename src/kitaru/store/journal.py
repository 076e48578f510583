"""Writing and reading what happens inside executions.

The fence. A runner may be paused for minutes and wake up believing that it still holds its execution,
while another has reaped and claimed it. So each entry is written only if, inside the transaction that
writes it, the execution is running under the entry's epoch. No other check protects the record, and none
is needed: the transaction holds the database's write lock, so that no claim can come between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.faults import fault
from kitaru.model import (
    ArtifactRecord,
    AttemptRecord,
    CallRecord,
    CallStatus,
    Committed,
    ExecutionRecord,
    ExecutionStatus,
    JournalEntry,
    MetadataRecord,
    NewExecution,
    Outcome,
    Write,
)
from kitaru.store.database import Session
from kitaru.store.execution_rows import INSERT_EXECUTION, created_execution, execution_to_row
from kitaru.store.executions import (
    find_execution,
    find_holder_of_key,
    reopen_calls,
)
from kitaru.store.log_rows import RECORD_EVENT, event_to_row
from kitaru.store.logs import serialize_cursors
from kitaru.store.queries import Row
from kitaru.store.rows import (
    artifact_from_row,
    artifact_to_row,
    attempt_from_row,
    attempt_to_row,
    call_from_row,
    call_to_row,
    failure_to_json,
    metadata_from_row,
)
from kitaru.store.waits import end_waits, record_waits, wake_unless_open

HELD = Committed(held=True)
HELD_AND_CANCELLED = Committed(held=True, cancel_requested=True)
LOST = Committed(held=False)

# How a claim may end. A release is not an outcome of the run; someone goes on with it.
_RELEASES = frozenset({ExecutionStatus.PENDING, ExecutionStatus.WAITING})
ENDS = frozenset(status for status in ExecutionStatus if status.is_finished)

_RECORD_CALL = "record_call"
_RECORD_METADATA = "record_metadata"

# How many columns identify a row that a later one of the same transaction may replace.
_KEYS = {_RECORD_CALL: 2, _RECORD_METADATA: 3}

# Older than any moment.
_EVER = 0


def is_repeatable(writes: Sequence[Write]) -> bool:
    """Return whether committing these again changes nothing and says the same.

    Only events would double, and not even they if they come with the end of a claim: nothing of an entry is
    written once its claim has ended.
    """
    return not any(
        isinstance(write, JournalEntry) and write.events and write.outcome is None
        for write in writes
    )


def commit(session: Session, writes: Sequence[Write]) -> list[Committed]:
    """Write several things; return what became of each, in order."""
    batch = _Batch(session)
    batch.lock(writes)
    committed = [
        batch.add_entry(write) if isinstance(write, JournalEntry) else batch.add_execution(write)
        for write in writes
    ]
    batch.write()
    if len(writes) > 1:
        fault("commit.group")
    return committed


def restore(session: Session, entries: Sequence[JournalEntry]) -> None:
    """Write what belongs to executions that have just been imported, finished, so that nobody claims them."""
    batch = _Batch(session)
    for entry in entries:
        batch.add_rows(entry)
    batch.write()


class _Batch:
    """The rows of one transaction, gathered so that each table is written once."""

    __slots__ = ("_fences", "_reopened", "_rows", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        # By statement. Rows of one statement keep their order; statements do not depend on each other.
        self._rows: dict[str, list[Row]] = {}
        self._reopened: list[tuple[str, Sequence[str]]] = []
        # What a claim's fence said in this transaction, in which only its outcome can change it.
        self._fences: dict[tuple[str, int], Committed] = {}

    def add_entry(self, entry: JournalEntry) -> Committed:
        exec_id, epoch = entry.exec_id, entry.epoch
        fence = self._fences.get((exec_id, epoch))
        if fence is None:
            fence = self._fences[exec_id, epoch] = self._check_fence(exec_id, epoch)
        if not fence.held:
            if entry.outcome is None:
                return fence
            return self._find_own_end(exec_id, epoch, entry.outcome)
        self.add_rows(entry)
        if entry.outcome is not None:
            self._end(entry, entry.outcome, is_cancelled=fence.cancel_requested)
            self._fences[exec_id, epoch] = LOST
        return fence

    def lock(self, writes: Sequence[Write]) -> None:
        """Take all rows at once and in one order, so that no two transactions have what the other wants."""
        if len(writes) > 1:
            concerned = {
                write.exec_id if isinstance(write, JournalEntry) else write.parent_id
                for write in writes
            }
            self._session.lock_executions(exec_id for exec_id in concerned if exec_id is not None)
        told = {w.exec_id for w in writes if isinstance(w, JournalEntry) and w.events}
        if told:
            serialize_cursors(self._session, told)

    def _find_own_end(self, exec_id: str, epoch: int, outcome: Outcome) -> Committed:
        """Return what became of an outcome that may have been committed before, unknown to its runner."""
        row = self._session.row("find_ended_claim", exec_id, mark_of_end(epoch, outcome))
        if row is None:
            return LOST
        return HELD if row[0] is None else HELD_AND_CANCELLED

    def add_rows(self, entry: JournalEntry) -> None:
        exec_id = entry.exec_id
        if entry.calls:
            self._add_calls(exec_id, entry.calls)
        if entry.attempts:
            rows = [attempt_to_row(exec_id, attempt) for attempt in entry.attempts]
            self._add("record_attempt", rows)
        if entry.artifacts:
            rows = [artifact_to_row(exec_id, artifact) for artifact in entry.artifacts]
            self._add("record_artifact", rows)
        if entry.metadata:
            rows = [(exec_id, datum.position, datum.key, datum.value) for datum in entry.metadata]
            self._add(_RECORD_METADATA, rows)
        if entry.events:
            self._add(RECORD_EVENT, [event_to_row(exec_id, event) for event in entry.events])
        if entry.waits:
            record_waits(self._session, exec_id, entry.waits)

    def _end(self, entry: JournalEntry, outcome: Outcome, *, is_cancelled: bool) -> None:
        exec_id = entry.exec_id
        status, *columns = outcome_columns(outcome, is_cancelled=is_cancelled)
        self._session.run(
            "record_outcome",
            status.value,
            *columns,
            mark_of_end(entry.epoch, outcome),
            exec_id,
            entry.epoch,
        )
        if status in ENDS:
            end_waits(self._session, (exec_id,))
        elif status is ExecutionStatus.WAITING:
            wake_unless_open(self._session, exec_id, outcome.waits_for)
        if outcome.reopen:
            self._reopened.append((exec_id, outcome.reopen))

    def add_execution(self, new: NewExecution) -> Committed:
        cancel_requested = False
        if new.parent_id is not None:
            parent = self._session.row("get_parent", new.parent_id)
            if parent is None:
                message = f"there is no execution {new.parent_id!r} to be the parent of {new.id!r}."
                raise KitaruNotFoundError(message)
            status, epoch, cancel_requested_at = parent
            if new.parent_epoch is not None and (status, epoch) != ("running", new.parent_epoch):
                return LOST
            cancel_requested = cancel_requested_at is not None
        row = execution_to_row(new)
        if (
            cancel_requested
            or self._is_orphan(new)
            or not self._session.run(INSERT_EXECUTION, *row)
        ):
            existing = _find_existing(self._session, new)
            return Committed(held=True, cancel_requested=cancel_requested, execution=existing)
        if new.parent_call is not None and new.parent_id is not None:
            self._add_calls(new.parent_id, (new.parent_call,))
        if new.calls:
            self._add_calls(new.id, new.calls)
        return Committed(held=True, execution=created_execution(new), created=True)

    def _is_orphan(self, new: NewExecution) -> bool:
        """Whether a replay has been created already; it must not be, if what it replays is gone."""
        if new.origin_id is None or self._session.row("find_origin", new.origin_id) is not None:
            return False
        # The origin was there when its record was read. The blobs that it named may go at any moment.
        if _find_existing(self._session, new) is not None:
            return True
        message = (
            f"there is no execution {new.origin_id!r} to replay; it was deleted meanwhile."
            f" Nothing was started."
        )
        raise KitaruNotFoundError(message)

    def write(self) -> None:
        for name, rows in self._rows.items():
            keys = _KEYS.get(name)
            changed = sum(
                self._session.run_many(name, part)
                for part in ([rows] if keys is None or len(rows) == 1 else _apart(rows, keys))
            )
            if name == _RECORD_CALL and changed < len(rows):
                _refuse_second_results(self._session, rows)
        # Last, because an entry may record the failed call that its outcome reopens.
        for exec_id, positions in self._reopened:
            reopen_calls(self._session, exec_id, positions)

    def _check_fence(self, exec_id: str, epoch: int) -> Committed:
        row = self._session.row("check_fence", exec_id, epoch)
        if row is None:
            return LOST
        return HELD if row[0] is None else HELD_AND_CANCELLED

    def _add_calls(self, exec_id: str, calls: Sequence[CallRecord]) -> None:
        self._add(_RECORD_CALL, [call_to_row(exec_id, call) for call in calls])

    def _add(self, name: str, rows: list[Row]) -> None:
        gathered = self._rows.get(name)
        if gathered is None:
            self._rows[name] = rows
        else:
            gathered += rows


def mark_of_end(epoch: int, outcome: Outcome) -> str:
    """Return the mark by which a runner finds out that it was itself that ended its claim."""
    return f"{epoch}:{outcome.status.value}"


def _apart(rows: list[Row], keys: int) -> Iterator[list[Row]]:
    """Yield the rows in parts, in order, none of which has two of the same key.

    A statement of several rows may be refused if it was to replace what it has itself just written.
    """
    part: list[Row] = []
    seen: set[Row] = set()
    for row in rows:
        if row[:keys] in seen:
            yield part
            part, seen = [], set()
        part.append(row)
        seen.add(row[:keys])
    yield part


def outcome_columns(outcome: Outcome, *, is_cancelled: bool) -> Row:
    """Return the first parameters of `record_outcome`; the status is no plain text yet."""
    status, failure = outcome.status, outcome.failure
    spent_retries = 0
    if status in _RELEASES:
        if is_cancelled:
            # Nobody would go on with it only to find the request.
            status = ExecutionStatus.CANCELLED
        elif failure is not None:
            spent_retries = 1
        failure = None
    elif status not in ENDS:
        message = f"expected an outcome to end a claim, got status {status.value!r}"
        raise KitaruUsageError(message)
    result = outcome.result
    return (
        status,
        None if result is None else result.codec,
        None if result is None else result.data,
        None if result is None else result.digest,
        None if result is None else result.size,
        None if failure is None else failure_to_json(failure),
        outcome.reason,
        outcome.runnable_at,
        outcome.held_at if status is ExecutionStatus.PENDING else None,
        outcome.ended_at,
        spent_retries,
    )


def _find_existing(session: Session, new: NewExecution) -> ExecutionRecord | None:
    """Return the execution that already is what `new` was to become."""
    found: str | None = None
    if new.idempotency_key is not None:
        found = find_holder_of_key(session, new.project, new.flow, new.idempotency_key)
    if found is None and new.parent_position is not None:
        row = session.row("find_by_parent_position", new.parent_id, new.parent_position)
        found = None if row is None else row[0]
    # If neither, it is the same creation, tried again.
    return find_execution(session, found or new.id)


def _refuse_second_results(session: Session, rows: Sequence[Row]) -> None:
    """Raise if one of these call rows has another outcome than the one that is recorded.

    A late row that only shows a call running is left out as it should be, and so is an outcome that is
    written again.
    """
    for row in rows:
        exec_id, position, fingerprint, status, output = row[0], row[1], row[6], row[8], row[14:16]
        recorded = session.row("get_outcome", exec_id, position)
        if not CallStatus(status).is_recorded or recorded is None:
            continue
        if recorded != (fingerprint, status, *output):
            message = (
                f"call {position!r} of execution {exec_id!r} has a result already, and now another."
                f" Two runs of one flow count its calls; the first result stays."
            )
            raise KitaruStateError(message)


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
    session: Session, project: str, cache_key: bytes, since: int | None, besides: str | None
) -> tuple[str, CallRecord] | None:
    """Return the newest completed call with this key, and its execution's id."""
    ended_since = _EVER if since is None else since
    row = session.row("find_cached_call", cache_key, project, ended_since, besides or "")
    return None if row is None else (row[0], call_from_row(row[1:]))
