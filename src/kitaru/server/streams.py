"""Live streams: server-sent events that tell what an execution tells, as it tells it.

A stream is read from the store page by page, in a thread of the pool and only while a page is read. Whoever
listens slowly is written to slowly: the next page is read when the former one has gone out, so that nothing
gathers in memory. All streams of one execution share one look at the store.

Every message has an `id`, the cursor behind it: a listener that comes back with it as `Last-Event-ID` misses
nothing and hears nothing twice. The last message is `event: end`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import StreamingResponse
from starlette.types import Send

from kitaru.errors import KitaruError
from kitaru.model import ExecutionStatus
from kitaru.server.calls import Calls
from kitaru.server.refusal import Refusal
from kitaru.store.contract import Store

SSE = "text/event-stream"
MOST_STREAMS = 1000
"""How many streams one server has open; whoever comes then is asked to come again."""

_KEEP_ALIVE_SECONDS = 15.0
_STALLED_SECONDS = 60.0
_FIRST_LOOK_SECONDS = 0.1  # while things happen
_LAST_LOOK_SECONDS = 1.0  # when nothing does
_ROWS_AT_ONCE = 100
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

_log = logging.getLogger("kitaru.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one reading of the store has brought.

    Attributes:
        messages: Ready to be sent.
        cursor: Number of the last row that was read.
        has_more: Whether there is more to read at once.
        is_over: Whether nothing will ever follow.
    """

    messages: bytes
    cursor: int
    has_more: bool = False
    is_over: bool = False


def message(cursor: str | None, data: bytes, *, event: str | None = None) -> bytes:
    """Return one server-sent event; `data` is one line."""
    named = b"" if event is None else f"event: {event}\n".encode()
    marked = b"" if cursor is None else f"id: {cursor}\n".encode()
    return named + marked + b"data: " + data + b"\n\n"


class EventStream(StreamingResponse):
    """A response whose listener has gone if it takes nothing for a while."""

    def __init__(
        self, body: AsyncGenerator[bytes], *, stalled_seconds: float = _STALLED_SECONDS
    ) -> None:
        super().__init__(body, headers=_HEADERS, media_type=SSE)
        self._body = body
        self._stalled_seconds = stalled_seconds

    async def stream_response(self, send: Send) -> None:
        """Send the parts as they come."""
        head = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        async with aclosing(self._body):
            await send(head)
            async for part in self._body:
                try:
                    async with asyncio.timeout(self._stalled_seconds):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                except TimeoutError:
                    _log.info("a listener has taken nothing for %s s", self._stalled_seconds)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Pulse:
    """One execution's news, for all that listen to it."""

    def __init__(self) -> None:
        self.listeners = 0
        self.beats = 0
        self.cursors: dict[str, int] = {}
        self.beat = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def know(self, kind: str, cursor: int) -> None:
        """Look at what comes behind this from now on; whoever listens and is not there yet has news."""
        if cursor > self.cursors.get(kind, -1):
            self.cursors[kind] = cursor
            self.strike()

    def strike(self) -> None:
        self.beats += 1
        self.beat.set()
        self.beat = asyncio.Event()


class Streams:
    """The open streams of a server. Belongs to one event loop.

    Args:
        store: What they tell of.
        calls: Threads to read it in.
        keep_alive_seconds: How often a silent stream says that it is alive.
        most: How many there may be.
    """

    def __init__(
        self,
        store: Store,
        calls: Calls,
        *,
        keep_alive_seconds: float = _KEEP_ALIVE_SECONDS,
        most: int = MOST_STREAMS,
    ) -> None:
        self._store = store
        self._calls = calls
        self._keep_alive_seconds = keep_alive_seconds
        self._most = most
        self._pulses: dict[str, _Pulse] = {}
        self._open = 0
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many are open."""
        return self._open

    def close(self) -> None:
        """End all streams; their listeners come back with their cursor, to this server or another."""
        self._is_closed = True
        for pulse in self._pulses.values():
            pulse.strike()

    def check_room(self) -> None:
        """Refuse a listener if there are too many.

        Raises:
            Refusal: Come again.
        """
        if self._open >= self._most:
            detail = (
                f"this server has {self._most} streams open, which is all that it has. Come again."
            )
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, code="backend")

    async def follow(
        self, exec_id: str, kind: str, first: Batch, read: Callable[[], Batch]
    ) -> AsyncGenerator[bytes]:
        """Yield what is read of an execution, until that is over or the server ends.

        Args:
            exec_id: The execution.
            kind: What is read: `events` or `logs`.
            first: What was read already.
            read: Reads what follows; called in a thread.
        """
        self._open += 1
        try:
            async with self._listening(exec_id) as pulse:
                batch, beats = (
                    first,
                    -1,
                )  # what was read before there was a pulse is read on at once
                while not self._is_closed:
                    if batch.messages:
                        yield batch.messages
                    if batch.is_over:
                        yield message(None, b"{}", event="end")
                        return
                    if not batch.has_more:
                        pulse.know(kind, batch.cursor)
                        async for remark in self._quiet(pulse, beats):
                            yield remark
                    # Before it is read: news that come while it is read are not missed then.
                    beats = pulse.beats
                    batch = await self._calls.run(read)
        except KitaruError as error:
            # The listener comes back with its cursor.
            _log.warning("a stream of execution %s has ended: %s", exec_id, error)
        finally:
            self._open -= 1

    async def _quiet(self, pulse: _Pulse, beats: int) -> AsyncGenerator[bytes]:
        """Wait for news; yield a remark now and then meanwhile."""
        while pulse.beats == beats and not self._is_closed:
            beat = pulse.beat
            try:
                async with asyncio.timeout(self._keep_alive_seconds):
                    await beat.wait()
            except TimeoutError:
                yield b": still here\n\n"

    @asynccontextmanager
    async def _listening(self, exec_id: str) -> AsyncGenerator[_Pulse]:
        pulse = self._pulses.setdefault(exec_id, _Pulse())
        pulse.listeners += 1
        if pulse.task is None:
            pulse.task = asyncio.create_task(self._watch(exec_id, pulse))
        try:
            yield pulse
        finally:
            pulse.listeners -= 1
            if not pulse.listeners:
                del self._pulses[exec_id]
                pulse.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pulse.task

    async def _watch(self, exec_id: str, pulse: _Pulse) -> None:
        pause, status = _FIRST_LOOK_SECONDS, None
        while True:
            await asyncio.sleep(pause)
            try:
                is_news, now = await self._calls.run(self._look, exec_id, pulse)
            except KitaruError:
                is_news, now = True, status  # whoever reads finds out what is wrong
            if is_news or now is not status:
                pulse.strike()
            status = now
            pause = _FIRST_LOOK_SECONDS if is_news else min(pause * 1.5, _LAST_LOOK_SECONDS)

    def _look(self, exec_id: str, pulse: _Pulse) -> tuple[bool, ExecutionStatus | None]:
        """Return whether there is news, and where the execution stands."""
        status = self._store.get_statuses([exec_id]).get(exec_id)
        # Over, it is read until its listeners have found that there is no more.
        is_news = status is None or status.is_finished
        for kind, cursor in list(pulse.cursors.items()):
            listed = self._store.list_events if kind == "events" else self._store.list_logs
            rows = listed(exec_id, after=cursor, limit=_ROWS_AT_ONCE)
            if rows:
                # Further on at the next look, also if no listener wants what is here.
                pulse.cursors[kind] = rows[-1][0]
                is_news = True
        return is_news, status
