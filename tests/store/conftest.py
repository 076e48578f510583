from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from kitaru.server import create_app
from kitaru.settings import Settings
from kitaru.settings_rules import file_url
from kitaru.store import Store
from kitaru.store.http import HttpStore
from kitaru.store.postgres import PostgresStore
from kitaru.store.sqlite import SQLiteStore
from tests.server.serving import RunningServer, serving


@contextmanager
def _sqlite(request: pytest.FixtureRequest) -> Iterator[Store]:
    folder: Path = request.getfixturevalue("tmp_path")
    opened = SQLiteStore(folder / "kitaru.db")
    yield opened
    opened.close()


@contextmanager
def _postgres(request: pytest.FixtureRequest) -> Iterator[Store]:
    opened = PostgresStore(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return a server for all tests of this process; each gives it a store of its own."""
    folder = tmp_path_factory.mktemp("server")
    first = SQLiteStore(folder / "kitaru.db")
    settings = Settings(
        config_dir=folder, store_url=first.url, artifact_store=file_url(folder / "blobs")
    )
    with serving(lambda: create_app(settings, store=first)) as server:
        yield server
    first.close()


@contextmanager
def _http(request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store behind a server, which has a file."""
    folder: Path = request.getfixturevalue("tmp_path")
    server: RunningServer = request.getfixturevalue("http_server")
    behind = SQLiteStore(folder / "kitaru.db")
    server.serve_store(behind)
    opened = HttpStore(server.url)
    yield opened
    opened.close()
    behind.close()


KINDS: dict[str, Callable[[pytest.FixtureRequest], AbstractContextManager[Store]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
    "http": _http,
}


@pytest.fixture(params=list(KINDS))
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return an empty store; the suite holds every kind of store to the same contract."""
    with KINDS[request.param](request) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def served_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return an empty store that can stand behind a server."""
    with KINDS[request.param](request) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "kitaru.db")
    yield opened
    opened.close()
