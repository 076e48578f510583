"""A SQLite file as a whole: measured, shrunk, copied and replaced while others use it.

A copy is made with `VACUUM INTO`: one read transaction, so that it shows one moment however many commits go
on beside it. The backup interface would begin anew whenever another process commits between two of its
steps, and never end beside a busy one; in one step it would copy the free pages too. What VACUUM costs more,
it gives back by reading every row.

A store is replaced through the backup interface, in one step: a transaction in the file that everybody
has open, so that nobody is left with a file that has no name any more.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import quote

from kitaru.errors import KitaruBackendError
from kitaru.retention import Space
from kitaru.store.migrations import known_migrations, missing_migrations
from kitaru.store.sqlite_patience import patiently
from kitaru.store.sqlite_schema import connect, find_page_damage, read_history

_MEBIBYTE = 1024 * 1024


def measure(connection: sqlite3.Connection) -> Space:
    """Return what the file takes and how much of it is free."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return Space(pages * size, free * size)


def shrink(path: Path) -> None:
    """Write the file anew without its free pages."""
    connection = connect(path, writer=True)
    try:
        space = patiently(path, lambda: measure(connection))
        _check_room(path, space)
        patiently(path, lambda: connection.execute("VACUUM"))
        _truncate(path, connection)
    finally:
        connection.close()


def copy_to(path: Path, target: Path) -> None:
    """Write a copy of the file as it is at one moment."""
    connection = _read_only(path)
    try:
        patiently(path, lambda: _copy(connection, target))
    finally:
        connection.close()
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def replace_by(path: Path, source: Path) -> None:
    """Put a copy's contents into the file, in one transaction."""
    damage = find_page_damage(source)
    if damage:
        message = f"the backup {str(source)!r} is damaged: {damage[0]}. Nothing was restored."
        raise KitaruBackendError(message)
    backup = _read_only(source)
    try:
        # Raises for what is no store, or a newer version's.
        missing_migrations(read_history(backup, source), known_migrations("sqlite"), str(source))
        connection = connect(path, writer=True)
        try:
            patiently(path, lambda: backup.backup(connection))
            _truncate(path, connection)
        finally:
            connection.close()
    finally:
        backup.close()


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error:
        # It must not exist when this is tried again.
        target.unlink(missing_ok=True)
        raise


def _truncate(path: Path, connection: sqlite3.Connection) -> None:
    """Copy the log into the file and cut both off, unless somebody reads what was before for long.

    Then the next who copies the log does it.
    """

    def cut() -> None:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    patiently(path, cut)


def _check_room(path: Path, space: Space) -> None:
    needed = 2 * (space.file_bytes - space.free_bytes)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        message = (
            f"the store {str(path)!r} cannot be shrunk: that takes up to {needed // _MEBIBYTE + 1} MiB"
            f" for a while, and the disk under {str(path.parent)!r} has {free // _MEBIBYTE} MiB free."
            f" Make room, or prune more with `kitaru clean executions`: what is free in the file is used"
            f" again."
        )
        raise KitaruBackendError(message)


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(path.as_posix())}?mode=ro", uri=True, timeout=0, isolation_level=None
    )
