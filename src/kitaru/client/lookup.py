"""Finding executions in the store, with everything that belongs to them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from kitaru.client.answering import Answering
from kitaru.client.connection import Connection
from kitaru.client.models import Execution, UserValue
from kitaru.client.reading import Detail
from kitaru.clock import Clock, present_clock
from kitaru.errors import KitaruNotFoundError, KitaruStateError, KitaruUsageError
from kitaru.model import (
    CallRecord,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    StoredValue,
    WaitStatus,
)

_PAGE = 500  # executions per query where all are asked for


class Lookup(ABC):
    """What reading and steering executions have in common: a store, and ids by prefix."""

    def __init__(self, connection: Connection, *, clock: Clock | None = None) -> None:
        self._connection = connection
        self._given_clock = clock
        self._answering = Answering(connection, clock=clock)

    @property
    def _clock(self) -> Clock:
        return self._given_clock or present_clock(self._connection.store.clock)

    @abstractmethod
    def get(self, exec_id: str) -> Execution:
        """Return an execution with its checkpoints and artifacts."""

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
            before = key_of(found[-1])


def _status(status: ExecutionStatus | str) -> ExecutionStatus:
    try:
        return ExecutionStatus(status)
    except ValueError:
        known = ", ".join(ExecutionStatus)
        message = f"expected `status` to be one of {known}, got: {status!r}"
        raise KitaruUsageError(message) from None


def key_of(record: ExecutionRecord) -> tuple[int, str]:
    """Return what a page of executions ends with."""
    return record.created_at, record.id
