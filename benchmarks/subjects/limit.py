"""The limit: the same durable commit made by hand, with nothing around it."""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

from benchmarks.subjects.served import serve

# As much as Kitaru stores for a small call: names, fingerprint, arguments and result, with overhead.
_TEXT = "step#1000"
_BLOB = b"\x5a" * 200


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, name TEXT, value BLOB)")
    return connection


def main() -> None:
    connection = connect(Path(sys.argv[1]) / "limit.db")

    def commit(count: int) -> float:
        cursor = connection.cursor()
        began = time.perf_counter()
        for _ in range(count):
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("INSERT INTO record (name, value) VALUES (?, ?)", (_TEXT, _BLOB))
            cursor.execute("COMMIT")
        return (time.perf_counter() - began) / count

    serve({"commit": commit})


if __name__ == "__main__":
    main()
