"""Who watches a server's store hears of changes while its server does, and knows when not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kitaru.store.contract import Watch
from kitaru.store.http import HttpStore
from kitaru.store.sqlite import SQLiteStore
from tests.relay import Relay
from tests.server.serving import DEADLINE_SECONDS, RunningServer, wait_until


class TellingWatch:
    def __init__(self, store: TellingStore) -> None:
        self._store = store

    @property
    def is_live(self) -> bool:
        return self._store.is_telling

    def stop(self) -> None:
        self._store.wakes = []


class TellingStore(SQLiteStore):
    """A store that tells of changes when the test says so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_telling = True
        self.wakes: list[Callable[[], None]] = []

    def watch(self, wake: Callable[[], None]) -> Watch:
        self.wakes.append(wake)
        return TellingWatch(self)

    def tell(self) -> None:
        for wake in self.wakes:
            wake()


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[TellingStore]:
    store = TellingStore(tmp_path / "server.db")
    yield store
    store.close()


def test_change_wakes_everybody_and_the_store_is_watched_once(
    server: RunningServer, behind: TellingStore
) -> None:
    stores = [HttpStore(server.url) for _ in range(3)]
    woken = [threading.Event() for _ in stores]
    watches = [store.watch(event.set) for store, event in zip(stores, woken, strict=True)]
    for watch in watches:
        wait_until(lambda watch=watch: watch.is_live)
    for event in woken:
        event.clear()

    behind.tell()

    assert all(event.wait(DEADLINE_SECONDS) for event in woken)
    assert len(behind.wakes) == 1
    for store in stores:
        store.close()


def test_watch_on_a_store_that_tells_nothing_is_not_live(
    store: HttpStore, behind: TellingStore
) -> None:
    behind.is_telling = False
    woken = threading.Event()

    watch = store.watch(woken.set)
    wait_until(lambda: bool(behind.wakes))

    assert not watch.is_live


def test_watch_is_not_live_while_the_network_is_cut(
    server: RunningServer, behind: TellingStore
) -> None:
    with Relay(server.port) as relay:
        store = HttpStore(relay.url)
        woken = threading.Event()
        watch = store.watch(woken.set)
        wait_until(lambda: watch.is_live)
        woken.clear()

        relay.cut()

        assert woken.wait(DEADLINE_SECONDS)
        wait_until(lambda: not watch.is_live)
        woken.clear()
        relay.restore()
        assert woken.wait(DEADLINE_SECONDS)
        wait_until(lambda: watch.is_live)
        store.close()


def test_thread_is_there_only_while_somebody_watches(
    store: HttpStore, behind: TellingStore
) -> None:
    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name == "kitaru-changes"]

    first, second = store.watch(lambda: None), store.watch(lambda: None)
    wait_until(lambda: first.is_live and second.is_live)
    assert len(threads()) == 1

    first.stop()
    assert not first.is_live
    assert second.is_live
    second.stop()

    wait_until(lambda: not threads())


def test_server_stops_although_somebody_watches(
    server: RunningServer, store: HttpStore, behind: TellingStore
) -> None:
    watch = store.watch(lambda: None)
    wait_until(lambda: watch.is_live)

    server.stop()

    wait_until(lambda: not watch.is_live)


def test_listener_that_never_reads_keeps_nobody_else_from_hearing(
    server: RunningServer, store: HttpStore, behind: TellingStore
) -> None:
    woken = threading.Event()
    with socket.create_connection(("127.0.0.1", server.port)) as deaf:
        deaf.sendall(b"GET /api/v1/changes HTTP/1.1\r\nHost: here\r\n\r\n")
        watch = store.watch(woken.set)
        wait_until(lambda: watch.is_live)
        for _ in range(20):
            woken.clear()
            for _ in range(500):
                behind.tell()
            assert woken.wait(DEADLINE_SECONDS)

        server.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_child_has_connections_of_its_own(store: HttpStore, behind: TellingStore) -> None:
    watch = store.watch(lambda: None)
    wait_until(lambda: watch.is_live)
    assert store.list_workers() == []
    behind.close()

    child = os.fork()
    if child == 0:
        try:
            is_fine = store.list_workers() == [] and not watch.is_live
        except BaseException:  # noqa: BLE001 - told by its exit code
            is_fine = False
        os._exit(0 if is_fine else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.list_workers() == []
