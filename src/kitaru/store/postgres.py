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

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.rows import tuple_row

from kitaru.clock import MICROSECONDS, Clock, SharedClock
from kitaru.errors import (
    KitaruBackendError,
    KitaruFeatureNotAvailableError,
)
from kitaru.faults import fault
from kitaru.forking import pause_at_fork
from kitaru.model import Committed, HeldLease, Write, adopt_created
from kitaru.retention import Space
from kitaru.store import journal
from kitaru.store.contract.sharing import Company, Watch
from kitaru.store.leases import renew_leases
from kitaru.store.migrations import find_differences, known_migrations
from kitaru.store.postgres_attempts import Attempt, Patience, tidy
from kitaru.store.postgres_changes import PostgresEar
from kitaru.store.postgres_commits import Found, commit_usual, find_usual
from kitaru.store.postgres_errors import (
    is_lost,
    unstorable,
)
from kitaru.store.postgres_schema import DIALECT, check, migrate, read_history
from kitaru.store.postgres_session import PostgresSession
from kitaru.store.postgres_urls import parameters_of, public_url
from kitaru.store.queries import Row, load_statements
from kitaru.store.receipts import forget_receipts
from kitaru.store.sessions import Sessions
from kitaru.store.sql_store import SqlStore

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Commits of a process share a transaction (`journal_writer.py`), so that few connections serve many runs.
_MOST_SESSIONS = 16

PATIENCE_SECONDS = 90.0
"""How long a process that has used the database waits for it to come back: a restart, a failover, a cut."""
# Who has never reached it has most likely been told the wrong place.
_FIRST_PATIENCE_SECONDS = 5.0

# Renewals are few, short and urgent: they do not stand in line with everything else, and soon come again.
_MOST_URGENT_SESSIONS = 2
_URGENT_PATIENCE_SECONDS = 3.0

# Receipts are asked for within minutes. Every so many a process looks for old ones, which nobody else may do.
_RECEIPTS_BETWEEN_SWEEPS = 256
_RECEIPT_SECONDS = 2 * 3600


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

        def step(session: PostgresSession) -> Found:
            nonlocal attempts
            attempts += 1
            found = commit_usual(session, usual)
            if usual.are_one_statement:
                return found
            # The rest belongs to the same transaction.
            return _completed(found, writes, lambda rest: journal.commit(session, rest), attempts)

        if not usual.are_one_statement:
            found = self._postgres.write(step, is_repeatable=True)
        else:
            found = _completed(
                self._postgres.commit_statement(step), writes, super().commit, attempts
            )
        return [found[place] for place in range(len(writes))]

    def renew_leases(
        self, owner: str, leases: Sequence[tuple[str, int]], *, lease_expires_at: int
    ) -> list[HeldLease]:
        return self._postgres.write_urgently(
            lambda session: renew_leases(session, owner, leases, lease_expires_at)
        )

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


def _completed(
    found: Found,
    writes: Sequence[Write],
    commit: Callable[[Sequence[Write]], list[Committed]],
    attempts: int,
) -> Found:
    """Return what became of all writes, after having those committed that were no usual ones after all."""
    places = [place for place in range(len(writes)) if place not in found]
    if not places:
        return found
    rest = [writes[place] for place in places]
    others = commit(rest)
    if attempts > 1:
        others = adopt_created(rest, others)
    return {**found, **dict(zip(places, others, strict=True))}


def _measure(session: PostgresSession) -> Space:
    [(size,)] = session.query("SELECT pg_database_size(current_database())", ())
    return Space(file_bytes=size, free_bytes=0)


