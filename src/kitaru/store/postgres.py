"""The team's store: one Postgres database, shared by any number of processes and machines.

What one transaction reads while others write is settled by row locks (`database.py`, `waits.py`), at the
database's default isolation. Nothing on the way of a query depends on the state of a session, so that a
pooler which lends connections for a transaction may stand between.

Lost answers. When the connection breaks while a commit is on its way, nobody has said whether it happened.
Work that is safe to repeat is done again. For other work a receipt is written in the same transaction, and
the database is asked for it: by writing it once more, because that waits for a transaction that is still
going on in a backend which has not noticed that we are gone.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo
from psycopg.rows import tuple_row

from kitaru.clock import Clock, SharedClock
from kitaru.errors import KitaruFeatureNotAvailableError, KitaruUsageError
from kitaru.faults import fault
from kitaru.model import Committed, Write, adopt_created
from kitaru.retention import Space
from kitaru.store.contract.sharing import Company, Watch
from kitaru.store.migrations import find_differences, known_migrations
from kitaru.store.postgres_changes import PostgresEar
from kitaru.store.postgres_commits import Found, commit_usual, find_usual
from kitaru.store.postgres_errors import (
    is_contended,
    is_lost,
    is_raced,
    is_transient,
    to_kitaru_error,
    unstorable,
)
from kitaru.store.postgres_schema import DIALECT, check, migrate, read_history
from kitaru.store.postgres_session import PostgresSession
from kitaru.store.queries import Row, load_statements
from kitaru.store.receipts import record_receipt
from kitaru.store.sessions import Sessions
from kitaru.store.sql_store import SqlStore

T = TypeVar("T")

# Commits of a process share a transaction (`journal_writer.py`), so that few connections serve many runs.
_MOST_SESSIONS = 16

PATIENCE_SECONDS = 90.0
"""How long a process that has used the database waits for it to come back: a restart, a failover, a cut."""
# Who has never reached it has most likely been told the wrong place.
_FIRST_PATIENCE_SECONDS = 5.0

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 1.0
# How often work is done again because somebody was faster; twice is unlikely, ten times is a mistake of ours.
_MOST_RACES = 10

# A dead peer is noticed within some ten seconds instead of hours. Given by the URL, they stay as given.
_CONNECTION_DEFAULTS = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "kitaru",
}
# A runner that is cut off in the middle of a transaction must not keep its execution's row locked.
_ABANDONED_SECONDS = 15


class PostgresStore(SqlStore):
    """A store in a Postgres database. Use `kitaru.store.open_store`, which keeps one per URL."""

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        database = PostgresDatabase(url, patience_seconds=patience_seconds)
        super().__init__(database)
        self._postgres = database

    @property
    def company(self) -> Company:
        return Company.MANY_MACHINES

    def commit(self, writes: Sequence[Write]) -> list[Committed]:
        usual = find_usual(writes)
        if usual is None:
            return super().commit(writes)
        attempts = 0

        def step(session: PostgresSession) -> tuple[Found, int]:
            nonlocal attempts
            attempts += 1
            return commit_usual(session, usual), attempts

        if usual.are_one_statement:
            found, tries = self._postgres.commit_statement(step)
        else:
            found, tries = self._postgres.write(step, is_repeatable=True)
        rest = [write for place, write in enumerate(writes) if place not in found]
        if not rest:
            return [found[place] for place in range(len(writes))]
        others = super().commit(rest)
        left = iter(others if tries == 1 else adopt_created(rest, others))
        return [found[place] if place in found else next(left) for place in range(len(writes))]

    def answer_within(self, seconds: float) -> None:
        self._postgres.limit_patience(seconds)

    def migrate(self) -> None:
        self._postgres.migrate()

    def measure_space(self) -> Space:
        return self._postgres.read(_measure)

    def shrink(self) -> None:
        message = (
            f"the store {self.url!r} shrinks by itself: Postgres gives free space back (autovacuum)."
            f" `VACUUM FULL` in `psql` does it at once, while everybody waits."
        )
        raise KitaruFeatureNotAvailableError(message)

    def back_up(self, path: Path) -> None:  # noqa: ARG002 - nothing is written
        message = (
            f"the store {self.url!r} is backed up with Postgres' own means, such as `pg_dump`; nothing was"
            f" written. Copy the large values after the database, never before."
        )
        raise KitaruFeatureNotAvailableError(message)

    def restore(self, path: Path) -> None:  # noqa: ARG002 - nothing is read
        message = (
            f"the store {self.url!r} is restored with Postgres' own means, such as `pg_restore`; nothing was"
            f" changed. Bring the large values back before the database."
        )
        raise KitaruFeatureNotAvailableError(message)


def _measure(session: PostgresSession) -> Space:
    [(size,)] = session.query("SELECT pg_database_size(current_database())", ())
    return Space(file_bytes=size, free_bytes=0)


class PostgresDatabase:
    """Connections to one database, transactions, and waiting for it to come back.

    `database.py` specifies the methods.
    """

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._parameters = _parameters(url)
        self._url = _public_url(self._parameters)
        self._patience = patience_seconds
        self._statements = load_statements(DIALECT, "%s")
        self._is_checked = False
        self._start()
        _open_databases.add(self)

    def _start(self) -> None:
        self._sessions = Sessions(self._connect, most=_MOST_SESSIONS)
        self._check_lock = threading.Lock()
        self._clock = SharedClock(self._ask_time)
        self._ear = PostgresEar(self._connect)

    @property
    def url(self) -> str:
        return self._url

    @property
    def clock(self) -> Clock:
        return self._clock

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._ear.add(wake)

    def read(self, work: Callable[[PostgresSession], T]) -> T:
        return self._persist(work)

    def commit_statement(self, work: Callable[[PostgresSession], T]) -> T:
        """Return what `work` returns, which runs one statement that is a transaction by itself.

        It may run again after it was committed, unknown to anybody; see `write` for work that may not.
        """

        def step(session: PostgresSession) -> T:
            fault("commit.inside")
            return work(session)

        return self._persist(step)

    def write(self, work: Callable[[PostgresSession], T], *, is_repeatable: bool = False) -> T:
        attempt = _Attempt(self, work, is_repeatable=is_repeatable)
        return self._persist(attempt.run)

    def reconnect_if_replaced(self) -> None:
        """Do nothing: a server says itself when it is another one."""

    def migrate(self) -> None:
        """Bring the schema to this version; see `postgres_schema.py`."""
        self._persist(lambda session: migrate(session, self._url), checked=False)
        self._is_checked = True

    def verify(self) -> list[str]:
        history = self._persist(read_history, checked=False)
        known = known_migrations(DIALECT)
        found = find_differences(history, known)
        if len(history) < len(known):
            found.append(
                f"the schema has version {len(history)} and needs {len(known)}: run `kitaru db migrate`"
            )
        return found

    def close(self) -> None:
        self._ear.stop()
        self._sessions.close()
        self._is_checked = False

    def limit_patience(self, seconds: float) -> None:
        """Wait for no longer than this for the database to come back."""
        self._patience = min(self._patience, seconds)

    def pause(self) -> None:
        """Wait until nobody uses a connection, let nobody begin to, and close all of them."""
        self._ear.stop()
        self._sessions.pause()

    def resume(self, *, is_child: bool) -> None:
        """Go on after `pause`."""
        if is_child:
            # The locks are held by threads that do not exist here.
            self._start()
        else:
            self._sessions.resume()
            self._ear.restart()

    def _persist(self, work: Callable[[PostgresSession], T], *, checked: bool = True) -> T:
        """Return what `work` returns, doing it again for as long as the database is away for a moment."""
        patience = _Patience(self)
        while True:
            session: PostgresSession | None = None
            is_sound = False
            try:
                if checked and not self._is_checked:
                    self._check()
                session = self._sessions.borrow()
                result = work(session)
                is_sound = True
            except psycopg.Error as error:
                is_sound = _tidy(session)
                patience.note(error)
            except (UnicodeEncodeError, OverflowError) as error:
                is_sound = _tidy(session)
                raise unstorable(error, self._url) from error
            except BaseException:
                is_sound = _tidy(session)
                raise
            else:
                return result
            finally:
                if session is not None:
                    self._sessions.give_back(session, is_sound=is_sound)
            patience.wait()

    def _check(self) -> None:
        with self._check_lock:
            if self._is_checked:
                return
            session = self._sessions.borrow()
            is_sound = False
            try:
                check(session, self._url)
                is_sound = self._is_checked = True
            finally:
                self._sessions.give_back(session, is_sound=is_sound)

    def _connect(self) -> PostgresSession:
        connection = psycopg.Connection[Row].connect(
            **self._parameters, autocommit=True, row_factory=tuple_row
        )
        try:
            session = PostgresSession(connection, self._statements)
            if not session.is_pooled:
                # Behind a pooler it would become some other client's setting; poolers have their own.
                session.execute(
                    f"SET idle_in_transaction_session_timeout = '{_ABANDONED_SECONDS}s'"
                )
        except BaseException:
            connection.close()
            raise
        return session

    def _ask_time(self) -> int:
        text = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        [(moment,)] = self._persist(lambda session: session.query(text, ()), checked=False)
        return moment

    @property
    def is_known(self) -> bool:
        """Whether this process has found the database where it was told to look."""
        return self._is_checked

    @property
    def patience_seconds(self) -> float:
        """For how long to try before giving up."""
        return self._patience if self.is_known else min(self._patience, _FIRST_PATIENCE_SECONDS)


class _Attempt:
    """One write, tried until it is known to be committed.

    `run` may be called several times: once more after each time that the connection broke.
    """

    def __init__(
        self,
        database: PostgresDatabase,
        work: Callable[[PostgresSession], Any],
        *,
        is_repeatable: bool,
    ) -> None:
        self._database = database
        self._work = work
        self._is_repeatable = is_repeatable
        # Before there is a transaction: the clock may have to ask the database, on another connection, which
        # a pooler may not have for as long as transactions wait for it.
        self._now = 0 if is_repeatable else database.clock.now()
        # The receipt and the result of a transaction that may have been committed.
        self._in_doubt: tuple[str, Any] | None = None

    def run(self, session: PostgresSession) -> Any:
        if self._in_doubt is not None:
            key, result = self._in_doubt
            if not session.run("claim_receipt", key, b"", self._now):
                return result
            # Ours was never committed and never will be: its receipt can have no place any more.
            self._in_doubt = None
        session.execute("BEGIN")
        result = self._work(session)
        key = None
        if not self._is_repeatable:
            key = uuid.uuid4().hex
            record_receipt(session, key, b"", self._now)
        fault("commit.inside")
        try:
            session.execute("COMMIT")
        except psycopg.Error as error:
            if key is not None and is_lost(error):
                self._in_doubt = (key, result)
            raise
        return result


class _Patience:
    """How long one operation has been waiting for the database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._began = time.monotonic()
        self._races = 0
        self._pause = _FIRST_PAUSE_SECONDS

    def note(self, error: psycopg.Error) -> None:
        """Raise an error as ours if doing the work again is no use, or was none for too long."""
        waited = time.monotonic() - self._began
        self._is_contended = is_contended(error)
        if is_raced(error) and self._races < _MOST_RACES:
            self._races += 1
            self._is_contended = True
            return
        if not is_transient(error) or waited > self._database.patience_seconds:
            raise to_kitaru_error(
                error, self._database.url, waited=waited, is_known=self._database.is_known
            ) from error

    def wait(self) -> None:
        """Wait a moment before the next try, longer each time that the database was away."""
        if self._is_contended:
            time.sleep(random.uniform(0.0, _FIRST_PAUSE_SECONDS))  # noqa: S311 - no secret, only jitter
            return
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret, only jitter
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)


