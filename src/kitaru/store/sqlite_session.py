"""Named statements on one SQLite connection, and a few connections to read with."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

from kitaru.store.queries import Row, Statement

# Reads take well under a millisecond, so that more threads than these may wait for each other. It bounds
# what the process has open: SQLite puts off closing a file for as long as another connection has a lock.
_MOST_READERS = 8

# Each size is a prepared statement of its own; 16 rows of the journal have 384 parameters, of the 999
# that the oldest SQLite allows.
_ROWS_AT_ONCE = (16, 4, 1)


class SqliteSession:
    """Named statements on one connection; `database.py` specifies the methods."""

    __slots__ = ("_cursor", "_statements", "connection", "generation")

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, Statement]) -> None:
        self.connection = connection
        self.generation = 0  # see `Readers`
        self._statements = statements
        # One cursor for all statements: making one costs as much as a small statement.
        self._cursor = connection.cursor()

    def rows(self, name: str, *arguments: object) -> list[Row]:
        statement = self._statements[name]
        if statement.arrange is not None:
            arguments = statement.arrange(arguments)
        return self._cursor.execute(statement.text, arguments).fetchall()

    def row(self, name: str, *arguments: object) -> Row | None:
        # All rows are fetched even where one is expected: a statement that is left in the middle
        # would keep its snapshot of the database.
        found = self.rows(name, *arguments)
        return found[0] if found else None

    def run(self, name: str, *arguments: object) -> int:
        statement = self._statements[name]
        if statement.arrange is not None:
            arguments = statement.arrange(arguments)
        return self._cursor.execute(statement.text, arguments).rowcount

    def run_many(self, name: str, rows: Sequence[Row]) -> int:
        statement = self._statements[name]
        if statement.arrange is not None:
            rows = [statement.arrange(row) for row in rows]
        if len(rows) == 1 or statement.for_rows(2) is None:
            return self._cursor.executemany(statement.text, rows).rowcount
        # `executemany` gives the interpreter lock away for every row, and gets it back only when the
        # other threads let it; a statement of several rows does so once.
        start, changed = 0, 0
        for size in _ROWS_AT_ONCE:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                text = statement.for_rows(size) or statement.text
                changed += self._cursor.execute(text, tuple(chain.from_iterable(chunk))).rowcount
                start += size
        return changed

    def query(self, text: str, arguments: Sequence[object]) -> list[Row]:
        return self._cursor.execute(text, tuple(arguments)).fetchall()

    def statement(self, name: str) -> Statement:
        return self._statements[name]

    def lock_executions(self, exec_ids: Iterable[str]) -> None:
        """Do nothing: a transaction that writes excludes all others."""

    def serialize(self, key: str) -> None:
        """Do nothing, for the same reason."""

    def execute(self, text: str) -> None:
        """Run a statement without arguments or rows, such as `COMMIT`."""
        self._cursor.execute(text)


class Readers:
    """A few connections that read, for any number of threads."""

    def __init__(self, connect: Callable[[], SqliteSession]) -> None:
        self._connect = connect
        self._changed = threading.Condition(threading.Lock())
        self._idle: list[SqliteSession] = []
        self._borrowed = 0
        # Raised when all that were opened before are to be closed, also those in use at the time.
        self._generation = 0
        self._is_paused = False

    def borrow(self) -> SqliteSession:
        """Return a connection that nobody else uses until it is given back."""
        with self._changed:
            while self._is_paused or self._borrowed == _MOST_READERS:
                self._changed.wait()
            self._borrowed += 1
            generation = self._generation
            session = self._idle.pop() if self._idle else None
        if session is not None:
            return session
        try:
            session = self._connect()
        except BaseException:
            self._returned(None)
            raise
        session.generation = generation
        return session

    def give_back(self, session: SqliteSession, *, is_sound: bool) -> None:
        """Let others use a connection, or close it if it is not sound."""
        if is_sound and session.generation == self._generation:
            self._returned(session)
        else:
            session.connection.close()
            self._returned(None)

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are given back."""
        with self._changed:
            self._generation += 1
            idle, self._idle = self._idle, []
        for session in idle:
            session.connection.close()

    def pause(self) -> None:
        """Wait until nobody reads, let nobody begin to, and close all connections."""
        with self._changed:
            self._is_paused = True
            while self._borrowed:
                self._changed.wait()
        self.close()

    def resume(self) -> None:
        """Let reading go on after `pause`."""
        with self._changed:
            self._is_paused = False
            self._changed.notify_all()

    def _returned(self, session: SqliteSession | None) -> None:
        with self._changed:
            self._borrowed -= 1
            if session is not None:
                self._idle.append(session)
            if self._is_paused:
                self._changed.notify_all()
            else:
                self._changed.notify()
