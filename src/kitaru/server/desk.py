"""What a server does for people, dashboards and scripts: it reads as the client does, and runs nothing.

What makes an execution go on makes it `pending` here. Workers take it up, or the attendant beside the server
has a process started for it; a server never does that itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from kitaru.attendant.presence import dead_owner_of, facts_of_runner, this_process
from kitaru.client.connection import Connection
from kitaru.client.event_reading import EventFilter, EventReader
from kitaru.client.executions import Executions
from kitaru.client.importing import Container, import_values
from kitaru.client.log_reading import LogOrigin, LogReader
from kitaru.client.lookup import key_of
from kitaru.client.models import Execution, PendingWait
from kitaru.client.reading import execution_of, pending_wait_of
from kitaru.clock import MICROSECONDS, to_datetime
from kitaru.errors import (
    KitaruFeatureNotAvailableError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.model import (
    Claim,
    ExecutionRecord,
    ExecutionStatus,
    JournalEntry,
    Outcome,
    StoredValue,
    WaitKind,
    WaitRecord,
    WaitStatus,
)
from kitaru.reopening import retry_failed
from kitaru.server.neighbours import ServerNeighbours
from kitaru.server.serving import Serving
from kitaru.store.contract import Store
from kitaru.store.contract.serving import BoundStore
from kitaru.transitions import refuse

Key = tuple[int, str]
WaitKey = tuple[int, str, str]

# A claim that is given back in the next statement; if the server dies between, the reaper does it.
_MOMENT = 8 * MICROSECONDS


class Desk(Executions):
    """The executions of a project, for one request.

    Args:
        serving: The server.
        project: Of the request; the server's own if it names none.
        asker: Who asks, for the record.
        store: A store that is bound to the request's transaction, if it has one.
    """

    def __init__(
        self,
        serving: Serving,
        *,
        project: str | None,
        asker: str,
        store: BoundStore | None = None,
    ) -> None:
        self.asker = asker
        self._serving = serving
        self._project = project
        connection = Connection(
            serving.settings.having(project=project),
            # Of what a bound store lacks, a desk uses nothing: the clock, the watch, the file.
            store=serving.store if store is None else cast("Store", store),
            blobs=serving.blobs,
            neighbours=ServerNeighbours(),
            asker=asker,
        )
        super().__init__(connection, clock=serving.store.clock)

    @property
    def project(self) -> str:
        """Whose executions are listed."""
        return self._connection.settings.project

    @property
    def store(self) -> Store:
        """Where they are."""
        return self._connection.store

    def within(self, store: BoundStore) -> Desk:
        """Return the same desk inside a transaction."""
        return Desk(self._serving, project=self._project, asker=self.asker, store=store)

    # Reading, page by page

    def page(
        self,
        *,
        flow: str | None,
        status: ExecutionStatus | None,
        stack: str | None,
        tag: str | None,
        limit: int,
        before: Key | None,
    ) -> tuple[list[Execution], Key | None]:
        """Return a page of executions, newest first, and where the next one begins."""
        where = self._filter(flow=flow, status=status, stack=stack, tag=tag, metadata=None)
        records = self.store.list_executions(where, limit=limit, before=before)
        found = [execution_of(record, self, self._summary(record)) for record in records]
        return found, key_of(records[-1]) if len(records) == limit else None

    def open_questions(
        self, *, limit: int, after: WaitKey | None
    ) -> tuple[list[PendingWait], WaitKey | None]:
        """Return a page of the project's open questions, oldest first, and where the next one begins."""
        waits = self.store.list_open_waits(self.project, limit=limit, after=after)
        flows: dict[str, str] = {}
        for exec_id in dict.fromkeys(wait.exec_id for wait in waits):
            with contextlib.suppress(KitaruNotFoundError):  # deleted since, with its waits
                flows[exec_id] = self.store.get_execution(exec_id).flow
        found = [
            pending_wait_of(wait, flows[wait.exec_id]) for wait in waits if wait.exec_id in flows
        ]
        if len(waits) < limit:
            return found, None
        last = waits[-1]
        return found, (last.created_at, last.exec_id, last.position)

    def id_of(self, prefix: str) -> str:
        """Return the whole id of an execution."""
        return self._find(prefix).id

    def event_reader(
        self, exec_id: str, wanted: EventFilter, *, since: str | None = None
    ) -> EventReader:
        """Return what reads an execution's events on from a cursor."""
        return EventReader(self._connection, exec_id, wanted, since=since, reconnect=True)

    def log_reader(
        self, exec_id: str, *, checkpoint: str | None, source: LogOrigin | None, after: int
    ) -> LogReader:
        """Return what reads an execution's log on from a cursor."""
        return LogReader(
            self._connection, exec_id, checkpoint=checkpoint, source=source, limit=None, after=after
        )

    def import_values(self, path: Path) -> Container:
        """Bring in the large values of an exported file; return what it holds.

        Durability: each value is flushed. They are nobody's until the executions are brought in too.

        Raises:
            KitaruUsageError: It is no export, is damaged, or is from a newer version.
        """
        try:
            return import_values(self._connection, path)
        except KitaruUsageError as error:
            # The path is the server's own business.
            raise KitaruUsageError(str(error).replace(repr(str(path)), "the file")) from error

    # Acting

    def retry(self, exec_id: str) -> Execution:
        """Make a failed execution pending, with the failed calls that led to its failure.

        Durability: as `reopening.retry_failed`.

        Raises:
            KitaruStateError: It has not failed.
        """
        record = self._find(exec_id)
        if record.status is not ExecutionStatus.FAILED:
            refuse("retried", record.id, record.status, "failed")
        retry_failed(self.store, record.id, now=self._clock.now(), read_id=self._read_id)
        return self.get(record.id)

    def resume(self, exec_id: str) -> Execution:
        """Make an execution runnable at once that waits for nothing any more.

        Durability: see `_make_runnable`.

        Raises:
            KitaruStateError: It still waits, it runs, or it has finished.
        """
        found = self._find(exec_id).id
        self.store.wake_due(now=self._clock.now(), limit=100, exec_ids=[found])
        record = self.store.get_execution(found)
        if record.status is ExecutionStatus.RUNNING:
            message = (
                f"execution {found!r} is running. If its process is gone, `recover` makes it go on."
            )
            raise KitaruStateError(message)
        return self._go_on(record, "resumed", "waiting")

    def recover_one(self, exec_id: str) -> Execution:
        """Make an interrupted execution runnable at once: one whose runner is gone, or that is held.

        Durability: two transactions at most; a crash between them leaves it pending.

        Raises:
            KitaruStateError: It waits, it has finished, or its runner is alive.
        """
        record = self._find(exec_id)
        if record.status is ExecutionStatus.RUNNING:
            now = self._clock.now()
            if facts_of_runner(record, now=now).lost is None:
                message = (
                    f"execution {record.id!r} is running: its runner is alive, as far as can be known"
                    f" here, and holds its lease."
                )
                raise KitaruStateError(message)
            self.store.reap(now=now, dead_owners=dead_owner_of(record), exec_ids=[record.id])
            return self.get(record.id)
        return self._go_on(record, "recovered", "interrupted")

    def cancel(self, exec_id: str) -> Execution:
        """Ask for an execution and its children to be cancelled.

        Durability: one transaction.

        Raises:
            KitaruStateError: It has finished.
        """
        found = self._find(exec_id).id
        return self.get(self.store.request_cancel(found, by=self.asker, now=self._clock.now()).id)

    def delete(self, exec_id: str) -> None:
        """Remove a finished execution with its journal, logs and artifacts, and its children.

        Durability: one transaction.

        Raises:
            KitaruStateError: It, a child, or an execution that it is a part of has not finished.
        """
        found = self._find(exec_id).id
        self.store.delete_execution(found)
        neighbours = self._connection.neighbours
        neighbours.runner_log(self._connection.settings, found).unlink(missing_ok=True)

    def replay(
        self,
        exec_id: str,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Any = None,
        code: Literal["current", "recorded"] = "current",
        **flow_inputs: Any,
    ) -> Execution:
        """Refuse: a replay begins with the flow's code, which a server does not have.

        Raises:
            KitaruFeatureNotAvailableError: Always.
        """
        del from_, at, overrides, code, flow_inputs
        message = (
            f"execution {exec_id!r} cannot be replayed by the server, which has no flow's code. Replay it"
            f" where the code is: `kitaru executions replay {exec_id}`."
        )
        raise KitaruFeatureNotAvailableError(message)

    def _go_on(self, record: ExecutionRecord, verb: str, expected: str) -> Execution:
        if record.status.is_finished:
            refuse(verb, record.id, record.status, expected)
        if record.status is ExecutionStatus.WAITING:
            raise KitaruStateError(_still_waiting(record.id, self.store.list_waits(record.id)))
        now = self._clock.now()
        if record.held_at is not None or record.runnable_at > now:
            self._make_runnable(record.id, now)
        return self.get(record.id)

    def _make_runnable(self, exec_id: str, now: int) -> None:
        """Let a pending execution be taken up now, though it is held or not due yet.

        Only a claim ends either, so the server claims it and gives it back. Nothing is lost in between:
        whoever takes a lease back from a process that is gone leaves its execution pending.
        """
        claim = Claim(owner=this_process(), lease_expires_at=now + _MOMENT)
        for claimed in self.store.claim_executions(claim, now=now, limit=1, exec_ids=[exec_id]):
            released = Outcome(status=ExecutionStatus.PENDING, reason="released", runnable_at=now)
            self.store.commit(
                [JournalEntry(exec_id=exec_id, epoch=claimed.epoch, outcome=released)]
            )

    def _read_id(self, stored: StoredValue) -> str:
        return str(self.describe(stored))


def _still_waiting(exec_id: str, waits: Sequence[WaitRecord]) -> str:
    told = "; ".join(map(_told, (wait for wait in waits if wait.status is WaitStatus.OPEN)))
    return f"execution {exec_id!r} waits for {told or 'something that is not recorded'}."


def _told(wait: WaitRecord) -> str:
    match wait.kind:
        case WaitKind.INPUT:
            return f"an answer to {wait.wait_id!r}"
        case WaitKind.TIMER:
            moment = "later" if wait.wake_at is None else f"{to_datetime(wait.wake_at):%F %T} UTC"
            return f"its timer {wait.wait_id!r}, until {moment}"
        case WaitKind.CHILD:
            return f"the execution {wait.child_id!r} that it has started"
