from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kitaru.errors import KitaruBackendError, KitaruError
from kitaru.store.sqlite_errors import is_busy, to_kitaru_error
from kitaru.store.sqlite_patience import patiently

PATH = Path("/data/kitaru.db")


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []

    def now(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    def pass_time(self, seconds: float) -> float:
        self.seconds += seconds
        self.waits.append(seconds)
        return 0.0


def failing(code: int, name: str = "SQLITE_X") -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("any text at all")
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


BUSY = [
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_BUSY_RECOVERY,
    sqlite3.SQLITE_BUSY_SNAPSHOT,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_LOCKED_SHAREDCACHE,
    sqlite3.SQLITE_PROTOCOL,
]


@pytest.mark.parametrize("code", BUSY)
def test_busy_database_is_asked_again_after_moments(code: int) -> None:
    clock = FakeClock()
    errors = [failing(code)] * 50

    def step() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert patiently(PATH, step, clock) == "done"
    assert len(clock.waits) == 50
    assert all(0 < wait <= 0.003 for wait in clock.waits)
    assert len(set(clock.waits)) > 40, "all processes would ask at the same moments"


@pytest.mark.slow
def test_database_that_stays_busy_is_given_up_after_five_minutes() -> None:
    clock = FakeClock()
    busy = failing(sqlite3.SQLITE_BUSY, "SQLITE_BUSY")

    def step() -> None:
        raise busy

    with pytest.raises(KitaruBackendError, match="locked by another process") as raised:
        patiently(PATH, step, clock)

    assert raised.value.__cause__ is busy
    assert 300 <= clock.seconds < 301
    assert max(clock.waits) <= 0.02


def test_other_errors_are_not_waited_for() -> None:
    clock = FakeClock()

    def step() -> None:
        raise failing(sqlite3.SQLITE_CORRUPT)

    with pytest.raises(KitaruBackendError, match="damaged"):
        patiently(PATH, step, clock)

    assert clock.waits == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (sqlite3.SQLITE_FULL, "could not be read or written"),
        (sqlite3.SQLITE_IOERR_WRITE, "could not be read or written"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "`kitaru db verify`"),
        (sqlite3.SQLITE_NOTADB, "`kitaru db verify`"),
        (sqlite3.SQLITE_CANTOPEN, "must be writable"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "must not be moved"),
        (sqlite3.SQLITE_PERM, "must be writable"),
        (sqlite3.SQLITE_TOOBIG, "larger than"),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, "contradicts"),
        (sqlite3.SQLITE_MISUSE, "failed"),
    ],
)
def test_result_code_decides_what_is_said(code: int, said: str) -> None:
    error = to_kitaru_error(failing(code, "SQLITE_NAME"), PATH)

    assert type(error) is KitaruBackendError
    assert said in str(error)
    assert repr(str(PATH)) in str(error)
    assert "SQLITE_NAME" in str(error)


def test_error_that_the_driver_raises_by_itself_is_no_reason_to_wait() -> None:
    error = sqlite3.ProgrammingError("Cannot operate on a closed database.")

    assert not is_busy(error)
    assert isinstance(to_kitaru_error(error, PATH), KitaruError)
