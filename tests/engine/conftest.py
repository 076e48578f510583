"""Every test of the engine has a store of its own, of every kind, and leaves nothing running on it.

`@pytest.mark.only_kinds("sqlite", reason="...")` is for what only some of them can show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.testing import FakeClock, use_clock
from tests.engine.kit import Interruption, end_runs
from tests.stores import KINDS, Place, Places


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    only = metafunc.definition.get_closest_marker("only_kinds")
    if only is not None:
        assert only.kwargs["reason"]
    metafunc.parametrize("store_kind", KINDS if only is None else only.args)


@pytest.fixture(autouse=True)
def own_place(
    store_kind: str, config_dir: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Return where this test's executions are; everything of this process leads there."""
    with places.empty(store_kind, config_dir) as place:
        for name, value in place.environment().items():
            monkeypatch.setenv(name, value)

        yield place

        end_runs(place.store_url)


@pytest.fixture
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    clock = FakeClock()
    with use_clock(clock):
        yield clock
