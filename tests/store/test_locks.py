"""Whoever waits for a locked store is told for whom."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.store import open_store
from kitaru.store.sqlite_errors import is_busy
from kitaru.store.sqlite_locks import Holder, find_holder
from kitaru.store.sqlite_patience import Patience
from kitaru.testing import FakeClock
from tests.unit.store.test_patience import failing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a lock")

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    store = open_store(f"sqlite://{tmp_path}/kitaru.db")
    store.list_workers()
    store.close()
    return tmp_path / "kitaru.db"


@pytest.fixture
def holder(database: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_writer_is_found_and_whether_it_stands_still(
    database: Path, holder: subprocess.Popen[str]
) -> None:
    writing = find_holder(database)
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
    stopped = find_holder(database)

    assert writing == Holder(holder.pid, is_stopped=False)
    assert stopped == Holder(holder.pid, is_stopped=True)
    assert f"kill -CONT {holder.pid}" in str(stopped)


def test_store_that_nobody_writes_to_has_no_writer(database: Path) -> None:
    assert find_holder(database) is None
    assert find_holder(database.with_name("nowhere.db")) is None


def test_long_wait_is_told_once_with_whom_it_is_for(
    database: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    patience = Patience(database, clock)
    busy = failing(5)
    assert is_busy(busy)

    with caplog.at_level(logging.WARNING, logger="kitaru.store"):
        patience.wait(busy)
        clock.advance(4.0)
        for _ in range(3):
            patience.wait(busy)

    assert [record.getMessage() for record in caplog.records] == [
        f"the store '{database}' has been locked for 4 s: process {holder.pid} is writing to it"
    ]
