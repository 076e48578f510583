"""Postgres databases with up to a million executions: the same real ones as in the files of `seeding.py`.

The rows are copied by the database itself, with ids and moments of their own, in the order of time. Nobody
waits for the disk meanwhile and no trigger fires: what is not complete is thrown away.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.measuring import ROOT, Bench, clean_environment
from benchmarks.seeding import APART_MICROSECONDS, FLOWS, SHARES, TEMPLATE_FLOW

_AT_ONCE = 20_000  # executions in a statement

Connection = psycopg.Connection[Any]

# Which real execution each copy is of, and what differs. An id is a UUID of version 7, as all are.
_PLAN = """
CREATE TEMPORARY TABLE plan AS
SELECT
    number,
    template.id AS template_id,
    moment - template.created_at AS later,
    flows[1 + mod(hash / 100, cardinality(flows))] AS flow,
    substr(digits, 1, 8) || '-' || substr(digits, 9, 4) || '-7' || substr(digits, 13, 3)
    || '-8' || substr(digits, 16, 3) || '-' || substr(digits, 19, 12) AS id
FROM (
    SELECT
        number,
        moment,
        hash,
        statuses[1 + mod(hash, cardinality(statuses))] AS status,
        lpad(to_hex(moment / 1000), 12, '0') || md5(number::TEXT) AS digits
    FROM (
        SELECT
            number,
            CAST(%(first)s AS BIGINT) + number * CAST(%(apart)s AS BIGINT) AS moment,
            abs(CAST(hashint8(number) AS BIGINT)) AS hash
        FROM generate_series(0, CAST(%(count)s AS BIGINT) - 1) AS number
    ) AS numbers
    CROSS JOIN (SELECT CAST(%(statuses)s AS TEXT[]) AS statuses) AS given
) AS copies
CROSS JOIN (SELECT CAST(%(flows)s AS TEXT[]) AS flows) AS given
INNER JOIN execution AS template ON template.status = copies.status
"""

_COLUMNS = """
SELECT table_name, column_name
FROM information_schema.columns
WHERE table_schema = current_schema() AND is_identity = 'NO'
ORDER BY table_name, ordinal_position
"""


_NUMBERED = {"call", "artifact", "log_line", "event"}


def database_of(bench: Bench, count: int) -> str:
    """Return the URL of a database with so many executions, the same one throughout the run."""
    url = bench.databases.get(count)
    if url is None:
        url = bench.postgres.migrated()
        seed(url, count, bench.new_directory())
        bench.databases[count] = url
    return url


def seed(url: str, count: int, directory: Path) -> None:
    """Fill a database that has been migrated with `count` executions of three calls each.

    Args:
        url: The database.
        count: How many.
        directory: Of the settings of the process that makes the real ones.
    """
    subprocess.run(
        [sys.executable, "-m", "benchmarks.tickets", str(directory)],
        cwd=ROOT,
        env=clean_environment(KITARU_STORE_URL=url),
        stderr=subprocess.PIPE,
        check=True,
    )
    multiply(url, count, SHARES, FLOWS)


def multiply(url: str, count: int, shares: Mapping[str, int], flows: Sequence[str]) -> None:
    """Put `count` copies of a database's executions in their place.

    Args:
        url: The database; it has one execution of each of these states.
        count: How many.
        shares: How many of some are in which state.
        flows: Whose they are to be, in turn.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("synchronous_commit = off", "session_replication_role = replica"):
            connection.execute(f"SET {setting}".encode())
        _fill(connection, count, shares, flows)
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _fill(
    connection: Connection, count: int, shares: Mapping[str, int], flows: Sequence[str]
) -> None:
    real = [row[0] for row in connection.execute("SELECT id FROM execution").fetchall()]
    columns = _columns(connection)
    connection.execute(
        _PLAN.encode(),
        {
            "first": time.time_ns() // 1_000 - count * APART_MICROSECONDS,
            "apart": APART_MICROSECONDS,
            "count": count,
            "flows": list(flows),
            "statuses": [status for status, share in shares.items() for _ in range(share)],
        },
    )
    connection.execute("CREATE INDEX ON plan (number)")
    connection.execute("ANALYZE plan")
    for start in range(0, count, _AT_ONCE):
        with connection.transaction():
            for text in _copies(columns):
                connection.execute(text.encode(), (start, start + _AT_ONCE))
    # What is copied goes, so that the store has as many as it says.
    for table in columns:
        key = "id" if table == "execution" else "execution_id"
        connection.execute(f"DELETE FROM {table} WHERE {key} = ANY(%s)".encode(), (real,))


def _columns(connection: Connection) -> dict[str, list[str]]:
    """Return the columns of the table of executions, then of those whose rows belong to one."""
    found: dict[str, list[str]] = {"execution": []}
    for table, column in connection.execute(_COLUMNS.encode()).fetchall():
        found.setdefault(table, []).append(column)
    return {
        table: columns
        for table, columns in found.items()
        if table == "execution" or "execution_id" in columns
    }


def _copies(columns: dict[str, list[str]]) -> Iterator[str]:
    """Yield a statement for each table that copies the rows of a range of the plan."""
    for table, names in columns.items():
        key = "id" if table == "execution" else "execution_id"
        changed = {
            key: "plan.id",
            **{name: f"one.{name} + plan.later" for name in names if name.endswith("_at")},
        }
        if table == "execution":
            changed |= {
                "flow": "plan.flow",
                "code_ref": f"replace(one.code_ref, '{TEMPLATE_FLOW}', plan.flow)",
            }
        values = ", ".join(changed.get(name, f"one.{name}") for name in names)
        # Rows of one execution are numbered in the order in which they come.
        within = ", one.seq" if table in _NUMBERED else ""
        yield (
            f"INSERT INTO {table} ({', '.join(names)}) SELECT {values}"
            f" FROM plan INNER JOIN {table} AS one ON one.{key} = plan.template_id"
            f" WHERE plan.number >= %s AND plan.number < %s ORDER BY plan.number{within}"
        )
