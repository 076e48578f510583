"""The limit: the same durable commit made by hand, with nothing around it."""

from __future__ import annotations

import itertools
import sqlite3
import sys
import time
from pathlib import Path

from benchmarks.subjects.served import serve

# As much as Kitaru stores for a small call: names, fingerprint, arguments and result, with overhead.
TEXT = "step#1000"
BLOB = b"\x5a" * 200


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, name TEXT, value BLOB)")
    return connection


def commit(connection: sqlite3.Connection, count: int) -> float:
    cursor = connection.cursor()
    began = time.perf_counter()
    for _ in range(count):
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute("INSERT INTO record (name, value) VALUES (?, ?)", (TEXT, BLOB))
        cursor.execute("COMMIT")
    return (time.perf_counter() - began) / count


def main() -> None:
    directory = Path(sys.argv[1])
    connection = connect(directory / "limit.db")
    names = (f"{number}.db" for number in itertools.count())

    def first(count: int) -> float:
        new = connect(directory / next(names))
        try:
            return commit(new, count)
        finally:
            new.close()

    serve({"commit": lambda count: commit(connection, count), "first": first})


if __name__ == "__main__":
    main()
