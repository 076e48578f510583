"""What a running server has at hand: its store, its threads, its time."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from kitaru.blobs.contract import ServedBlobs
from kitaru.server.calls import Calls
from kitaru.server.changes import Bell
from kitaru.server.streams import Streams
from kitaru.server.timekeeping import Timekeeper
from kitaru.settings import Settings
from kitaru.store.contract.serving import ServedStore
from kitaru.store.journal_writer import JournalWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One application while it lives.

    Attributes:
        settings: The server's own.
        writer: The way of all clients' records into the store.
        calls: Threads for what blocks.
        urgent_calls: Threads that renew leases, and do nothing else.
        time: The store's time.
        bell: Rings when something has changed.
        streams: What is told live.
    """

    settings: Settings
    store: ServedStore
    blobs: ServedBlobs
    writer: JournalWriter
    calls: Calls
    urgent_calls: Calls
    time: Timekeeper
    bell: Bell
    streams: Streams

    @classmethod
    def of(cls, request: Request) -> Serving:
        """Return what the application of a request has."""
        found: Serving = request.app.state.serving
        return found

    def end_streams(self) -> None:
        """Let everybody who listens go, so that a server that is asked to stop can."""
        self.bell.close()
        self.streams.close()