def _tidy(session: PostgresSession | None) -> bool:
    """Leave the transaction of work that failed; return whether the connection is fit for others."""
    if session is None:
        return False
    try:
        if not session.connection.closed and not session.is_clean():
            session.execute("ROLLBACK")
    except psycopg.Error:
        return False
    return not session.connection.closed and session.is_clean()


def _parameters(url: str) -> dict[str, Any]:
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        # The driver's words may quote the URL with its password.
        message = (
            "the URL of the Postgres store cannot be read. It looks like"
            " 'postgresql://user:password@host:5432/database', with special characters percent-encoded."
        )
        raise KitaruUsageError(message) from error
    return {**_CONNECTION_DEFAULTS, **given}


def _public_url(parameters: dict[str, Any]) -> str:
    host = str(parameters.get("host") or "localhost")
    port = parameters.get("port")
    name = parameters.get("dbname") or parameters.get("user") or ""
    if host.startswith("/"):
        return f"postgresql:///{name}?host={host}"
    return f"postgresql://{host}{f':{port}' if port else ''}/{name}"


# For the hooks below, which know no store.
_open_databases: weakref.WeakSet[PostgresDatabase] = weakref.WeakSet()
_paused: list[PostgresDatabase] = []


def _before_fork() -> None:
    # A child that inherits a connection would speak on it between the parent's words, and end it with itself.
    for database in list(_open_databases):
        database.pause()
        _paused.append(database)


def _after_fork(*, is_child: bool) -> None:
    while _paused:
        _paused.pop().resume(is_child=is_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(is_child=False),
        after_in_child=lambda: _after_fork(is_child=True),
    )
