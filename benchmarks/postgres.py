"""The Postgres server of a run: its commits reach the disk that every other store of the run lies on.

It is the server of the tests, with what its wheel ships as defaults: `fsync`, `full_page_writes` and
`synchronous_commit` are on. Kitaru, DBOS and the limit get databases of their own on it.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import psycopg

from kitaru.store.postgres import PostgresStore
from tests.postgres import PostgresServer


class Postgres:
    """A server that is there for as long as the run.

    Args:
        above: The folder in which its data directory is made.
    """

    def __init__(self, above: Path) -> None:
        self._server = PostgresServer(flushes=True, above=above)
        self._server.start()
        self._names = (f"benchmark_{number}" for number in itertools.count())

    @property
    def pid(self) -> int:
        """Of the process whose children serve the connections."""
        return self._server.pid

    def empty(self) -> str:
        """Return the URL of a database of its own without any table."""
        name = next(self._names)
        with psycopg.connect(self._server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._server.url(name)

    def migrated(self) -> str:
        """Return the URL of a database of its own that has Kitaru's tables."""
        url = self.empty()
        store = PostgresStore(url)
        store.migrate()
        store.close()
        return url

    def version(self) -> str:
        with psycopg.connect(self._server.url("postgres")) as connection:
            [(found,)] = connection.execute("SHOW server_version").fetchall()
        return found

    def remove(self) -> None:
        """Stop it and leave nothing."""
        self._server.remove()
