"""What SQLite's result codes mean for a user. Nothing here looks at a message's text."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from kitaru.errors import KitaruBackendError, KitaruError, KitaruUsageError

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_FORBIDDEN = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)

_DISK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})

_MEBIBYTE = 1024 * 1024


def primary_code(error: sqlite3.Error) -> int:
    """Return the result code without its extension; 0 if SQLite itself was not asked."""
    # Errors that the driver raises by itself, such as for a closed connection, carry no code.
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether the same thing may succeed once another process is done."""
    return primary_code(error) in _BUSY


def is_damaged(error: sqlite3.Error) -> bool:
    """Return whether the file's contents are wrong."""
    return primary_code(error) in _DAMAGED


def is_about_the_record(error: sqlite3.Error) -> bool:
    """Return whether the connection is fine and only what was to be written is not."""
    return primary_code(error) in {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG}


def to_kitaru_error(error: sqlite3.Error, path: Path) -> KitaruError:
    """Return the error that Kitaru raises in place of SQLite's."""
    code = primary_code(error)
    name: str = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in _DAMAGED:
        message = (
            f"the store {str(path)!r} is damaged or is no SQLite database ({name})."
            f" `kitaru db verify` tells what is wrong; restore it from a backup, or move it aside to"
            f" start an empty one."
        )
    elif code in _FORBIDDEN:
        message = (
            f"the store {str(path)!r} cannot be opened for writing ({name})."
            f" Its file and its folder must be writable for this user, and the file must not be moved"
            f" while it is in use."
        )
    elif code in _DISK:
        message = (
            f"the store {str(path)!r} could not be read or written ({name}); {_space(path)}."
            f" What was recorded before is kept. Once the disk works and has room, continue with"
            f" `kitaru executions recover`."
        )
    elif code in _BUSY:
        message = (
            f"the store {str(path)!r} was locked by another process for several minutes ({name})."
            f" Find the process that holds it, such as a database browser with an open transaction."
        )
    elif code == sqlite3.SQLITE_TOOBIG:
        message = f"a value is larger than the store {str(path)!r} can keep in a row ({name})."
    elif code == sqlite3.SQLITE_CONSTRAINT:
        message = (
            f"the store {str(path)!r} refused a record that contradicts itself or another one"
            f" ({name}: {error})."
        )
    else:
        message = f"the store {str(path)!r} failed: {error} ({name})."
    return KitaruBackendError(message)


def unstorable(error: UnicodeEncodeError | OverflowError, path: Path) -> KitaruUsageError:
    """Return the error for a name or number that no database column can hold."""
    what = "text with lone surrogates" if isinstance(error, UnicodeEncodeError) else "a number"
    return KitaruUsageError(f"the store {str(path)!r} cannot keep {what}: {error}.")


def _space(path: Path) -> str:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return f"the disk under {str(path.parent)!r} does not answer"
    return f"the disk under {str(path.parent)!r} has {free // _MEBIBYTE} MiB free"
