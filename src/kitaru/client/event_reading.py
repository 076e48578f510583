"""Reading what an execution tells, from its beginning or from a cursor, until it has finished."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from hashlib import blake2b
from typing import Any

from kitaru.client.connection import Connection
from kitaru.client.models import UserValue
from kitaru.clock import Clock, to_datetime
from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.model import EventKind, EventRecord, ExecutionRecord, ExecutionStatus

_PAGE = 500  # events per query
_FIRST_POLL_SECONDS = 0.05  # while things happen
_LAST_POLL_SECONDS = 0.5  # when nothing does
_MOST_FAILURES = 20  # polls in a row that a store may fail before its reader gives up

_END = {
    ExecutionStatus.COMPLETED: EventKind.EXECUTION_COMPLETED,
    ExecutionStatus.FAILED: EventKind.EXECUTION_FAILED,
    ExecutionStatus.CANCELLED: EventKind.EXECUTION_CANCELLED,
}
_FACTS = ("status", "error_type", "message", "data")
_CURSOR = re.compile(r"([0-9]{1,18})(?:e([0-9]{1,18}))?-([0-9a-f]{12})")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionEvent:
    """Something that an execution has told.

    Attributes:
        kind: What it is: one of `EventKind`, or a word of user code.
        payload: Under `kitaru` who told it; `message`, `data`, `status` and `error_type` as they apply.
        correlation_id: What it belongs to: an attempt of a call, if the sender has not said otherwise.
        index: Its number among what its sender has told; None for what Kitaru itself tells.
        cursor: Where reading can go on after it, with `since=`.
        checkpoint_id: Id of the call that told it; None for the flow's own body.
        checkpoint_name: Name of that call's checkpoint.
        step_name: The same as `checkpoint_id`.
        created_at: When it happened.
    """

    exec_id: str
    kind: str
    payload: Mapping[str, UserValue]
    correlation_id: str | None
    index: int | None
    cursor: str | None
    checkpoint_id: str | None
    checkpoint_name: str | None
    step_name: str | None
    created_at: datetime

    @property
    def message(self) -> str | None:
        """What the sender wants shown."""
        return self.payload.get("message")

    @property
    def data(self) -> Mapping[str, UserValue]:
        """The facts that came with it."""
        return self.payload.get("data") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; None leaves a field open.

    Raises:
        KitaruUsageError: A word is empty or has several lines.
    """

    kinds: Sequence[str] | None = None
    checkpoint: str | None = None
    correlation_ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, words in (("kinds", self.kinds), ("correlation_ids", self.correlation_ids)):
            if isinstance(words, str):
                message = f"expected `{name}` to be a list, got: {words!r}"
                raise KitaruUsageError(message)
            for word in words or ():
                _check_word(name, word)
        if self.checkpoint is not None:
            _check_word("checkpoint", self.checkpoint)

    def wants(self, event: ExecutionEvent) -> bool:
        """Whether an event fits."""
        return (
            (self.kinds is None or event.kind in self.kinds)
            and (
                self.checkpoint is None
                or self.checkpoint in (event.checkpoint_id, event.checkpoint_name)
            )
            and (self.correlation_ids is None or event.correlation_id in self.correlation_ids)
        )


def _check_word(name: str, word: object) -> None:
    if not isinstance(word, str) or not word or "\n" in word or "\r" in word:
        message = f"expected `{name}` to be made of words of one line, got: {word!r}"
        raise KitaruUsageError(message)


class Standing(Enum):
    """Whether an execution has more to tell."""

    MORE = "more"
    """More is there already."""
    OPEN = "open"
    """More may come."""
    OVER = "over"
    """It has ended, and everything is told."""


