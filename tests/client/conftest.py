from __future__ import annotations

from pathlib import Path

import pytest

from kitaru import settings
from kitaru.client import KitaruClient
from kitaru.store import Store, open_store


@pytest.fixture
def store(config_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(config_dir.parent)
    settings.forget()
    opened = open_store(settings.current().store_url)
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> KitaruClient:
    return KitaruClient()
