"""Every test of the engine has a store of its own, of every kind, and leaves nothing running on it.

`@pytest.mark.only_kinds("sqlite", reason="...")` is for what only some of them can show.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.testing import FakeClock, disarm, use_clock
from kitaru.worker import runners
from tests.engine.kit import PATIENCE_SECONDS, Interruption
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

        disarm()
        settings.forget()
        for key, runner in list(runners._runners.items()):
            if runner.settings.store_url == place.store_url and key[0] == os.getpid():
                for run in runner.in_flight():
                    run.finished.exception(PATIENCE_SECONDS)
                runner.close()
                runner.store.close()
                del runners._runners[key]


@pytest.fixture
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    clock = FakeClock()
    with use_clock(clock):
        yield clock
