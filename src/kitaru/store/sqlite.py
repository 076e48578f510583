"""The embedded store: one SQLite file, shared by threads and processes of one machine.

A process has one connection that writes, behind a lock, and a few that read. Reading never waits for
writing (write-ahead log); writers of several processes wait for each other (`sqlite_patience.py`).

Forking. SQLite keeps per-process state about each open file that a forked child would inherit: the child
would believe that it holds locks which only its parent has, and lose commits. So every connection is closed
before a fork, in the parent, and both sides open new ones at their next use.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kitaru.clock import SYSTEM_CLOCK, Clock
from kitaru.errors import KitaruBackendError
from kitaru.faults import fault
from kitaru.forking import pause_at_fork
from kitaru.retention import Space
from kitaru.store import sqlite_files
from kitaru.store.contract.sharing import Watch
from kitaru.store.migrations import find_differences, known_migrations
from kitaru.store.queries import load_statements
from kitaru.store.sessions import Sessions
from kitaru.store.sql_store import SqlStore
from kitaru.store.sqlite_errors import (
    is_about_the_record,
    is_busy,
    is_damaged,
    unstorable,
)
from kitaru.store.sqlite_patience import Patience
from kitaru.store.sqlite_schema import connect, find_page_damage, prepare, read_history
from kitaru.store.sqlite_session import SqliteSession

T = TypeVar("T")

# Reads take well under a millisecond, so that more threads than these may wait for each other. It bounds
# what the process has open: SQLite puts off closing a file for as long as another connection has a lock.
_MOST_READERS = 8


class SQLiteStore(SqlStore):
    """A store in one SQLite file. Use `kitaru.store.open_store`, which keeps one per file."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = SYSTEM_CLOCK,
        at_once: bool = True,
        flushes: bool = True,
    ) -> None:
        database = SqliteDatabase(path, clock=clock, flushes=flushes)
        super().__init__(database)
        self.path = path
        self._files = database
        if at_once:
            database.open()

    def migrate(self) -> None:
        self._files.open()

    def measure_space(self) -> Space:
        return self._files.read(lambda session: sqlite_files.measure(session.connection))

    def shrink(self) -> None:
        self._files.open()
        sqlite_files.shrink(self.path)

    def back_up(self, path: Path) -> None:
        self._files.open()
        sqlite_files.copy_to(self.path, path)

    def restore(self, path: Path) -> None:
        self._files.open()
        sqlite_files.replace_by(self.path, path)
        # An older version's is brought to this one's schema at its next use.
        self._files.close()


class _Blind:
    """A watch on a file, which never wakes anybody; looking at it is cheap."""

    is_live = False

    def stop(self) -> None:
        """Do nothing."""


_BLIND = _Blind()


