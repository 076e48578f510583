"""Telling everybody who watches that something has become pending, or a wait is over.

However many watch, the store is watched once. Changes that come close together are told together: whoever
hears of one looks at the store, and finds all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from kitaru.store.contract import Store, Watch

_PING_SECONDS = 5.0
_PAUSE_SECONDS = 0.02


class Bell:
    """Rings for every listener when the store says that something has changed. Belongs to one event loop.

    Args:
        store: What is watched, from the first listener on.
        ping_seconds: How often a listener is told that the stream is alive.
    """

    def __init__(self, store: Store, *, ping_seconds: float = _PING_SECONDS) -> None:
        self._store = store
        self._ping_seconds = ping_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: Watch | None = None
        self._listeners: set[asyncio.Event] = set()
        self._is_closed = False

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def close(self) -> None:
        """End all streams, and watch the store no longer."""
        self._is_closed = True
        self._ring()
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    async def listen(self) -> AsyncGenerator[bytes]:
        """Yield a stream of server-sent events, until the bell is closed.

        `state` says with `{"live": …}` whether changes are told at all, first and whenever that changes;
        `change` says that it is worth looking. Comments say that the stream is alive.
        """
        self._loop = asyncio.get_running_loop()
        if self._watch is None and not self._is_closed:
            self._watch = self._store.watch(self._wake)
        rung = asyncio.Event()
        self._listeners.add(rung)
        try:
            told: bool | None = None
            while not self._is_closed:
                is_live = self._watch is not None and self._watch.is_live
                if is_live is not told:
                    told = is_live
                    live = b"true" if is_live else b"false"
                    # Between two states something may have changed that nobody has told.
                    yield b'event: state\ndata: {"live":' + live + b"}\n\n"
                try:
                    async with asyncio.timeout(self._ping_seconds):
                        await rung.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if self._is_closed:
                    return
                rung.clear()
                yield b"event: change\ndata: {}\n\n"
                await asyncio.sleep(_PAUSE_SECONDS)
        finally:
            self._listeners.discard(rung)

    def _wake(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        for rung in self._listeners:
            rung.set()
