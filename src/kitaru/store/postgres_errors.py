"""What Postgres' error codes mean for a user. Nothing here looks at a message's text."""

from __future__ import annotations

import psycopg
from psycopg import errors

from kitaru.errors import KitaruBackendError, KitaruError, KitaruUsageError

# Postgres chose one of two transactions that waited for each other, saw that one had to come first, or let
# one wait for long enough.
_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)

# Two who ask "is it there?" may both hear no; the second one's row then has no place, or no parent. Asked
# again, both hear the truth.
_RACED = (errors.UniqueViolation, errors.ForeignKeyViolation)

# It restarts, is a standby for a moment, or ended what took too long.
_AWAY = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)

_UNDEFINED = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction)
_FORBIDDEN = (errors.InsufficientPrivilege,)
_DISK = (errors.DiskFull, errors.OutOfMemory, errors.IoError)


def is_lost(error: psycopg.Error) -> bool:
    """Return whether the connection is gone, so that nobody has said what became of a commit."""
    if isinstance(error, _AWAY):
        return True
    # What the client library itself raises, such as for a closed socket, has no code. Class 08: connections.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        error.sqlstate is None or error.sqlstate.startswith("08")
    )


def is_raced(error: psycopg.Error) -> bool:
    """Return whether somebody was faster, which the same work will see if it is done again."""
    return isinstance(error, _RACED)


def is_transient(error: psycopg.Error) -> bool:
    """Return whether the same work may succeed in a moment."""
    return is_lost(error) or isinstance(error, _AGAIN)


def is_contended(error: psycopg.Error) -> bool:
    """Return whether the work is to be done again at once: another transaction was in its way."""
    return isinstance(error, _AGAIN)


def to_kitaru_error(
    error: psycopg.Error, url: str, *, waited: float = 0.0, is_known: bool = True
) -> KitaruError:
    """Return the error that Kitaru raises in place of the driver's.

    Args:
        error: The driver's.
        url: Names the store, without credentials.
        waited: For how many seconds it was tried.
        is_known: Whether this process has used the database before.
    """
    code = error.sqlstate or type(error).__name__
    if is_lost(error):
        # Why a connection cannot be made, the library only says in words: they are shown, not read.
        detail = " ".join((error.diag.message_primary or str(error)).split()) or code
        since = f" since {waited:.0f} s" if waited >= 1 else ""
        way_out = (
            "What was recorded before is kept. Once it answers, runs go on by themselves, or with"
            " `kitaru executions recover`."
            if is_known
            else "Check KITARU_STORE_URL, and that the database is there (`createdb`) and has been prepared"
            " (`kitaru db migrate`). If it has no free connections, raise its `max_connections`, put a"
            " pgbouncer before it, or let runners use a Kitaru server."
        )
        message = f"the store {url!r} is out of reach{since} ({detail}). {way_out}"
    elif isinstance(error, _UNDEFINED):
        message = (
            f"the store {url!r} does not have the tables that this version needs ({code})."
            f" Run `kitaru db migrate`."
        )
    elif isinstance(error, _FORBIDDEN):
        message = (
            f"the user of the store {url!r} may not do that ({code}: {error.diag.message_primary})."
        )
    elif isinstance(error, _DISK):
        message = (
            f"the store {url!r} has no room or its disk failed ({code}). What was recorded before is kept."
            f" Once it has room, continue with `kitaru executions recover`."
        )
    elif isinstance(error, psycopg.IntegrityError):
        message = (
            f"the store {url!r} refused a record that contradicts itself or another one"
            f" ({code}: {error.diag.message_primary or error})."
        )
    elif isinstance(error, psycopg.DataError):
        return KitaruUsageError(
            f"the store {url!r} cannot keep text with NUL characters, or a number that large ({code}:"
            f" {error.diag.message_primary or error})."
        )
    else:
        message = f"the store {url!r} failed: {error.diag.message_primary or error} ({code})."
    return KitaruBackendError(message)


def unstorable(error: Exception, url: str) -> KitaruUsageError:
    """Return the error for text or a number that no column can hold."""
    what = "text with lone surrogates" if isinstance(error, UnicodeEncodeError) else "a number"
    return KitaruUsageError(f"the store {url!r} cannot keep {what}: {error}.")
