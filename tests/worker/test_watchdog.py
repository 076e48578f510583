"""A claim loop that has gone deaf is noticed."""

from __future__ import annotations

import logging

import pytest

from kitaru.worker.watchdog import Watchdog


class Later:
    """Stands for the module `time`, some seconds later than it was."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Later:
    later = Later()
    monkeypatch.setattr("kitaru.worker.watchdog.time", later)
    return later


def look(watchdog: Watchdog, time: Later, seconds: int) -> None:
    for _ in range(seconds):
        time.now += 1.0
        watchdog.look()


def test_deaf_loop_is_told_once_with_where_it_hangs_and_once_more_when_it_hears_again(
    time: Later, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, logger="kitaru.worker"),
        Watchdog(deaf_seconds=3.0) as watchdog,
    ):
        look(watchdog, time, 3)
        before = list(caplog.records)
        look(watchdog, time, 5)
        watchdog.reset()
        look(watchdog, time, 2)

    assert before == []
    told, again = [record.getMessage() for record in caplog.records]
    assert told.startswith("the worker has not looked for work for 4 s; it hangs here:\n")
    assert "test_watchdog.py" in told
    assert again == "the worker looks for work again"


def test_process_that_has_slept_is_no_deaf_loop(
    time: Later, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, logger="kitaru.worker"),
        Watchdog(deaf_seconds=3.0) as watchdog,
    ):
        time.now += 3600.0
        watchdog.look()
        look(watchdog, time, 2)

    assert caplog.records == []
