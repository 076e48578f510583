"""The limit on Postgres: the same durable commit made by hand, on one connection that stays open."""

from __future__ import annotations

import sys
import time

import psycopg

from benchmarks.subjects.limit import BLOB, TEXT
from benchmarks.subjects.served import serve


def main() -> None:
    connection = psycopg.connect(sys.argv[2], autocommit=True)
    connection.execute(
        "CREATE TABLE record (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT, value BYTEA)"
    )
    cursor = connection.cursor()

    def commit(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            cursor.execute(
                "INSERT INTO record (name, value) VALUES (%s, %s)", (TEXT, BLOB), prepare=True
            )
        return (time.perf_counter() - began) / count

    serve({"commit": commit})


if __name__ == "__main__":
    main()
