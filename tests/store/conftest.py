from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.store import Store
from kitaru.store.sqlite import SQLiteStore


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store; the suite holds every kind of store to the same contract."""
    assert request.param == "sqlite"
    opened = SQLiteStore(tmp_path / "kitaru.db")
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "kitaru.db")
    yield opened
    opened.close()