class PostgresDatabase:
    """Connections to one database, transactions, and waiting for it to come back.

    `database.py` specifies the methods.
    """

    def __init__(self, url: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._parameters = parameters_of(url)
        self._url = public_url(self._parameters)
        self._patience = patience_seconds
        self.is_outage_told = False
        self._statements = load_statements(DIALECT, "%s")
        self._is_checked = False
        self._receipts = 0
        self._clock = SharedClock(self._ask_time)
        self._start()
        pause_at_fork(self)

    def _start(self) -> None:
        self._sessions = Sessions(self._connect, most=_MOST_SESSIONS)
        self._urgent = Sessions(self._connect, most=_MOST_URGENT_SESSIONS)
        self._check_lock = threading.Lock()
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
        attempt = Attempt(self, work, is_repeatable=is_repeatable)
        result = self._persist(attempt.run)
        if not is_repeatable:
            self._receipts += 1
            if self._receipts % _RECEIPTS_BETWEEN_SWEEPS == 0:
                self._sweep_receipts()
        return result

    def write_urgently(self, work: Callable[[PostgresSession], T]) -> T:
        """As `write`, for short work that is safe to repeat: on a connection that nothing else uses."""
        attempt = Attempt(self, work, is_repeatable=True)
        return self._persist(attempt.run, sessions=self._urgent, most=_URGENT_PATIENCE_SECONDS)

    def _sweep_receipts(self) -> None:
        before = self._clock.now() - _RECEIPT_SECONDS * MICROSECONDS
        try:
            self.write(lambda session: forget_receipts(session, before), is_repeatable=True)
        except KitaruBackendError:
            logger.debug("old receipts cannot be removed now", exc_info=True)

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
        self._urgent.close()
        self._is_checked = False

    def limit_patience(self, seconds: float) -> None:
        """Wait for no longer than this for the database to come back."""
        self._patience = min(self._patience, seconds)

    def pause(self) -> None:
        """Wait until nobody uses a connection, let nobody begin to, and close all of them."""
        self._ear.stop()
        self._sessions.pause()
        self._urgent.pause()

    def resume(self, *, is_child: bool) -> None:
        """Go on after `pause`."""
        if is_child:
            # The locks are held by threads that do not exist here.
            self._start()
        else:
            self._sessions.resume()
            self._urgent.resume()
            self._ear.restart()

    def _persist(
        self,
        work: Callable[[PostgresSession], T],
        *,
        checked: bool = True,
        sessions: Sessions[PostgresSession] | None = None,
        most: float = PATIENCE_SECONDS,
    ) -> T:
        """Return what `work` returns, doing it again for as long as the database is away for a moment."""
        sessions = sessions or self._sessions
        patience = Patience(self, most)
        while True:
            session: PostgresSession | None = None
            is_sound = False
            try:
                if checked and not self._is_checked:
                    self._check()
                session = sessions.borrow()
                result = work(session)
                is_sound = True
            except psycopg.Error as error:
                is_sound = tidy(session)
                if is_lost(error):
                    # What ended this connection has ended the others: each would have to find out by itself.
                    sessions.close()
                patience.note(error)
            except (UnicodeEncodeError, OverflowError) as error:
                is_sound = tidy(session)
                raise unstorable(error, self._url) from error
            except BaseException:
                is_sound = tidy(session)
                raise
            else:
                if self.is_outage_told:
                    self.is_outage_told = False
                    logger.info("the database '%s' answers again", self._url)
                return result
            finally:
                if session is not None:
                    sessions.give_back(session, is_sound=is_sound)
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
            return PostgresSession(connection, self._statements)
        except BaseException:
            connection.close()
            raise

    def _ask_time(self) -> int:
        text = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        [(moment,)] = self._persist(
            lambda session: session.query(text, ()),
            checked=False,
            sessions=self._urgent,
            most=_URGENT_PATIENCE_SECONDS,
        )
        return moment

    @property
    def is_known(self) -> bool:
        """Whether this process has found the database where it was told to look."""
        return self._is_checked

    @property
    def patience_seconds(self) -> float:
        """For how long to try before giving up."""
        return self._patience if self.is_known else min(self._patience, _FIRST_PATIENCE_SECONDS)
