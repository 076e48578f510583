from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kitaru import faults
from kitaru.errors import KitaruBackendError
from kitaru.model import StoredValue
from kitaru.store.migrations import Migration, known_migrations, missing_migrations, read_migrations
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import NOW, create, finish

FIRST = Migration(1, "first", "CREATE TABLE a (x INTEGER);", "1" * 64)
SECOND = Migration(2, "second", "CREATE TABLE b (x INTEGER);", "2" * 64)


def applied(*found: Migration) -> list[tuple[int, str, str]]:
    return [(one.number, one.name, one.checksum) for one in found]


def change(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def schema(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {sql for (sql,) in rows}


def test_migration_files_are_well_formed() -> None:
    known = known_migrations("sqlite")

    assert [migration.number for migration in known] == list(range(1, len(known) + 1))
    for migration in known:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", migration.name)
        assert not re.search(r"\b(BEGIN|COMMIT|ROLLBACK|PRAGMA)\b", migration.script)


@pytest.mark.parametrize("name", ["1_short.sql", "0002_gap.sql", "0001-dash.sql", "0001_Upper.sql"])
def test_misnamed_migration_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(ValueError, match="0001_what"):
        read_migrations(tmp_path)


def test_missing_migrations_are_those_after_the_last_applied() -> None:
    known = [FIRST, SECOND]

    assert list(missing_migrations([], known, "k.db")) == known
    assert list(missing_migrations(applied(FIRST), known, "k.db")) == [SECOND]
    assert list(missing_migrations(applied(FIRST, SECOND), known, "k.db")) == []


def test_schema_of_a_migrated_store_is_that_of_the_files(tmp_path: Path) -> None:
    SQLiteStore(tmp_path / "migrated.db").close()
    whole = "".join(migration.script for migration in known_migrations("sqlite"))
    change(tmp_path / "fresh.db", whole)

    history = {sql for sql in schema(tmp_path / "migrated.db") if "kitaru_migration" in sql}

    assert schema(tmp_path / "migrated.db") - history == schema(tmp_path / "fresh.db")
    assert len(history) == 1


def test_second_migration_runs_when_a_store_is_opened_by_the_version_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kitaru.db"
    with_one = SQLiteStore(path)
    execution = create(with_one)
    with_one.close()
    known = known_migrations("sqlite")
    more = (*known, replace(SECOND, number=len(known) + 1))
    monkeypatch.setattr("kitaru.store.sqlite_schema.known_migrations", lambda _: more)

    with_two = SQLiteStore(path)

    assert with_two.get_execution(execution.id) == execution
    assert "CREATE TABLE b (x INTEGER)" in schema(path)
    with_two.close()


ROWS_OF_THE_FIRST_VERSION = """
INSERT INTO execution (
    id, project, flow, status, epoch, recoveries, max_recoveries, retries_left, runnable_at, created_at,
    started_at, ended_at, code_ref, code_root, code_hash, stack, tags, spec,
    inputs_codec, inputs_size, inputs_data, failure
)
VALUES
    ('old', 'default', 'research', 'failed', 3, 1, 10, 0, 1, 1, 2, 9, 'm:f', '/src', 'c0de', 'local', '["a"]',
     '{"stack":"local"}', 'kitaru/1', 1, x'05', '{"exception_type":"E","message":"no"}');
INSERT INTO call (
    seq, execution_id, position, call_id, name, kind, fingerprint, ordered, status, upstreams, cache_key,
    epoch, started_at, ended_at, output_codec, output_size, output_data, output_digest, failure
)
VALUES
    (9, 'old', 'a#1', 'a', 'a', 'checkpoint', x'00', 1, 'running', '[]', NULL, 1, 5, NULL, NULL, NULL, NULL,
     NULL, NULL),
    (2, 'old', 'z#1', 'z', 'z', 'checkpoint', x'01', 0, 'completed', '[]', x'aa', 1, 5, 6, 'kitaru/1', 1,
     x'05', NULL, NULL),
    (7, 'old', 'c#1', 'c', 'c', 'child', x'02', 1, 'cached', '["z#1"]', NULL, 2, 5, 6, 'kitaru/1', 9, NULL,
     'abab', NULL),
    (4, 'old', 'm#1', 'm', 'm', 'value', x'03', 1, 'failed', '[]', NULL, 3, 5, 6, NULL, NULL, NULL, NULL,
     '{"exception_type":"E","message":"no"}'),
    (5, 'old', 'p#1', 'p', 'p', 'checkpoint', x'04', 1, 'pending', '[]', NULL, 3, 5, NULL, NULL, NULL, NULL,
     NULL, NULL);
"""


def test_rows_of_the_first_version_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kitaru.db"
    with monkeypatch.context() as first_version:
        first = known_migrations("sqlite")[:1]
        first_version.setattr("kitaru.store.sqlite_schema.known_migrations", lambda _: first)
        SQLiteStore(path).close()
    change(path, ROWS_OF_THE_FIRST_VERSION)

    store = SQLiteStore(path)

    execution, calls = store.get_execution("old"), store.list_calls("old")
    assert (execution.status, execution.epoch, execution.tags) == ("failed", 3, ("a",))
    assert (execution.origin_id, execution.replay_plan) == (None, None)
    assert [
        (row.position, row.kind, row.status, row.upstreams, row.epoch, row.ended_at)
        for row in calls
    ] == [
        ("z#1", "checkpoint", "completed", (), 1, 6),
        ("m#1", "value", "failed", (), 3, 6),
        ("p#1", "checkpoint", "pending", (), 3, None),
        ("c#1", "child", "cached", ("z#1",), 2, 6),
        ("a#1", "checkpoint", "running", (), 1, None),
    ]
    assert [row.output for row in calls if row.output is not None] == [
        StoredValue("kitaru/1", b"\x05", None, 1),
        StoredValue("kitaru/1", None, "abab", 9),
    ]
    assert store.find_cached_call("default", b"\xaa", since=None) == ("old", calls[0])
    assert store.list_waits("old") == []
    assert store.verify() == []
    assert store.retry_execution("old", reopen=["m#1"], now=NOW).status == "pending"
    assert store.list_calls("old")[1].status == "pending"
    store.close()


def test_calls_go_with_their_execution_after_the_table_was_rebuilt(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "kitaru.db")
    execution = finish(store)

    store.delete_execution(execution.id)

    assert store.list_calls(execution.id) == []
    assert not any("call_before" in sql for sql in schema(tmp_path / "kitaru.db"))
    store.close()


def test_edited_migration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    SQLiteStore(path).close()
    change(path, "UPDATE kitaru_migration SET checksum = 'other'")

    with pytest.raises(KitaruBackendError, match=r"migration 1 \(create_tables\) was another one"):
        SQLiteStore(path)


def test_gap_in_the_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KitaruBackendError, match=r"migration 1 \(first\) was never applied"):
        missing_migrations(applied(SECOND), [FIRST, SECOND], "k.db")


def test_store_of_a_newer_version_is_left_as_it_is_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    SQLiteStore(path).close()
    # Without a log, so that switching the mode would show in the file.
    change(path, "PRAGMA journal_mode = DELETE")
    change(path, "INSERT INTO kitaru_migration VALUES (9, 'from_the_future', 'x', 0)")
    before = path.read_bytes()

    with pytest.raises(KitaruBackendError, match=r"schema version 9, but .* up to 4") as raised:
        SQLiteStore(path)

    assert path.read_bytes() == before
    assert "pip install --upgrade" in str(raised.value)
    assert str(path) in str(raised.value)


def test_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    change(path, "CREATE TABLE django_session (x)")
    before = path.read_bytes()

    with pytest.raises(KitaruBackendError, match="another program"):
        SQLiteStore(path)

    assert path.read_bytes() == before


def test_failing_migration_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kitaru.db"
    SQLiteStore(path).close()
    before = schema(path)
    known = known_migrations("sqlite")
    script = "CREATE TABLE b (x INTEGER); CREATE TABLE a ("
    more = (*known, Migration(len(known) + 1, "broken", script, "2" * 64))
    monkeypatch.setattr("kitaru.store.sqlite_schema.known_migrations", lambda _: more)

    with pytest.raises(KitaruBackendError):
        SQLiteStore(path)

    assert schema(path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from kitaru import faults
from kitaru.store.sqlite import SQLiteStore

def strike(name):
    if name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

faults.arm(strike)
SQLiteStore(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("point", ["migration.inside", "migration.after_commit"])
def test_store_whose_migration_was_killed_opens_again(tmp_path: Path, point: str) -> None:
    path = tmp_path / "kitaru.db"

    killed = subprocess.run([sys.executable, "-c", KILLED, str(path), point], check=False)
    store = SQLiteStore(path)

    assert killed.returncode == -signal.SIGKILL
    assert store.verify() == []
    assert create(store).epoch == 0
    store.close()


def test_fault_points_of_migrations_fire_in_order(tmp_path: Path) -> None:
    struck: list[str] = []
    faults.arm(struck.append)
    try:
        SQLiteStore(tmp_path / "kitaru.db").close()
    finally:
        faults.arm(None)

    assert struck == ["migration.inside", "migration.after_commit"] * len(
        known_migrations("sqlite")
    )


def test_migration_that_another_process_has_just_applied_is_not_applied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kitaru.db"
    others: list[SQLiteStore] = []
    looks = count()

    def look(*arguments: Any) -> Sequence[Migration]:
        missing = missing_migrations(*arguments)
        if next(looks) == 0:
            # The other process comes between our look at the history and our migration.
            others.append(SQLiteStore(path))
        return missing

    monkeypatch.setattr("kitaru.store.sqlite_schema.missing_migrations", look)

    store = SQLiteStore(path)

    assert store.verify() == []
    for opened in [store, *others]:
        opened.close()
