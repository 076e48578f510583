"""Every test here has a server of its own, with a file behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.server import create_app
from kitaru.settings import Settings
from kitaru.settings_rules import file_url
from kitaru.store.http import HttpStore
from kitaru.store.opening import forget_stores
from kitaru.store.sqlite import SQLiteStore
from kitaru.worker import runners
from tests.relay import Relay
from tests.server.serving import DEADLINE_SECONDS, RunningServer, serving


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[SQLiteStore]:
    """Return the store that the server has."""
    store = SQLiteStore(tmp_path / "server.db")
    yield store
    store.close()


@pytest.fixture
def server_settings(behind: SQLiteStore, tmp_path: Path) -> Settings:
    return Settings(
        config_dir=tmp_path,
        store_url=behind.url,
        artifact_store=file_url(tmp_path / "server-blobs"),
    )


@pytest.fixture
def server(behind: SQLiteStore, server_settings: Settings) -> Iterator[RunningServer]:
    with serving(lambda: create_app(server_settings, store=behind)) as running:
        yield running


@pytest.fixture
def store(server: RunningServer) -> Iterator[HttpStore]:
    """Return the server's store as a client has it; what fails, fails soon."""
    opened = HttpStore(server.url, records_seconds=DEADLINE_SECONDS, others_seconds=2.0)
    yield opened
    opened.close()


@pytest.fixture
def relay(server: RunningServer) -> Iterator[Relay]:
    """Return a network to the server, which the test can cut."""
    with Relay(server.port) as between:
        yield between


@pytest.fixture
def connected(
    config_dir: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Have flows of this process run against the server."""
    with _connected(server.url, monkeypatch):
        yield server.url


@pytest.fixture
def connected_by_relay(
    config_dir: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Have flows of this process run against the server, over a network that can be cut."""
    with _connected(relay.url, monkeypatch):
        yield relay.url


@contextlib.contextmanager
def _connected(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KITARU_SERVER_URL", url)
    yield
    settings.forget()
    for runner in runners.forget_runners(url):
        for run in runner.in_flight():
            run.finished.exception(DEADLINE_SECONDS)
        runner.close()
    forget_stores()
