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
from kitaru.store.migrations import Migration, known_migrations, missing_migrations, read_migrations
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import create

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

    with pytest.raises(KitaruBackendError, match=r"schema version 9, but .* up to 2") as raised:
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
