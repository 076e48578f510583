"""`/executions/{id}/events` and `/logs`: what an execution has told, as pages or as a live stream.

Whoever accepts `text/event-stream` gets a stream; everybody else a page of JSON.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from kitaru.client import shapes
from kitaru.client.event_reading import EventFilter, EventReader, Standing
from kitaru.client.log_reading import LogOrigin, LogReader
from kitaru.errors import KitaruNotFoundError
from kitaru.server import documents
from kitaru.server.asking import (
    VISIBLE,
    AtDesk,
    ExecId,
    Limit,
    Line,
    encode,
    listed,
    problems,
)
from kitaru.server.cursors import read_key, write_key
from kitaru.server.desk import Desk
from kitaru.server.serving import Serving
from kitaru.server.streams import SSE, Batch, EventStream, message

router = APIRouter(prefix="/executions", tags=["executions"])

_PAGE = 200  # rows of a stream that are held at once
_LATE_SECONDS = 0.5  # runners store lines at most 250 ms late

Words = Annotated[list[Line] | None, Query(max_length=50)]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=200,
        description="The `id` of the last message that a stream's listener has got.",
    ),
]

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A page, or a stream whose messages have an item each and end with `event: end`.",
        "content": {SSE: {"schema": {"type": "string"}}},
    },
    204: {"description": "The execution is over, and the stream's listener has got everything."},
}


def wants_stream(request: Request) -> bool:
    """Whether a request accepts a stream."""
    accepted = request.headers.get("accept", "")
    return any(part.partition(";")[0].strip().lower() == SSE for part in accepted.split(","))


@router.get(
    "/{exec_id}/events",
    response_model=documents.EventPage,
    responses={**problems(404, 409), **_STREAM},
)
async def list_events(
    request: Request,
    desk: AtDesk,
    exec_id: ExecId,
    kinds: Words = None,
    checkpoint: Line | None = None,
    correlation_ids: Words = None,
    limit: Limit = 200,
    after: Annotated[
        str | None,
        Query(max_length=200, pattern=VISIBLE, description="The cursor of the last event known."),
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Tell what an execution has told, oldest first; as a stream also what it tells from now on."""
    calls = Serving.of(request).calls
    wanted = EventFilter(kinds=kinds, checkpoint=checkpoint, correlation_ids=correlation_ids)
    is_stream = wants_stream(request)
    since = (last_event_id if is_stream else None) or after
    found = await calls.run(desk.id_of, exec_id)
    reader = await calls.run(desk.event_reader, found, wanted, since=since)
    if is_stream:
        return await _stream(request, found, "events", lambda: _read_events(reader))
    return await calls.run(_page_of_events, reader, limit)


def _page_of_events(reader: EventReader, limit: int) -> Response:
    # The event that is known already is read once more, to see that nothing behind it is gone.
    events, stands = reader.poll(size=limit + 1)
    while not events and stands is Standing.MORE:
        events, stands = reader.poll(size=limit + 1)
    following = reader.cursor if stands is Standing.MORE else None
    return listed([shapes.event(event) for event in events], next=following)


def _read_events(reader: EventReader) -> Batch:
    events, stands = reader.poll(size=_PAGE)
    messages = [message(event.cursor, encode(shapes.event(event))) for event in events]
    return Batch(
        messages=b"".join(messages),
        cursor=reader.last,
        has_more=stands is Standing.MORE,
        is_over=stands is Standing.OVER,
    )


@router.get(
    "/{exec_id}/logs",
    response_model=documents.LogPage,
    responses={**problems(404, 409), **_STREAM},
)
async def list_logs(
    request: Request,
    desk: AtDesk,
    exec_id: ExecId,
    checkpoint: Line | None = None,
    source: Annotated[
        LogOrigin | None,
        Query(description="`step`: what checkpoints wrote; `runner`: the flow's own body."),
    ] = None,
    limit: Limit = 200,
    after: Annotated[
        str | None, Query(max_length=200, description="`next` of the page before.")
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Show what an execution has printed and logged; as a stream also what it prints from now on."""
    serving = Serving.of(request)
    is_stream = wants_stream(request)
    word = (last_event_id if is_stream else None) or after
    [cursor] = (0,) if word is None else read_key(word, (int,))
    found = await serving.calls.run(desk.id_of, exec_id)
    reader = desk.log_reader(found, checkpoint=checkpoint, source=source, after=cursor)
    if is_stream:
        following = _FollowedLog(desk, reader, cursor)
        return await _stream(request, found, "logs", following.read)
    return await serving.calls.run(_page_of_logs, reader, limit)


def _page_of_logs(reader: LogReader, limit: int) -> Response:
    lines = reader.read_page(limit)
    following = write_key((lines[-1][0],)) if len(lines) == limit else None
    return listed([shapes.log_entry(entry) for _, entry in lines], next=following)


class _FollowedLog:
    """A log that is read on until its execution is over, and what came late is there."""

    def __init__(self, desk: Desk, reader: LogReader, cursor: int) -> None:
        self._desk = desk
        self._reader = reader
        self._cursor = cursor
        self._over_since: float | None = None

    def read(self) -> Batch:
        """Read the next lines."""
        is_over = self._is_over()
        lines = self._reader.read_page(_PAGE)
        if lines:
            self._cursor = lines[-1][0]
        messages = [
            message(write_key((cursor,)), encode(shapes.log_entry(entry)))
            for cursor, entry in lines
        ]
        return Batch(
            messages=b"".join(messages),
            cursor=self._reader.cursor,
            has_more=bool(lines),
            is_over=is_over and not lines,
        )

    def _is_over(self) -> bool:
        """Whether the execution was over, already a moment ago."""
        exec_id = self._reader.exec_id
        status = self._desk.store.get_statuses([exec_id]).get(exec_id)
        if status is None:
            message_ = f"execution {exec_id!r} was deleted."
            raise KitaruNotFoundError(message_)
        if not status.is_finished:
            self._over_since = None
            return False
        now = time.monotonic()
        self._over_since = now if self._over_since is None else self._over_since
        return now - self._over_since >= _LATE_SECONDS


async def _stream(request: Request, exec_id: str, kind: str, read: Any) -> Response:
    serving = Serving.of(request)
    serving.streams.check_room()
    first: Batch = await serving.calls.run(read)
    if "last-event-id" in request.headers and first.is_over and not first.messages:
        return Response(status_code=204)  # a browser's listener stops asking
    return EventStream(serving.streams.follow(exec_id, kind, first, read))
