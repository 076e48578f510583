"""Statements that one Postgres connection has prepared, run without the driver's cursor.

A cursor looks again at each use what its text and its arguments are, which costs more than the database takes
for a usual statement, and far more for one of many rows. Here the database is asked once which types a
statement's parameters have; from then on its arguments go out as they are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, generators, pq
from psycopg.adapt import Transformer

from kitaru.store.queries import Row

# From the third use on: one that a process uses once is not worth another way to the server and back.
_USES_BEFORE = 2

_BINARY, _TEXT = pq.Format.BINARY, pq.Format.TEXT

Dump = Callable[[Any], bytes]

# By their numbers in Postgres' catalog.
_BIGINT, _SMALLINT, _INTEGER, _BYTEA, _STRING = 20, 21, 23, 17, 25
_DUMPS: dict[int, Dump] = {
    _BIGINT: struct.Struct("!q").pack,
    _BYTEA: lambda value: value,
    _STRING: str.encode,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement has given.

    Attributes:
        changed: How many rows it has changed, or given.
    """

    rows: list[Row]
    changed: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    name: bytes
    dumps: Sequence[Dump]
    formats: Sequence[pq.Format]


class PreparedStatements:
    """The statements of one connection that have been used often enough to be prepared.

    Args:
        connection: One that leads to one backend for as long as it stands.
    """

    __slots__ = ("_connection", "_names", "_pgconn", "_prepared", "_transformer", "_uses")

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared: dict[str, _Prepared] = {}
        self._uses: dict[str, int] = {}
        self._names = 0

    def run(self, text: str, arguments: Row) -> Answer | None:
        """Run a statement and return what it gives; None if it is not worth preparing yet.

        Args:
            text: With `%s` for each parameter, and no other percent sign.
            arguments: Text, integers, bytes or None.
        """
        found = self._prepared.get(text)
        if found is None:
            uses = self._uses[text] = self._uses.get(text, 0) + 1
            if uses <= _USES_BEFORE:
                return None
            found = self._prepared[text] = self._prepare(text)
        try:
            values = [
                None if argument is None else dump(argument)
                for dump, argument in zip(found.dumps, arguments, strict=True)
            ]
        except struct.error as error:
            raise OverflowError(str(error)) from error
        self._pgconn.send_query_prepared(found.name, values, found.formats, _BINARY)
        result = self._await()
        self._transformer.set_pgresult(result)
        rows = self._transformer.load_rows(0, result.ntuples, tuple) if result.ntuples else []
        return Answer(rows, result.command_tuples or 0)

    def _prepare(self, text: str) -> _Prepared:
        # Counted before it is sent: an interrupt may come between the server's learning it and ours.
        self._names += 1
        name = f"kitaru_{self._names}".encode()
        first, *others = text.split("%s")
        marked = "".join((first, *(f"${number}{part}" for number, part in enumerate(others, 1))))
        types = [_widened(kind) for kind in self._infer_types(marked.encode())]
        self._pgconn.send_prepare(name, marked.encode(), types)
        self._await()
        return _Prepared(
            name,
            [_DUMPS.get(kind, _as_text) for kind in types],
            [_BINARY if kind in _DUMPS else _TEXT for kind in types],
        )

    def _infer_types(self, text: bytes) -> list[int]:
        self._pgconn.send_prepare(b"", text)
        self._await()
        self._pgconn.send_describe_prepared(b"")
        told = self._await()
        return [told.param_type(place) for place in range(told.nparams)]

    def _await(self) -> pq.abc.PGresult:
        """Return the answer to what was sent; a Ctrl-C meanwhile ends it there, too."""
        [result] = self._connection.wait(generators.execute(self._pgconn))
        if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            raise errors.error_from_result(result, encoding="utf-8")
        return result


def _widened(kind: int) -> int:
    """Return the type that a parameter gets; beside a small number the database expects no large one."""
    return _BIGINT if kind in (_SMALLINT, _INTEGER) else kind


def _as_text(value: object) -> bytes:
    return str(value).encode()
