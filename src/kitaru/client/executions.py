"""`client.executions`: look executions up, read what they wrote, act on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

from kitaru.client.answering import Answering, WaitList
from kitaru.client.bounds import check_bounds
from kitaru.client.connection import Connection
from kitaru.client.event_reading import EventFilter, EventReader, ExecutionEvent
from kitaru.client.log_reading import LogOrigin, LogReader
from kitaru.client.models import Execution, LogEntry, UserValue
from kitaru.client.reading import Detail, execution_of
from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.model import (
    CallRecord,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    StoredValue,
    WaitStatus,
)

# Inside a class that has a method `list`, annotations cannot say so.
ExecutionList = list[Execution]
EntryList = list[LogEntry]

_PAGE = 500  # executions per query where all are asked for


class Executions:
    """The executions of one project. Ids are accepted by unique prefix."""

    def __init__(self, connection: Connection, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._connection = connection
        self._clock = clock
        self._answering = Answering(connection, clock=clock)

    def get(self, exec_id: str) -> Execution:
        """Return an execution with its checkpoints and artifacts.

        Raises:
            KitaruNotFoundError: No execution's id begins so.
            KitaruStateError: Several do.
        """
        record = self._find(exec_id)
        return execution_of(record, self, self._detail(record))

    def list(
        self,
        *,
        flow: str | None = None,
        status: ExecutionStatus | str | None = None,
        stack: str | None = None,
        tag: str | None = None,
        metadata: Mapping[str, UserValue] | None = None,
        limit: int | None = None,
        page: int | None = None,
        size: int | None = None,
        after: str | None = None,
    ) -> ExecutionList:
        """Return executions as summaries, newest first; all of them if nothing bounds them.

        Args:
            metadata: Keys and values that `kitaru.log` gave the execution itself.
            limit: At most so many.
            page: Which page of `size` executions, from 1.
            size: Executions per page.
            after: Only executions older than this one, the last of the page before.

        Raises:
            KitaruUsageError: `limit` is given with `page` or `size`, `page` without `size`, or one
                is below 1; or there is no such status.
        """
        check_bounds(limit=limit, page=page, size=size)
        where = self._filter(flow=flow, status=status, stack=stack, tag=tag, metadata=metadata)
        before = None if after is None else _key(self._find(after))
        skip = 0 if page is None or size is None else (page - 1) * size
        found = self._records(where, before=before, skip=skip, limit=limit or size)
        return [execution_of(record, self, self._summary(record)) for record in found]

    def count(
        self,
        *,
        flow: str | None = None,
        status: ExecutionStatus | str | None = None,
        stack: str | None = None,
        tag: str | None = None,
        metadata: Mapping[str, UserValue] | None = None,
    ) -> int:
        """Return how many executions fit."""
        where = self._filter(flow=flow, status=status, stack=stack, tag=tag, metadata=metadata)
        return self._connection.store.count_executions(where)

    def latest(
        self, *, flow: str | None = None, status: ExecutionStatus | str | None = None
    ) -> Execution:
        """Return the newest execution as a summary.

        Raises:
            KitaruNotFoundError: None fits.
        """
        found = self.list(flow=flow, status=status, limit=1)
        if not found:
            wanted = [
                f"{name} {str(value)!r}"
                for name, value in (("flow", flow), ("status", status))
                if value is not None
            ]
            message = (
                f"no execution with {' and '.join(wanted)}." if wanted else "no execution yet."
            )
            raise KitaruNotFoundError(message)
        return found[0]

    @overload
    def logs(
        self,
        exec_id: str,
        *,
        checkpoint: str | None = None,
        source: LogOrigin | None = None,
        limit: int | None = None,
        follow: Literal[False] = False,
    ) -> EntryList: ...

    @overload
    def logs(
        self,
        exec_id: str,
        *,
        checkpoint: str | None = None,
        source: LogOrigin | None = None,
        limit: int | None = None,
        follow: Literal[True],
    ) -> Iterator[LogEntry]: ...

    def logs(
        self,
        exec_id: str,
        *,
        checkpoint: str | None = None,
        source: LogOrigin | None = None,
        limit: int | None = None,
        follow: bool = False,
    ) -> EntryList | Iterator[LogEntry]:
        """Return what an execution printed and logged, oldest first.

        Args:
            checkpoint: Only this call, by its id, or all calls of this checkpoint, by its name.
            source: `step` for what checkpoints wrote, `runner` for the flow's own body; both if not
                given.
            limit: At most so many lines, from the start.
            follow: Return an iterator that waits for more until the execution has finished.

        Raises:
            KitaruUsageError: `checkpoint` is given with `source="runner"`, there is no such source,
                or `limit` is below 1.
        """
        reader = LogReader(
            self._connection,
            self._find(exec_id).id,
            checkpoint=checkpoint,
            source=source,
            limit=limit,
        )
        return reader.follow(self._clock) if follow else reader.read()

    def events(
        self,
        exec_id: str,
        *,
        kinds: Sequence[str] | None = None,
        checkpoint: str | None = None,
        correlation_ids: Sequence[str] | None = None,
        since: str | None = None,
        reconnect: bool = True,
    ) -> Iterator[ExecutionEvent]:
        """Return an iterator over what an execution tells, until it has finished.

        Events of the past come first, then those to come, each when it happens. The last one is
        `kitaru.execution.completed`, `.failed` or `.cancelled`. The newest 10,000 are kept.

        Args:
            exec_id: The execution.
            kinds: Only these kinds.
            checkpoint: Only this call, by its id, or all calls of this checkpoint, by its name.
            correlation_ids: Only what belongs to these.
            since: Go on after the event with this cursor.
            reconnect: Go on when the store could not be reached for a while.

        Raises:
            KitaruUsageError: The cursor is none of this execution, or a filter is not acceptable.
        """
        wanted = EventFilter(kinds=kinds, checkpoint=checkpoint, correlation_ids=correlation_ids)
        reader = EventReader(
            self._connection, self._find(exec_id).id, wanted, since=since, reconnect=reconnect
        )
        return reader.read(self._clock)

    def retry(self, exec_id: str) -> Execution:
        """Continue a failed execution in this process, in the background.

        Recorded calls are not repeated; the calls that failed run again.

        Raises:
            KitaruStateError: It has not failed.
        """
        from kitaru import worker

        record = self._find(exec_id)
        worker.retry_execution(record.id)
        return self.get(record.id)

    def pending_waits(self, exec_id: str) -> WaitList:
        """Return the questions of an execution that are open, the one asked first first."""
        return self._answering.pending(self._find(exec_id))

    def input(self, exec_id: str, *, wait: str, value: UserValue, via: str = "client") -> Execution:
        """Answer an open question, so that the execution goes on wherever someone can run it.

        Args:
            exec_id: Which execution.
            wait: The wait's name or id.
            value: The answer: a JSON value, or what pydantic makes one of. A gate takes None.
            via: From where the answer comes, for the record.

        Durability: one transaction; the first answer counts.

        Raises:
            KitaruWaitValidationError: The answer does not fit the schema; the wait stays open.
            KitaruStateError: There is no such open wait, several go by the name, or someone was faster.
            KitaruUsageError: The answer is no JSON value.
        """
        record = self._find(exec_id)
        self._answering.answer(record.id, wait, value, via=via)
        return self.get(record.id)

    def abort_wait(self, exec_id: str, *, wait: str, via: str = "client") -> Execution:
        """Abort an open question: the flow gets `KitaruWaitAbortedError`, which it may catch.

        Raises:
            KitaruStateError: There is no such open wait, several go by the name, or someone was faster.
        """
        record = self._find(exec_id)
        self._answering.abort(record.id, wait, via=via)
        return self.get(record.id)

    def resume(self, exec_id: str) -> Execution:
        """Continue an execution in this process, in the background, that waits for nothing any more.

        An answer makes an execution go on by itself wherever someone can run it; this is for when
        nobody does.

        Raises:
            KitaruStateError: It still waits, it runs, or it has finished.
        """
        from kitaru import worker

        record = self._find(exec_id)
        worker.resume_execution(record.id)
        return self.get(record.id)

    def replay(
        self,
        exec_id: str,
        *,
        from_: str | None = None,
        at: str | None = None,
        overrides: Mapping[str, UserValue] | None = None,
        code: Literal["current", "recorded"] = "current",
        **flow_inputs: UserValue,
    ) -> Execution:
        """Start a new execution here from an old one's record, and return the new one.

        The flow is the one that the old execution ran, as its code is now. `Flow.replay` says what runs
        again.

        Raises:
            KitaruNotFoundError: There is no such execution, or its flow cannot be found here.
            KitaruStateError: It is running, or a selector means no call or several.
            KitaruUsageError: An override or an input is not acceptable.
        """
        from kitaru import worker

        record = self._find(exec_id)
        started = worker.replay_execution(
            record.id, from_=from_, at=at, overrides=overrides, code=code, flow_inputs=flow_inputs
        )
        return self.get(started)

    @overload
    def recover(self, exec_id: str) -> Execution: ...

    @overload
    def recover(self, exec_id: None = None) -> ExecutionList: ...

    def recover(self, exec_id: str | None = None) -> Execution | ExecutionList:
        """Continue interrupted executions in this process, in the background.

        Args:
            exec_id: Only this one; all of them if not given.
        """
        if exec_id is not None:
            return self.recover_one(exec_id)
        from kitaru import worker

        return [self.get(record.id) for record in worker.recover()]

    def recover_one(self, exec_id: str) -> Execution:
        """Continue one interrupted execution in this process, in the background."""
        from kitaru import worker

        record = self._find(exec_id)
        worker.recover([record.id])
        return self.get(record.id)

    def cancel(self, exec_id: str) -> Execution:
        """Ask for an execution and its children to be cancelled.

        One that is not running is cancelled at once; a running one when its runner notices, which is
        at once in this process and within seconds in another.

        Raises:
            KitaruStateError: It has finished.
        """
        from kitaru import worker

        return self.get(worker.cancel_execution(self._find(exec_id).id).id)

    def delete(self, exec_id: str) -> None:
        """Remove a finished execution with its journal, logs and artifacts, and its children.

        Raises:
            KitaruStateError: It, a child, or an execution that it is a part of has not finished.
        """
        self._connection.store.delete_execution(self._find(exec_id).id)

    def load(self, stored: StoredValue) -> UserValue:
        """Return a stored value."""
        return self._connection.load(stored)

    def describe(self, stored: StoredValue) -> UserValue:
        """Return what a stored value holds as JSON-like values, without running anything."""
        return self._connection.describe(stored)

    def _find(self, prefix: str) -> ExecutionRecord:
        store = self._connection.store
        if not prefix:
            message = "expected an execution's id or how it begins, got: ''"
            raise KitaruUsageError(message)
        found = store.find_execution_ids(prefix, limit=6)
        if not found:
            message = (
                f"no execution's id begins with {prefix!r}. `kitaru executions list` shows them."
            )
            raise KitaruNotFoundError(message)
        if len(found) > 1 and prefix not in found:
            more = ", …" if len(found) > 5 else ""
            message = f"several executions' ids begin with {prefix!r}: {', '.join(found[:5])}{more}"
            raise KitaruStateError(message)
        return store.get_execution(prefix if prefix in found else found[0])

    def _summary(self, record: ExecutionRecord) -> Detail:
        """Return what a summary has: the open questions of an execution that waits."""
        if record.status is not ExecutionStatus.WAITING:
            return Detail()
        waits = self._connection.store.list_waits(record.id)
        return Detail(waits=[wait for wait in waits if wait.status is WaitStatus.OPEN])

    def _detail(self, record: ExecutionRecord) -> Detail:
        store = self._connection.store
        # In the order in which they began; the store has them as they were first written.
        calls = sorted(store.list_calls(record.id), key=lambda call: call.started_at)
        return Detail(
            calls=calls,
            attempts=store.list_attempts(record.id),
            artifacts=store.list_artifacts(record.id),
            metadata=store.list_metadata(record.id),
            children=list(
                self._records(ExecutionFilter(project=record.project, parent_id=record.id))
            ),
            sources=self._sources(calls),
            waits=store.list_waits(record.id),
        )

    def _sources(self, calls: Sequence[CallRecord]) -> dict[str, str]:
        """Return for each reused `execution/position` the `execution/call` it is known by."""
        reused = [call.cached_from for call in calls]
        wanted = {origin.partition("/")[0] for origin in reused if origin is not None}
        return {
            f"{exec_id}/{call.position}": f"{exec_id}/{call.call_id}"
            for exec_id in wanted
            for call in self._connection.store.list_calls(exec_id)
        }

    def _filter(
        self,
        *,
        flow: str | None,
        status: ExecutionStatus | str | None,
        stack: str | None,
        tag: str | None,
        metadata: Mapping[str, UserValue] | None,
    ) -> ExecutionFilter:
        return ExecutionFilter(
            project=self._connection.settings.project,
            flow=flow,
            status=None if status is None else _status(status),
            stack=stack,
            tag=tag,
            metadata={key: json.dumps(value) for key, value in (metadata or {}).items()},
        )

    def _records(
        self,
        where: ExecutionFilter,
        *,
        before: tuple[int, str] | None = None,
        skip: int = 0,
        limit: int | None = None,
    ) -> Iterator[ExecutionRecord]:
        wanted = None if limit is None else skip + limit
        seen = 0
        while wanted is None or seen < wanted:
            size = _PAGE if wanted is None else min(_PAGE, wanted - seen)
            found = self._connection.store.list_executions(where, limit=size, before=before)
            yield from found[max(skip - seen, 0) :]
            seen += len(found)
            if len(found) < size:
                return
            before = _key(found[-1])


def _status(status: ExecutionStatus | str) -> ExecutionStatus:
    try:
        return ExecutionStatus(status)
    except ValueError:
        known = ", ".join(ExecutionStatus)
        message = f"expected `status` to be one of {known}, got: {status!r}"
        raise KitaruUsageError(message) from None


def _key(record: ExecutionRecord) -> tuple[int, str]:
    return record.created_at, record.id
