"""Every test of the client has a store of its own: a file, and a server, which has its own in Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.client import KitaruClient
from kitaru.store import Store, open_store
from tests.stores import FILE, HTTP, Places


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only_kinds")
        metafunc.parametrize("store_kind", (FILE, HTTP) if only is None else only.args)


@pytest.fixture
def store(
    store_kind: str, config_dir: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    monkeypatch.chdir(config_dir.parent)
    with places.empty(store_kind, config_dir) as place:
        for name, value in place.environment().items():
            monkeypatch.setenv(name, value)
        settings.forget()
        opened = open_store(settings.current().store_url)
        yield opened
        opened.close()


@pytest.fixture
def client(store: Store) -> KitaruClient:
    return KitaruClient()
