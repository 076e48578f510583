"""`client.executions`: look executions up, read what they wrote, act on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, overload

from kitaru.client.bounds import check_bounds
from kitaru.client.diffing import ExecutionDiff, diff
from kitaru.client.event_reading import EventFilter, EventReader, ExecutionEvent
from kitaru.client.explaining import explain
from kitaru.client.log_reading import LogOrigin, LogReader
from kitaru.client.lookup import key_of
from kitaru.client.models import Execution, LogEntry, UserValue
from kitaru.client.reading import execution_of
from kitaru.client.statistics import ExecutionStatistics, gather
from kitaru.client.steering import ExecutionList, Steering
from kitaru.client.story import Explanation
from kitaru.errors import KitaruNotFoundError
from kitaru.model import ExecutionStatus

# Inside a class that has a method `list`, annotations cannot say so.
EntryList = list[LogEntry]


class Executions(Steering):
    """The executions of one project. Ids are accepted by unique prefix."""

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
        before = None if after is None else key_of(self._find(after))
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
        at_most: int | None = None,
    ) -> int:
        """Return how many executions fit; with `at_most`, counting stops there."""
        where = self._filter(flow=flow, status=status, stack=stack, tag=tag, metadata=metadata)
        if at_most is None:
            return self._connection.store.count_executions(where)
        return self._connection.store.count_executions(where, at_most=at_most)

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
        follow: bool = True,
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
            follow: Wait for events to come; if not, end after those that are there.

        Raises:
            KitaruUsageError: The cursor is none of this execution, or a filter is not acceptable.
        """
        wanted = EventFilter(kinds=kinds, checkpoint=checkpoint, correlation_ids=correlation_ids)
        reader = EventReader(
            self._connection, self._find(exec_id).id, wanted, since=since, reconnect=reconnect
        )
        return reader.read(self._clock, follow=follow)

    def why(self, exec_id: str) -> Explanation:
        """Return why an execution is in its state, in plain words, and what would move it."""
        return explain(self._connection, self._find(exec_id), self._clock.now())

    def diff(self, exec_id: str, other_id: str) -> ExecutionDiff:
        """Return how an execution differs from another: inputs, result, and call by call.

        Values are compared by what is kept of them; nothing of the flows is imported or run.
        """
        return diff(self._connection, self._find(exec_id), self._find(other_id))

    def statistics(
        self, *, flow: str | None = None, since: datetime | timedelta | None = None
    ) -> ExecutionStatistics:
        """Return how the project's flows have fared: counts, rates and spans, by flow and checkpoint.

        Args:
            flow: Only this flow.
            since: Only executions that were created at this moment or later, or within this span.

        Raises:
            KitaruUsageError: `since` is a `datetime` without a time zone, or neither of the two.
        """
        return gather(self._connection, self._clock, flow=flow, since=since)

    def export(
        self, exec_id: str, path: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write an execution, its descendants and their large values to one file.

        What has not finished is exported as it stands, and is `cancelled` where it is imported: only
        here can it go on. Values are neither decoded nor encrypted.

        Args:
            exec_id: The execution.
            path: Of the file, by custom with the suffix `.kitaru`.
            overwrite: Replace a file that is there.

        Returns:
            The path.

        Durability: the file is complete and flushed to disk when this returns, and absent, or what it
        was before, whenever the process dies.

        Raises:
            KitaruUsageError: The path is taken, or is a folder.
            KitaruNotFoundError: There is no such execution, or no such folder.
            KitaruBackendError: The file cannot be written.
        """
        from kitaru.client.exporting import export_execution

        target, now = Path(path), self._clock.now()
        export_execution(
            self._connection, self._find(exec_id).id, target, overwrite=overwrite, now=now
        )
        return target

    def import_(self, path: str | os.PathLike[str]) -> Execution:
        """Bring in what `export` has written, here or elsewhere, and return the execution.

        It keeps its id and its project. It can be inspected and replayed, and a failed one retried.
        Import what you trust: to load a value may run code that came with it.

        Durability: all records come in one transaction, large values before. A crash leaves either
        nothing but values that no row names, or everything.

        Raises:
            KitaruNotFoundError: There is no such file.
            KitaruUsageError: It is no export, is damaged, or is from a newer version.
            KitaruStateError: One of its executions is here already.
        """
        from kitaru.client.importing import import_execution

        return self.get(import_execution(self._connection, Path(path)))
