"""Every test here has cases of every kind of store that it is for; what tests have started ends with them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.crash.sweep import Cases, preloaded
from tests.stores import KINDS, Places


@pytest.fixture(params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of store of this test's cases."""
    return request.param


@pytest.fixture
def cases(store_kind: str, places: Places) -> Iterator[Cases]:
    """Return what makes cases, one after the other."""
    made = Cases(places, store_kind)
    yield made
    made.close()


@pytest.fixture(scope="session", autouse=True)
def _preloaded() -> Iterator[None]:
    yield
    preloaded.close()


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Return a list whose processes end with the test, whatever becomes of it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
