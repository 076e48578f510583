"""Named statements on one Postgres connection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

from kitaru.store.postgres_prepared import Answer, PreparedStatements
from kitaru.store.queries import Row, Statement

# Each size is a prepared statement of its own.
_ROWS_AT_ONCE = (64, 16, 4, 1)


class PostgresSession:
    """Named statements on one connection; `database.py` specifies the methods.

    Args:
        connection: Commits each statement by itself, but for those between `BEGIN` and `COMMIT`.
        statements: By name.
    """

    __slots__ = (
        "_cursor",
        "_plain",
        "_prepared",
        "_statements",
        "connection",
        "generation",
        "is_pooled",
    )

    # It does for some estimates of what a page is, which it makes without seeing the page's size.
    merges_in_order = False

    def __init__(
        self, connection: psycopg.Connection[Row], statements: Mapping[str, Statement]
    ) -> None:
        self.connection = connection
        self.generation = 0  # see `sessions.py`
        self._statements = statements
        # A pooler between us and the database answers with an id of its own making. Behind it the next
        # transaction may run in another backend, where a prepared statement of ours is unknown or, worse,
        # another client's of the same name.
        [(backend,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
        self.is_pooled = backend != connection.info.backend_pid
        self._prepared = None if self.is_pooled else PreparedStatements(connection)
        connection.prepare_threshold = None
        # One type for all integers and one for all text, so that a statement is prepared once and not for
        # each combination of sizes, and `$1 IS NULL` has a type.
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        connection.adapters.register_dumper(str, StrBinaryDumper)
        self._cursor = connection.cursor(binary=True)
        self._plain = connection.cursor()

    def rows(self, name: str, *arguments: object) -> list[Row]:
        return self._run(name, arguments).rows

    def row(self, name: str, *arguments: object) -> Row | None:
        rows = self._run(name, arguments).rows
        return rows[0] if rows else None

    def run(self, name: str, *arguments: object) -> int:
        return self._run(name, arguments).changed

    def run_many(self, name: str, rows: Sequence[Row]) -> int:
        statement = self._statements[name]
        if statement.arrange is not None:
            rows = [statement.arrange(row) for row in rows]
        if not rows:
            return 0
        if len(rows) > 1 and statement.for_rows(2) is None:
            # In a pipeline: all are sent before the first answer is waited for.
            self._cursor.executemany(_as_query(statement.text), rows)
            return self._cursor.rowcount
        start, changed = 0, 0
        for size in _ROWS_AT_ONCE:
            while len(rows) - start >= size:
                chunk = rows[start : start + size]
                text = statement.for_rows(size) or statement.text
                changed += self._ask(text, tuple(chain.from_iterable(chunk))).changed
                start += size
        return changed

    def query(self, text: str, arguments: Sequence[object]) -> list[Row]:
        # `listing.py` writes the mark that SQLite knows; nothing else in its texts looks like it.
        return self._ask(text.replace("?", "%s"), tuple(arguments)).rows

    def statement(self, name: str) -> Statement:
        return self._statements[name]

    def lock_executions(self, exec_ids: Iterable[str]) -> None:
        """Lock these rows in the order of their ids, so that two who lock some never wait for each other."""
        ids = list(exec_ids)
        if ids:
            self.rows("lock_executions", msgspec.json.encode(ids).decode())

    def serialize(self, key: str) -> None:
        """Wait until no other transaction has this key, and have it until this one ends."""
        self.rows("serialize", key)

    def execute(self, text: str) -> None:
        """Run a statement without arguments or rows, such as `COMMIT`, or a script of several."""
        self._plain.execute(_as_query(text), prepare=False)

    def is_clean(self) -> bool:
        """Return whether the connection stands, outside any transaction."""
        return self.connection.info.transaction_status == TransactionStatus.IDLE

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()

    def _run(self, name: str, arguments: Row) -> Answer:
        statement = self._statements[name]
        if statement.arrange is not None:
            arguments = statement.arrange(arguments)
        return self._ask(statement.text, arguments)

    def _ask(self, text: str, arguments: Row) -> Answer:
        if self._prepared is not None:
            answer = self._prepared.run(text, arguments)
            if answer is not None:
                return answer
        cursor = self._cursor.execute(_as_query(text), arguments)
        rows = cursor.fetchall() if cursor.description is not None else []
        return Answer(rows, cursor.rowcount)


def _as_query(text: str) -> Any:
    """Return a text as the driver takes it, whose types let only literals be queries."""
    return text
