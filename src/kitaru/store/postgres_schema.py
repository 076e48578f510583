"""The schema of a Postgres database: what it has had, what it needs, and bringing it there.

Nobody changes a shared database by merely using it: `migrate` is asked for by hand, everybody else checks.
"""

from __future__ import annotations

from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import KitaruBackendError
from kitaru.faults import fault
from kitaru.store.migrations import Applied, Migration, known_migrations, missing_migrations
from kitaru.store.postgres_session import PostgresSession

DIALECT = "postgres"

_CREATE_HISTORY = """
CREATE TABLE IF NOT EXISTS kitaru_migration (
    number INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
"""

_TABLES = (
    *("execution", "call", "attempt", "artifact", "metadata", "log_line", "event", "wait"),
    *("worker", "receipt"),
)

# Held by whoever migrates, until the end of its transaction; any number that nobody else uses.
_LOCK = 0x6B697461_7275


def read_history(session: PostgresSession) -> list[Applied]:
    """Return the migrations that a database has had; none if it is not ours yet."""
    [(table,)] = session.query("SELECT CAST(to_regclass('kitaru_migration') AS TEXT)", ())
    if table is None:
        return []
    return [
        (number, name, checksum)
        for number, name, checksum in session.query(
            "SELECT number, name, checksum FROM kitaru_migration ORDER BY number", ()
        )
    ]


def check(session: PostgresSession, url: str) -> None:
    """Make sure that a database has the schema that this version needs.

    Raises:
        KitaruBackendError: It needs migrations, was written by a newer version, or has another history.
    """
    history = read_history(session)
    missing = missing_migrations(history, known_migrations(DIALECT), url)
    if missing:
        newest = len(history)
        state = f"has schema version {newest}" if newest else "has no tables of Kitaru"
        message = (
            f"the store {url!r} {state}, but this Kitaru needs version {newest + len(missing)}."
            f" Run `kitaru db migrate`."
        )
        raise KitaruBackendError(message)


def migrate(session: PostgresSession, url: str) -> None:
    """Bring a database to this version's schema.

    Durability: each migration is one transaction together with its row in `kitaru_migration`. Safe to repeat,
    and to run in several processes at once: one waits for the other. A newer database is left as it is.

    Raises:
        KitaruBackendError: A newer version wrote it, its history is not ours, or it has tables of others.
    """
    known = known_migrations(DIALECT)
    while True:
        session.execute("BEGIN")
        try:
            session.query("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
            history = read_history(session)
            if not history:
                _refuse_tables_of_others(session, url)
            missing = missing_migrations(history, known, url)
            if missing:
                _apply(session, missing[0])
                fault("migration.inside")
            session.execute("COMMIT")
        except BaseException:
            if not session.connection.closed:
                session.execute("ROLLBACK")
            raise
        if not missing:
            return
        fault("migration.after_commit")


def _refuse_tables_of_others(session: PostgresSession, url: str) -> None:
    """Leave a database alone that has tables by the names of ours and was never ours."""
    names = ", ".join("?" for _ in _TABLES)
    found = session.query(
        f"SELECT name FROM unnest(ARRAY[{names}]) AS wanted (name) WHERE to_regclass(name) IS NOT NULL",  # noqa: S608 - only marks
        _TABLES,
    )
    if found:
        told = ", ".join(repr(name) for (name,) in found)
        message = (
            f"the database {url!r} has tables of another program, which have the names of Kitaru's: {told}."
            f" Nothing was changed. Give Kitaru a database of its own (`createdb kitaru`)."
        )
        raise KitaruBackendError(message)


def _apply(session: PostgresSession, migration: Migration) -> None:
    session.execute(_CREATE_HISTORY)
    session.query(
        "INSERT INTO kitaru_migration (number, name, checksum, applied_at) VALUES (?, ?, ?, ?)"
        " RETURNING number",
        (migration.number, migration.name, migration.checksum, SYSTEM_CLOCK.now()),
    )
    # Whole, never split at semicolons: without arguments the driver sends the text as it is.
    session.execute(migration.script)
