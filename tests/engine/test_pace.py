"""Whoever waits for changes is told by the store, or looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from kitaru.clock import SYSTEM_CLOCK
from kitaru.engine.pace import Pace
from kitaru.store.contract import Store
from kitaru.testing import FakeClock
from tests.engine.kit import join

pytestmark = pytest.mark.only_kinds("sqlite", reason="the store is one of the test's own")

HOURS = 10_000.0


class Telling:
    """A store that tells of changes, and nothing else."""

    clock = SYSTEM_CLOCK

    def __init__(self) -> None:
        self.is_live = True
        self.wakes: list[Callable[[], None]] = []

    def watch(self, wake: Callable[[], None]) -> Telling:
        self.wakes.append(wake)
        return self

    def stop(self) -> None:
        self.wakes.clear()

    def tell(self) -> None:
        for wake in self.wakes:
            wake()


@pytest.fixture
def store() -> Telling:
    return Telling()


@pytest.fixture
def pace(store: Telling) -> Iterator[Pace]:
    made = Pace(cast("Store", store), SYSTEM_CLOCK)
    made.begin()
    yield made
    made.end()
    assert store.wakes == []


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=act)
    thread.start()
    yield
    join(thread)


def test_who_is_told_of_a_change_looks_then(pace: Pace, store: Telling) -> None:
    with meanwhile(store.tell):
        assert pace.wait(HOURS)


def test_change_that_comes_before_anybody_waits_is_seen(pace: Pace, store: Telling) -> None:
    store.tell()

    assert pace.wait(HOURS)


def test_who_is_hurried_looks_at_everything(pace: Pace, store: Telling) -> None:
    store.tell()

    with meanwhile(pace.hurry):
        pass

    assert not pace.wait(HOURS)


def test_change_is_told_once(pace: Pace, store: Telling) -> None:
    store.tell()
    pace.wait(HOURS)

    assert not pace.wait(0.0)


def test_what_is_due_is_looked_at_although_nobody_tells_of_it(pace: Pace) -> None:
    assert not pace.wait(0.01, lambda: 0.02)


def test_who_is_told_nothing_looks_by_itself(pace: Pace, store: Telling) -> None:
    store.is_live = False

    assert not pace.wait(0.01, lambda: HOURS)


def test_of_a_time_that_a_test_moves_no_store_tells(store: Telling) -> None:
    pace = Pace(cast("Store", store), FakeClock())

    pace.begin()

    assert store.wakes == []
    pace.end()