class SqliteDatabase:
    """Connections to one file, transactions, and waiting for others.

    `database.py` specifies the methods.
    """

    def __init__(self, path: Path, *, clock: Clock = SYSTEM_CLOCK, flushes: bool = True) -> None:
        self.path = path
        self._flushes = flushes
        self._clock = clock
        self._statements = load_statements("sqlite", "?")
        self._is_prepared = False
        self._identity: tuple[int, int] | None = None
        self._start()
        pause_at_fork(self)

    def _start(self) -> None:
        # Reentrant, so that a fork from inside a transaction does not hang.
        self._write_lock = threading.RLock()
        self._writer: SqliteSession | None = None
        self._readers = Sessions(self._connect_reader, most=_MOST_READERS)

    @property
    def url(self) -> str:
        posix = self.path.as_posix()
        return "sqlite://" + (posix if posix.startswith("/") else "/" + posix)

    @property
    def clock(self) -> Clock:
        return SYSTEM_CLOCK

    def watch(self, wake: Callable[[], None]) -> Watch:  # noqa: ARG002 - a file tells nobody
        return _BLIND

    def open(self) -> None:
        """Create the file or bring its schema to this version, if that has not been done."""
        with self._write_lock:
            if not self._is_prepared:
                prepare(self.path)
                self._identity = self._identify()
                self._is_prepared = True

    def read(self, work: Callable[[SqliteSession], T]) -> T:
        if not self._is_prepared:
            self.open()
        patience: Patience | None = None
        while True:
            is_sound = True
            session: SqliteSession | None = None
            try:
                session = self._readers.borrow()
                return work(session)
            except sqlite3.Error as error:
                is_sound = is_busy(error)
                patience = patience or Patience(self.path, self._clock)
                patience.wait(error)
            except (UnicodeEncodeError, OverflowError) as error:
                raise unstorable(error, self.path) from error
            finally:
                if session is not None:
                    self._readers.give_back(session, is_sound=is_sound)

    def write(self, work: Callable[[SqliteSession], T], *, is_repeatable: bool = False) -> T:  # noqa: ARG002 - what a file's commit has done is always known
        patience: Patience | None = None
        # Held while waiting for other processes too: the threads of this one queue up behind it
        # instead of all asking.
        with self._write_lock:
            while True:
                try:
                    session = self._writer or self._open_writer()
                    session.execute("BEGIN IMMEDIATE")
                    result = work(session)
                    fault("commit.inside")
                    session.execute("COMMIT")
                except sqlite3.Error as error:
                    self._roll_back(error)
                    patience = patience or Patience(self.path, self._clock)
                    patience.wait(error)
                except (UnicodeEncodeError, OverflowError) as error:
                    self._roll_back(None)
                    raise unstorable(error, self.path) from error
                except BaseException:
                    self._roll_back(None)
                    raise
                else:
                    return result

    def reconnect_if_replaced(self) -> None:
        # POSIX lets a file be removed, or another put in its place, while it is open: what is then
        # written to the open one succeeds and is gone when the process ends. Asking takes 2 us.
        if self._is_prepared and self._identify() != self._identity:
            self.close()

    def verify(self) -> list[str]:
        try:
            return self.read(self._find_damage)
        except KitaruBackendError as error:
            cause = error.__cause__
            if not (isinstance(cause, sqlite3.Error) and is_damaged(cause)):
                raise
            # It cannot even be opened as ours.
            return find_page_damage(self.path) or [str(cause)]

    def close(self) -> None:
        with self._write_lock:
            self._discard_writer()
            self._is_prepared = False
        self._readers.close()

    def pause(self) -> None:
        """Wait until nobody uses a connection, let nobody begin to, and close all of them."""
        self._write_lock.acquire()
        self._discard_writer()
        self._readers.pause()

    def resume(self, *, is_child: bool) -> None:
        """Go on after `pause`."""
        if is_child:
            # The locks are held by threads that do not exist here.
            self._start()
        else:
            self._readers.resume()
            self._write_lock.release()

    def _identify(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)  # noqa: PTH116 - half the time of `Path.stat`, and asked for often
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _find_damage(self, session: SqliteSession) -> list[str]:
        found: list[str] = []
        try:
            found += find_page_damage(self.path)
            found += [
                f"row {row} of table {table!r} names a row of {parent!r} that does not exist"
                for table, row, parent, _ in session.query("PRAGMA foreign_key_check", ())
            ]
            history = read_history(session.connection, self.path)
        except sqlite3.Error as error:
            if not is_damaged(error):
                raise
            return found or [str(error)]
        return found + find_differences(history, known_migrations("sqlite"))

    def _connect_reader(self) -> SqliteSession:
        return SqliteSession(connect(self.path, writer=False), self._statements)

    def _open_writer(self) -> SqliteSession:
        self.open()
        self._writer = SqliteSession(
            connect(self.path, writer=True, flushes=self._flushes), self._statements
        )
        return self._writer

    def _roll_back(self, error: sqlite3.Error | None) -> None:
        if self._writer is None:
            return
        try:
            self._writer.connection.rollback()
        except sqlite3.Error:
            # Closing rolls back too.
            self._discard_writer()
        if error is not None and not is_busy(error) and not is_about_the_record(error):
            # After an error of the disk a connection may hold pages that never got there.
            self._discard_writer()

    def _discard_writer(self) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.connection.close()