class EventReader:
    """Reads an execution's events on from a cursor.

    Args:
        connection: Where they are.
        exec_id: The execution.
        wanted: Which of them to give out.
        since: The cursor of the last event that is known already.
        reconnect: Read on after the store could not be reached for a while.

    Raises:
        KitaruUsageError: The cursor is none of this execution.
    """

    def __init__(
        self,
        connection: Connection,
        exec_id: str,
        wanted: EventFilter,
        *,
        since: str | None,
        reconnect: bool,
    ) -> None:
        self.exec_id = exec_id
        self._connection = connection
        self._wanted = wanted
        self._reconnect = reconnect
        self._tag = blake2b(exec_id.encode(), digest_size=6).hexdigest()
        self._last = 0  # number of the last event that was read
        self._known_end: int | None = None  # when the execution ended, if that was read
        if since is not None:
            self._go_to(since)

    def _go_to(self, cursor: str) -> None:
        found = _CURSOR.fullmatch(cursor)
        if found is not None and found[3] == self._tag:
            self._last = int(found[1])
            self._known_end = None if found[2] is None else int(found[2])
            store = self._connection.store
            if not self._last or store.list_events(self.exec_id, after=self._last - 1, limit=1):
                return
        message = (
            f"`since={cursor!r}` is no cursor of execution {self.exec_id!r}. Give the `cursor` of one of"
            f" its events, or leave it out to read from the beginning."
        )
        raise KitaruUsageError(message)

    @property
    def last(self) -> int:
        """Number of the last event that was read."""
        return self._last

    @property
    def cursor(self) -> str:
        """Where reading can go on after what was read, wanted or not."""
        return f"{self._last}-{self._tag}"

    def read(self, clock: Clock, *, follow: bool = True) -> Iterator[ExecutionEvent]:
        """Give out the events that are there and those to come, until the execution has finished.

        Args:
            clock: The time.
            follow: Whether to wait for those to come.
        """
        nobody = threading.Event()
        pause, failures = _FIRST_POLL_SECONDS, 0
        while True:
            try:
                events, stands = self.poll()
            except KitaruBackendError:
                failures += 1
                if not self._reconnect or failures > _MOST_FAILURES:
                    raise
                nobody.wait(clock.pass_time(_LAST_POLL_SECONDS))
                continue
            failures = 0
            yield from events
            if stands is Standing.MORE:
                continue
            if stands is Standing.OVER or not follow:
                return
            nobody.wait(clock.pass_time(pause))
            pause = _FIRST_POLL_SECONDS if events else min(pause * 2, _LAST_POLL_SECONDS)

    def poll(self, *, size: int = _PAGE) -> tuple[list[ExecutionEvent], Standing]:
        """Return the next events that are there, from up to `size`, and whether others will come."""
        ended = self._ended()
        found, is_all = self._page(size)
        events = [event for event in found if self._wanted.wants(event)]
        if not is_all:
            return events, Standing.MORE
        if ended is None:
            return events, Standing.OPEN
        # Looked up before the last events were: what came before it has been given out.
        end = self._end_of(ended)
        if ended.ended_at != self._known_end and self._wanted.wants(end):
            events.append(end)
        return events, Standing.OVER

    def _ended(self) -> ExecutionRecord | None:
        store = self._connection.store
        status = store.get_statuses([self.exec_id]).get(self.exec_id)
        if status is not None and not status.is_finished:
            return None
        execution = store.get_execution(self.exec_id)
        return execution if execution.status.is_finished else None

    def _page(self, size: int) -> tuple[list[ExecutionEvent], bool]:
        """Return the next events, and whether they are all that there are."""
        # From the last known one on: if that is gone, so may be others that nobody has read.
        rows = self._connection.store.list_events(
            self.exec_id, after=max(self._last - 1, 0), limit=size
        )
        events: list[ExecutionEvent] = []
        if self._last and (not rows or rows[0][0] != self._last):
            events.append(self._gap(rows[0][1].created_at if rows else 0))
        for number, record in rows:
            if number > self._last:
                self._last = number
                events.append(self._event_of(record))
        return events, len(rows) < size

    def _event_of(self, record: EventRecord) -> ExecutionEvent:
        told: dict[str, Any] = json.loads(record.payload)
        if record.kind == EventKind.DIVERGENCE:
            told = {"call": told.get("call_id"), "name": told.get("checkpoint"), "data": told}
        return self._event(record.kind, told, record.created_at)

    def _gap(self, moment: int) -> ExecutionEvent:
        return self._event(EventKind.GAP, {"data": {"dropped": None}}, moment)

    def _end_of(self, execution: ExecutionRecord) -> ExecutionEvent:
        told: dict[str, Any] = {"status": execution.status.value}
        if execution.failure is not None:
            told["error_type"] = execution.failure.exception_type.rpartition(".")[2]
        ended_at = execution.ended_at or execution.created_at
        return self._event(_END[execution.status], told, ended_at, mark=f"e{ended_at}")

    def _event(
        self, kind: str, told: Mapping[str, Any], moment: int, *, mark: str = ""
    ) -> ExecutionEvent:
        call_id, correlation_id = told.get("call"), told.get("correlation_id")
        sender = {
            "source": "kitaru",
            "execution_id": self.exec_id,
            "checkpoint_id": call_id,
            "checkpoint_name": told.get("name"),
            "checkpoint_type": told.get("type"),
            "attempt": told.get("attempt"),
            "correlation_id": correlation_id,
        }
        return ExecutionEvent(
            exec_id=self.exec_id,
            kind=kind,
            payload={
                "kitaru": {name: fact for name, fact in sender.items() if fact is not None},
                **{name: told[name] for name in _FACTS if name in told},
            },
            correlation_id=correlation_id,
            index=told.get("index"),
            cursor=f"{self._last}{mark}-{self._tag}",
            checkpoint_id=call_id,
            checkpoint_name=told.get("name"),
            step_name=call_id,
            created_at=to_datetime(moment),
        )
