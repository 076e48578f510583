"""A runner and its server need not agree on what time it is: the store's time counts, for both."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import kitaru
from kitaru import checkpoint, flow, settings
from kitaru.attendant.reaper import Reaper
from kitaru.clock import MICROSECONDS, SYSTEM_CLOCK, Clock, SystemClock
from kitaru.model import ExecutionStatus
from kitaru.store.sqlite import SQLiteStore
from kitaru.worker.runners import local_runner
from tests.server.serving import DEADLINE_SECONDS

TEN_MINUTES = 600 * MICROSECONDS
LEASE = 8 * MICROSECONDS


class SkewedClock(SystemClock):
    """The clock of a machine that is set wrong."""

    __slots__ = ("_skew",)

    def __init__(self, skew: int) -> None:
        self._skew = skew

    def now(self) -> int:
        return super().now() + self._skew


class SkewedStore(SQLiteStore):
    """A store on a machine whose clock is set wrong, or on the only one whose clock is right."""

    def __init__(self, path: Path, skew: int) -> None:
        super().__init__(path)
        self._skewed = SkewedClock(skew)

    @property
    def clock(self) -> Clock:
        return self._skewed


@pytest.fixture(params=[-TEN_MINUTES, TEN_MINUTES], ids=["behind", "ahead"])
def behind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SkewedStore(tmp_path / "server.db", request.param)
    yield store
    store.close()


def test_runner_goes_by_the_servers_clock(connected: str, behind: SQLiteStore) -> None:
    clock = local_runner(settings.current()).services.clock

    assert abs(clock.now() - behind.clock.now()) < MICROSECONDS
    assert abs(clock.now() - SYSTEM_CLOCK.now()) > TEN_MINUTES - MICROSECONDS


def test_runner_keeps_its_lease_and_is_not_reaped(connected: str, behind: SQLiteStore) -> None:
    go_on = threading.Event()
    is_inside = threading.Event()

    @checkpoint
    def long_step() -> str:
        is_inside.set()
        assert go_on.wait(DEADLINE_SECONDS)
        return "done"

    @flow
    def slow() -> str:
        return long_step()

    handle = slow.run()
    assert is_inside.wait(DEADLINE_SECONDS)
    expires_at = behind.get_execution(handle.exec_id).lease_expires_at or 0
    reaper = Reaper(store=behind, clock=behind.clock, patience_seconds=0.0)
    reaper.run_once()
    reaper.run_once()
    lasts = expires_at - behind.clock.now()
    status = behind.get_execution(handle.exec_id).status
    go_on.set()

    assert handle.wait(timeout=DEADLINE_SECONDS) == "done"
    assert 0 < lasts <= LEASE + MICROSECONDS  # the clock is known as well as an answer is quick
    assert status is ExecutionStatus.RUNNING
    assert behind.get_execution(handle.exec_id).recoveries == 0


def test_sleep_lasts_as_long_as_it_says(connected: str, behind: SQLiteStore) -> None:
    @flow
    def sleepy() -> str:
        kitaru.sleep(timedelta(milliseconds=300))
        return "awake"

    handle = sleepy.run()

    assert handle.wait(timeout=DEADLINE_SECONDS) == "awake"
    [timer] = behind.list_waits(handle.exec_id)
    execution = behind.get_execution(handle.exec_id)
    assert timer.wake_at is not None
    assert 0 < timer.wake_at - timer.created_at <= 300_000
    assert execution.ended_at is not None
    assert execution.ended_at >= timer.wake_at
    assert abs(execution.created_at - behind.clock.now()) < 2 * DEADLINE_SECONDS * MICROSECONDS
