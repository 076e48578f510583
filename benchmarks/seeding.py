"""Stores with up to a million executions: rows of real ones, copied past the engine with new ids and moments.

Nothing is flushed while a store is filled, since it is thrown away if that is interrupted. Rows come in the
order of time, as they do in a store that is in use, so its indexes lie on the disk as they would there.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measuring import ROOT, Bench, clean_environment

FLOWS = tuple(f"ticket_agent_{number:02}" for number in range(20))
PROJECT = "default"
TEMPLATE_FLOW = "ticket_agent"
# Of a hundred executions; nearly all that a store keeps is over.
SHARES = {"completed": 92, "failed": 6, "cancelled": 1, "waiting": 1}
APART_MICROSECONDS = 2_500_000  # a million of them in a month
_AT_ONCE = 5_000  # executions, in memory

Row = tuple[Any, ...]


def store_of(bench: Bench, count: int) -> Path:
    """Return the directory of a store with so many executions, the same one throughout the run."""
    directory = bench.keep / f"stored-{count}"
    if not directory.exists():
        unfinished = bench.keep / f"unfinished-{count}"
        shutil.rmtree(unfinished, ignore_errors=True)
        seed(unfinished, count)
        unfinished.rename(directory)
    return directory


def seed(directory: Path, count: int) -> None:
    """Make a store of `count` executions of three calls each in an empty directory."""
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.tickets", str(directory)],
        cwd=ROOT,
        env=clean_environment(),
        stderr=subprocess.PIPE,
        check=True,
    )
    connection = sqlite3.connect(directory / "kitaru.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA cache_size = -1000000")
        _fill(connection, count)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    file = os.open(directory / "kitaru.db", os.O_RDONLY)
    os.fsync(file)
    os.close(file)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table, and where in its rows that is what copies differ in."""

    name: str
    columns: tuple[str, ...]
    order: str

    @property
    def insert(self) -> str:
        marks = ", ".join("?" * len(self.columns))
        return f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({marks})"

    @property
    def select(self) -> str:
        key = "id" if self.name == "execution" else "execution_id"
        return f"SELECT {', '.join(self.columns)} FROM {self.name} WHERE {key} = ? ORDER BY {self.order}"

    def copies(self, row: Row) -> _Copies:
        key = self.columns.index("id" if self.name == "execution" else "execution_id")
        moments = [
            place
            for place, name in enumerate(self.columns)
            if name.endswith("_at") and row[place] is not None
        ]
        return _Copies(self, list(row), key, moments)


@dataclass(frozen=True, slots=True)
class _Copies:
    """A row to be copied."""

    table: _Table
    row: list[Any]
    key: int
    moments: Sequence[int]

    def new(self, exec_id: str, later: int) -> list[Any]:
        row = self.row.copy()
        row[self.key] = exec_id
        for place in self.moments:
            row[place] += later
        return row


def _fill(connection: sqlite3.Connection, count: int) -> None:
    tables = list(_tables(connection))
    templates = _templates(connection, tables)
    # What is copied goes, so that the store has as many as it says.
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("DELETE FROM execution")
    execution = tables[0]
    flow, code_ref, created_at = map(execution.columns.index, ("flow", "code_ref", "created_at"))
    first = time.time_ns() // 1_000 - count * APART_MICROSECONDS
    chance = random.Random(count)
    drawn = [status for status, share in SHARES.items() for _ in range(share)]
    for start in range(0, count, _AT_ONCE):
        rows: dict[_Table, list[list[Any]]] = {table: [] for table in tables}
        for number in range(start, min(count, start + _AT_ONCE)):
            template = templates[chance.choice(drawn)]
            moment = first + number * APART_MICROSECONDS
            exec_id = _id_of(moment, chance)
            later = moment - template[0].row[created_at]
            for copies in template:
                rows[copies.table].append(copies.new(exec_id, later))
            own, name = rows[execution][-1], chance.choice(FLOWS)
            own[code_ref] = own[code_ref].replace(TEMPLATE_FLOW, name)
            own[flow] = name
        connection.execute("BEGIN")
        for table, found in rows.items():
            connection.executemany(table.insert, found)
        connection.execute("COMMIT")


def _tables(connection: sqlite3.Connection) -> Iterator[_Table]:
    """Yield the table of executions, then all that belong to one, without what numbers their rows."""
    yield _Table("execution", _columns(connection, "execution"), "created_at")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        columns = _columns(connection, name)
        if "execution_id" in columns:
            others = tuple(column for column in columns if column != "seq")
            yield _Table(name, others, "seq" if others != columns else "position")


def _columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    return tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


def _templates(connection: sqlite3.Connection, tables: list[_Table]) -> dict[str, list[_Copies]]:
    found: dict[str, list[_Copies]] = {}
    for exec_id, status in connection.execute("SELECT id, status FROM execution").fetchall():
        found[status] = [
            table.copies(row)
            for table in tables
            for row in connection.execute(table.select, (exec_id,)).fetchall()
        ]
    if found.keys() != SHARES.keys():
        raise RuntimeError(f"expected an execution of each of {list(SHARES)}, got {list(found)}")
    return found


def _id_of(moment: int, chance: random.Random) -> str:
    """Return the UUID of version 7 that an execution of this moment would have."""
    high = (moment // 1_000 << 16) | 0x7000 | chance.getrandbits(12)
    return str(uuid.UUID(int=(high << 64) | (0b10 << 62) | chance.getrandbits(62)))
