"""The thread that does duties in turn."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field

import pytest

from kitaru.attendant import Attendant
from kitaru.errors import KitaruBackendError

PATIENCE_SECONDS = 30


@dataclass(eq=False)
class Chore:
    """A duty that does what its script says, pass after pass, and then nothing."""

    name: str = "chore"
    interval_seconds: float = 0.0
    script: list[bool | Exception] = field(default_factory=list[bool | Exception])
    passes: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def run_once(self) -> bool:
        self.passes += 1
        if not self.script:
            self.done.set()
            return False
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


def attend(chore: Chore) -> None:
    attendant = Attendant([chore])
    attendant.start()
    assert chore.done.wait(PATIENCE_SECONDS)
    attendant.stop()


def test_duty_with_more_to_do_is_done_again_at_once() -> None:
    chore = Chore(interval_seconds=3600.0, script=[True, True])

    attend(chore)

    assert chore.passes == 3


def test_store_that_fails_every_duty_is_told_of_by_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru.attendant.attendant._FIRST_PAUSE_SECONDS", 0.001)
    away = KitaruBackendError("it is away")
    chores = [Chore(name=name, script=[away, away]) for name in ("first", "second", "third")]

    with caplog.at_level(logging.INFO, logger="kitaru.attendant"):
        attendant = Attendant(chores)
        attendant.start()
        assert all(chore.done.wait(PATIENCE_SECONDS) for chore in chores)
        attendant.stop()

    assert [record.getMessage() for record in caplog.records] == [
        "first cannot be done, trying again: it is away",
        "first works again",
    ]


def test_broken_store_is_told_once_and_once_more_when_it_works(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru.attendant.attendant._FIRST_PAUSE_SECONDS", 0.001)
    broken = [KitaruBackendError("the disk is full") for _ in range(5)]

    with caplog.at_level(logging.INFO, logger="kitaru.attendant"):
        attend(Chore(script=[*broken, True]))

    assert [record.getMessage() for record in caplog.records] == [
        "chore cannot be done, trying again: the disk is full",
        "chore works again",
    ]
    assert caplog.records[0].exc_info is None


def test_mistake_of_a_duty_is_told_with_its_traceback_and_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong, right = (
        Chore(name="wrong", script=[RuntimeError("oh")]),
        Chore(name="right", interval_seconds=1.0),
    )
    attendant = Attendant([wrong, right])

    with caplog.at_level(logging.INFO, logger="kitaru.attendant"):
        has_more = attendant.run_once()

    assert (has_more, right.passes) == (False, 1)
    assert caplog.records[0].exc_info is not None


def test_pauses_after_failures_grow_up_to_a_bound() -> None:
    chore = Chore(script=[KitaruBackendError("gone") for _ in range(9)])
    attendant = Attendant([chore])

    pauses = [attendant._pass(chore) for _ in range(9)]

    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 30.0]


def test_attendant_ends_when_it_is_not_needed_and_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kitaru.attendant.attendant._IDLE_SECONDS", 0.0)
    chore = Chore(interval_seconds=0.001)
    attendant = Attendant([chore], is_needed=lambda: False)

    attendant.start()
    thread = attendant._thread
    assert thread is not None
    thread.join(PATIENCE_SECONDS)
    has_ended = not thread.is_alive() and attendant._thread is None
    chore.done.clear()
    attendant.start()
    began_anew = chore.done.wait(PATIENCE_SECONDS)
    attendant.stop()

    assert (has_ended, began_anew) == (True, True)


def test_stopped_attendant_does_nothing_more() -> None:
    chore = Chore(interval_seconds=0.001)
    attendant = Attendant([chore], delay_seconds=3600.0)

    attendant.start()
    attendant.start()
    attendant.stop()

    assert chore.passes == 0
