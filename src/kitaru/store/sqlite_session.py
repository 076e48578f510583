"""Named statements on one SQLite connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from kitaru.store.queries import Row, Statement

# Each size is a prepared statement of its own; 16 rows of the journal have 384 parameters, of the 999
# that the oldest SQLite allows.
_ROWS_AT_ONCE = (16, 4, 1)


class SqliteSession:
    """Named statements on one connection; `database.py` specifies the methods."""

    __slots__ = ("_cursor", "_statements", "connection", "generation")

    merges_in_order = True

    def __init__(self, connection: sqlite3.Connection, statements: Mapping[str, Statement]) -> None:
        self.connection = connection
        self.generation = 0  # see `sessions.py`
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

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()
