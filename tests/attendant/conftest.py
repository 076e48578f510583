from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kitaru.clock import to_datetime
from kitaru.store import Store, open_store
from kitaru.testing import FakeClock
from tests.store.records import NOW


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path}/kitaru.db"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = open_store(store_url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands at the moment of the records."""
    assert to_datetime(NOW) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    return FakeClock(to_datetime(NOW))
