from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from kitaru.errors import KitaruBackendError
from kitaru.model import ExecutionFilter
from kitaru.retention import RetentionRule, Space
from kitaru.store import Store
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import NOW, call, commit_one, completed, entry, finish, run

EVERYTHING = ExecutionFilter(project="default")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def fill(store: Store, count: int = 40) -> list[str]:
    ids: list[str] = []
    for _ in range(count):
        execution = run(store)
        calls = [call(f"fetch#{number}") for number in range(30)]
        commit_one(store, entry(execution, *calls, outcome=completed()))
        ids.append(execution.id)
    return ids


def file_size(store: SQLiteStore) -> int:
    return store.path.stat().st_size


def test_pruned_rows_leave_free_space_that_shrinking_gives_back(sqlite_store: SQLiteStore) -> None:
    ids = fill(sqlite_store)
    full = sqlite_store.measure_space()
    sqlite_store.prune_executions(ids[1:], RetentionRule(keep=0), now=NOW, most_rows=10_000)

    before = sqlite_store.measure_space()
    sqlite_store.shrink()
    after = sqlite_store.measure_space()

    assert before.file_bytes == full.file_bytes
    assert before.free_bytes > full.file_bytes // 2
    assert after == Space(file_size(sqlite_store), 0)
    assert after.file_bytes < before.file_bytes - before.free_bytes // 2
    assert len(sqlite_store.list_calls(ids[0])) == 30
    assert sqlite_store.verify() == []


def test_shrinking_without_room_is_refused_before_anything_is_written(
    sqlite_store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No disk can be full at will.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 9, 1))

    with pytest.raises(KitaruBackendError, match="cannot be shrunk"):
        sqlite_store.shrink()


def test_copy_shows_one_moment_while_others_write(
    sqlite_store: SQLiteStore, tmp_path: Path
) -> None:
    fill(sqlite_store, 5)
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            finish(sqlite_store)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            sqlite_store.back_up(tmp_path / f"copy{number}.db")
    finally:
        is_over.set()
        writer.join()

    counts: list[int] = []
    for number in range(5):
        copy = SQLiteStore(tmp_path / f"copy{number}.db")
        assert copy.verify() == []
        counts.append(copy.count_executions(EVERYTHING))
        copy.close()
    assert counts == sorted(counts)
    assert counts[0] >= 5


def test_restored_store_is_what_was_copied_for_all_who_have_it_open(
    sqlite_store: SQLiteStore, tmp_path: Path
) -> None:
    ids = fill(sqlite_store, 3)
    sqlite_store.back_up(tmp_path / "copy.db")
    other = SQLiteStore(sqlite_store.path)
    late = finish(other)

    sqlite_store.restore(tmp_path / "copy.db")

    for store in (sqlite_store, other):
        found = {one.id for one in store.list_executions(EVERYTHING, limit=99)}
        assert found == set(ids)
        assert late.id not in found
    assert finish(other).id
    assert sqlite_store.verify() == []
    other.close()


@pytest.mark.parametrize("damage", ["garbage", "foreign", "newer"])
def test_what_is_no_sound_copy_is_not_restored(
    sqlite_store: SQLiteStore, tmp_path: Path, damage: str
) -> None:
    [kept] = fill(sqlite_store, 1)
    copy = tmp_path / "copy.db"
    if damage == "garbage":
        copy.write_bytes(b"\xee" * 50_000)
    elif damage == "foreign":
        connection = sqlite3.connect(copy)
        connection.execute("CREATE TABLE mine (a)")
        connection.close()
    else:
        sqlite_store.back_up(copy)
        connection = sqlite3.connect(copy)
        connection.execute("INSERT INTO kitaru_migration VALUES (9999, 'later', 'x', 0)")
        connection.commit()
        connection.close()

    with pytest.raises(KitaruBackendError):
        sqlite_store.restore(copy)

    assert [one.id for one in sqlite_store.list_executions(EVERYTHING, limit=9)] == [kept]
