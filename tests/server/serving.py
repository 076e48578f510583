"""A server in a thread of the test's own process, on a free port of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI

from kitaru.blobs.contract import ServedBlobs
from kitaru.server.changes import Bell
from kitaru.server.timekeeping import Timekeeper
from kitaru.store.contract.serving import ServedStore
from kitaru.store.journal_writer import JournalWriter

DEADLINE_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RunningServer:
    """A server that can be stopped and started again, on the same port.

    Args:
        make_app: Makes the application, anew for each start.
        options: More for `uvicorn.Config`, such as certificates.
    """

    def __init__(self, make_app: Callable[[], FastAPI], **options: Any) -> None:
        self._make_app = make_app
        self._options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.app: FastAPI | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.app = self._make_app()
        config = uvicorn.Config(
            self.app,
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
            **self._options,
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, name="test-server", daemon=True)
        self._thread.start()
        wait_until(lambda: server.started or not self._is_running())
        assert server.started, "the server did not start; see its log above"

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(DEADLINE_SECONDS)
            assert not self._thread.is_alive()
        self._server = self._thread = None

    def serve_store(self, store: ServedStore) -> None:
        """Answer from another store from now on."""
        assert self.app is not None
        time = Timekeeper()
        time.follow(store.clock)
        self.app.state.serving = dataclasses.replace(
            self.app.state.serving,
            store=store,
            writer=JournalWriter(store.commit),
            time=time,
            bell=Bell(store),
        )

    def serve_blobs(self, blobs: ServedBlobs) -> None:
        """Keep large values in another place from now on."""
        assert self.app is not None
        self.app.state.serving = dataclasses.replace(self.app.state.serving, blobs=blobs)

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


@contextlib.contextmanager
def serving(make_app: Callable[[], FastAPI], **options: Any) -> Iterator[RunningServer]:
    server = RunningServer(make_app, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wait_until(condition: Callable[[], bool], *, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for a condition that something else brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.005)
