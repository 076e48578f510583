"""Opening a SQLite file: looking before touching, settings, migrations."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import KitaruBackendError
from kitaru.faults import fault
from kitaru.store.migrations import (
    Applied,
    Migration,
    known_migrations,
    missing_migrations,
)
from kitaru.store.sqlite_errors import is_damaged
from kitaru.store.sqlite_patience import patiently

_CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS kitaru_migration (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
"""

# Stands above the findings of an integrity check.
_HEADLINE = "*** in database main ***"

# Enough for the inner pages of every index of a database of some gigabytes.
_CACHE_KIBIBYTES = 8 * 1024

# More than that is not kept on disk for a log that is empty again.
_LOG_SIZE_LIMIT = 64 * 1024 * 1024

# The log is copied into the database when it has so many pages, and then written from its beginning again.
# A commit that makes the log's file longer flushes the file's size too, which here takes half as long
# again as one that writes over old pages. SQLite's 1,000 pages put that off for 400 commits, longer than
# most processes live; with 250 copying takes 2% of the time.
_PAGES_PER_CHECKPOINT = 250

# The driver keeps prepared statements by their text; there are some forty.
_CACHED_STATEMENTS = 128


def connect(path: Path, *, writer: bool, flushes: bool = True) -> sqlite3.Connection:
    """Return a connection with our settings to a file that was prepared."""
    connection = _open(path, "rw")
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
        if writer:
            # Not NORMAL: after a power loss the last commits would be gone, and a recorded call is
            # our promise.
            connection.execute(f"PRAGMA synchronous = {'FULL' if flushes else 'OFF'}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_PER_CHECKPOINT}")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_SIZE_LIMIT}")
        else:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(path: Path) -> None:
    """Create the file if there is none, and bring its schema to this version.

    Durability: each migration is one transaction. Safe to repeat, and to run in several processes at
    once. A database of a newer version is left as it is, to the byte.

    Raises:
        KitaruBackendError: A newer version wrote it, its history is not ours, it belongs to another
            program, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists() or path.stat().st_size == 0
        is_folder = path.is_dir()
    except OSError as error:
        message = f"the store {str(path)!r} cannot be reached: {error}."
        raise KitaruBackendError(message) from error
    if is_folder:
        message = f"the store {str(path)!r} is a folder. Name a file in it."
        raise KitaruBackendError(message)
    if is_new or not patiently(path, lambda: _is_ready(path)):
        patiently(path, lambda: _migrate(path))


def find_page_damage(path: Path) -> list[str]:
    """Return what SQLite finds wrong with a file's pages, as far as it can be read, a line each."""
    found: list[str] = []
    connection = _open(path, "ro")
    try:
        for (text,) in connection.execute("PRAGMA integrity_check"):
            found += [line for line in text.splitlines() if line not in {"ok", _HEADLINE}]
    except sqlite3.Error as error:
        if not is_damaged(error):
            raise
        found.append(f"it can be read no further: {error}")
    finally:
        connection.close()
    return found


def read_history(connection: sqlite3.Connection, path: Path) -> list[Applied]:
    """Return the migrations that a database has had.

    Raises:
        KitaruBackendError: It has tables, but not ours.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if "kitaru_migration" in tables:
        return connection.execute(
            "SELECT number, name, checksum FROM kitaru_migration ORDER BY number"
        ).fetchall()
    if tables:
        message = (
            f"the store {str(path)!r} is the SQLite database of another program. Nothing was changed."
            f" Name a file of its own for Kitaru."
        )
        raise KitaruBackendError(message)
    return []


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # No busy handler: see `sqlite_patience.py`. Connections are handed from thread to thread, never
    # used by two at once.
    return sqlite3.connect(
        f"file:{quote(path.as_posix())}?mode={mode}",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )


def _is_ready(path: Path) -> bool:
    # Through a connection that cannot write: a newer Kitaru's file must not even be switched to
    # another journal mode, and closing must not copy its log.
    connection = _open(path, "ro")
    try:
        missing = missing_migrations(
            read_history(connection, path), known_migrations("sqlite"), str(path)
        )
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    except sqlite3.OperationalError as error:
        # A process died while it still wrote without a log; only a writer may repair that.
        if error.sqlite_errorcode in {
            sqlite3.SQLITE_READONLY_ROLLBACK,
            sqlite3.SQLITE_READONLY_RECOVERY,
        }:
            return False
        raise
    finally:
        connection.close()
    return not missing and mode == "wal"


def _migrate(path: Path) -> None:
    known = known_migrations("sqlite")
    connection = _open(path, "rwc")
    try:
        missing = missing_migrations(read_history(connection, path), known, str(path))
        _use_write_ahead_log(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        while missing:
            _apply(connection, missing[0])
            fault("migration.after_commit")
            missing = missing_migrations(read_history(connection, path), known, str(path))
    finally:
        connection.close()


def _use_write_ahead_log(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        message = (
            f"the store {str(path)!r} lies on a file system that SQLite cannot share between processes"
            f" (journal mode {mode!r}), such as a network disk. Name a folder on a local disk."
        )
        raise KitaruBackendError(message)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    # Only checked words and our own numbers are put into the text; a script takes no arguments.
    record = (
        f"INSERT INTO kitaru_migration (number, name, checksum, applied_at) VALUES"  # noqa: S608 - see above
        f" ({migration.number}, '{migration.name}', '{migration.checksum}', {SYSTEM_CLOCK.now()});"
    )
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {_CREATE_HISTORY} {record} {migration.script}")
        fault("migration.inside")
        connection.execute("COMMIT")
    except sqlite3.IntegrityError:
        connection.rollback()
        # Another process, which opened the file at the same time, has just applied it.
        if not _has_had(connection, migration):
            raise
    except BaseException:
        connection.rollback()
        raise


def _has_had(connection: sqlite3.Connection, migration: Migration) -> bool:
    row = connection.execute(
        "SELECT checksum FROM kitaru_migration WHERE number = ?", (migration.number,)
    ).fetchone()
    return row is not None and row[0] == migration.checksum
