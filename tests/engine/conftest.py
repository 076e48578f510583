"""Every test of the engine has a store of its own, and leaves nothing running on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.testing import FakeClock, disarm, use_clock
from kitaru.worker import runners
from tests.engine.kit import PATIENCE_SECONDS, Interruption


@pytest.fixture(autouse=True)
def _own_store(config_dir: Path) -> Iterator[None]:
    yield

    disarm()
    settings.forget()
    for key, runner in list(runners._runners.items()):
        if str(config_dir) in runner.settings.store_url and key[0] == os.getpid():
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
