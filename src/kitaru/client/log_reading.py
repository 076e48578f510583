"""Reading an execution's log, once or as it grows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Literal

from kitaru import logs
from kitaru.client.bounds import check_bounds
from kitaru.client.connection import Connection
from kitaru.client.models import LogEntry
from kitaru.client.reading import log_entry_of
from kitaru.clock import Clock
from kitaru.errors import KitaruUsageError
from kitaru.model import CallRecord

LogOrigin = Literal["step", "runner"]

_FOLLOW_SECONDS = 0.2  # less than a person notices
_LATE_SECONDS = 0.5  # runners store lines at most 250 ms late


class LogReader:
    """Reads an execution's log on from where it stopped."""

    def __init__(
        self,
        connection: Connection,
        exec_id: str,
        *,
        checkpoint: str | None,
        source: LogOrigin | None,
        limit: int | None,
        after: int = 0,
    ) -> None:
        if source not in {None, "step", "runner"}:
            message = f"expected `source` to be 'step' or 'runner', got: {source!r}"
            raise KitaruUsageError(message)
        if source == "runner" and checkpoint is not None:
            message = "`checkpoint` cannot be combined with `source='runner'`, the flow's own body."
            raise KitaruUsageError(message)
        check_bounds(limit=limit)
        self.exec_id = exec_id
        self._connection = connection
        self._checkpoint = checkpoint
        self._source = source
        self._left = limit
        self._cursor = after
        self._calls: list[CallRecord] = []
        self._call_ids: dict[str, str] = {}

    @property
    def cursor(self) -> int:
        """Number of the last line that was read, wanted or not."""
        return self._cursor

    @property
    def is_full(self) -> bool:
        """Whether as many lines were read as were asked for."""
        return self._left == 0

    def follow(self, clock: Clock) -> Iterator[LogEntry]:
        """Read on until the execution has finished."""
        nobody = threading.Event()
        while not self.is_full:
            execution = self._connection.store.get_execution(self.exec_id)
            yield from self.read()
            if execution.status.is_finished:
                nobody.wait(clock.pass_time(_LATE_SECONDS))
                yield from self.read()
                return
            nobody.wait(clock.pass_time(_FOLLOW_SECONDS))

    def read(self) -> list[LogEntry]:
        """Return the lines that are there by now."""
        logs.flush(1.0)  # what this process's own runs have just written
        self._know_calls()
        lines = self._connection.store.list_logs(
            self.exec_id, positions=self._positions(self._calls), after=self._cursor
        )
        entries: list[LogEntry] = []
        for cursor, line in lines:
            self._cursor = cursor
            if self.is_full:
                break
            if self._source != "step" or line.position:
                entries.append(log_entry_of(line, self._call_ids))
                self._left = None if self._left is None else self._left - 1
        return entries

    def read_page(self, size: int) -> list[tuple[int, LogEntry]]:
        """Return up to `size` of the next lines, each with its cursor; none if there are no more by now."""
        if self._checkpoint is not None or not self._call_ids:
            self._know_calls()
        while True:
            lines = self._connection.store.list_logs(
                self.exec_id,
                positions=self._positions(self._calls),
                after=self._cursor,
                limit=size,
            )
            wanted = [
                (cursor, line) for cursor, line in lines if self._source != "step" or line.position
            ]
            if any(line.position not in self._call_ids for _, line in wanted if line.position):
                self._know_calls()
            if lines:
                self._cursor = lines[-1][0]
            if wanted or len(lines) < size:
                return [(cursor, log_entry_of(line, self._call_ids)) for cursor, line in wanted]

    def _know_calls(self) -> None:
        self._calls = self._connection.store.list_calls(self.exec_id)
        self._call_ids = {call.position: call.call_id for call in self._calls}

    def _positions(self, calls: Sequence[CallRecord]) -> list[str] | None:
        if self._source == "runner":
            return [""]
        if self._checkpoint is None:
            return None
        wanted = [call.position for call in calls if call.call_id == self._checkpoint]
        return wanted or [call.position for call in calls if call.name == self._checkpoint]
