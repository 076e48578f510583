"""P11 through a server on Postgres: what very many executions that wait cost the server and a worker.

A few are made as users make them, by flows that ask through the server. The others are copies of one of them,
made by the database: what is measured is what it costs that they are there, not to make them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg

from benchmarks.attending import attending
from benchmarks.measures.waiting import (
    ANSWERS,
    MOST_BYTES,
    answered_here,
    at_rest,
    maker_of,
    pages_of,
    some_waits,
    told_by,
)
from benchmarks.measuring import KITARU, Bench, Figure, Row, Unit
from benchmarks.resting import holdings
from benchmarks.seeding_postgres import multiply
from benchmarks.server import server_on
from kitaru.store import open_store
from kitaru.store.contract import Store

_MADE = 200  # through the server, at most


def measure(bench: Bench) -> list[Row]:
    database = bench.postgres.migrated()
    directory = bench.new_directory()
    lines = directory / "lines"
    lines.touch()
    with ExitStack() as stack:
        server = stack.enter_context(server_on(database, bench.new_directory()))
        each = _make_some(directory, min(_MADE, bench.size.waiting), lines, server.url)
        _keep_one(database)
        multiply(database, bench.size.waiting, {"waiting": 1}, ["waiting"])
        store = open_store(server.url)
        stack.callback(store.close)
        beside = f"beside {bench.size.waiting:,} executions that wait"
        rows = [
            Row(
                work="each of some executions that ask and wait, `.run()` in a process, through a server",
                figures={KITARU: Figure(each)},
            ),
            *pages_of(bench, store, ", through a server"),
            *at_rest(server.pid, bench, f"`kitaru serve` {beside}", most_bytes=MOST_BYTES),
            *_held(server.pid, database),
        ]
        rows += _through_worker(bench, directory, store, lines, beside)
    return rows


def _make_some(directory: Path, count: int, lines: Path, store_url: str) -> list[float]:
    """Return the seconds that each took, by tenths of the way."""
    with maker_of(directory, count, lines, store_url=store_url) as maker:
        told = told_by(maker)
    return [
        (after.at - before.at) / (after.waiting - before.waiting)
        for before, after in itertools.pairwise(told)
    ]


def _keep_one(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "DELETE FROM execution WHERE id <> (SELECT min(id) FROM execution WHERE status = 'waiting')"
        )


def _held(pid: int, database: str) -> Iterator[Row]:
    """Yield what the server keeps open meanwhile."""
    held = holdings(pid)
    with psycopg.connect(database, autocommit=True) as connection:
        text = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        [(connections,)] = connection.execute(text).fetchall()
    for name, count in (
        ("its threads", held.threads),
        ("its files and sockets", held.files),
        ("its connections to Postgres", connections),
    ):
        yield Row(work=name, unit=Unit.COUNT, figures={KITARU: Figure([count])})


def _through_worker(
    bench: Bench, directory: Path, store: Store, lines: Path, beside: str
) -> Iterator[Row]:
    command = ("worker", "benchmarks.asking")
    with attending(directory, *command, store_url=store.url) as process:
        yield from at_rest(process.pid, bench, f"a worker through a server {beside}")
        answers = [
            answered_here(store, wait, lines)
            for wait in some_waits(store, min(ANSWERS, bench.size.rounds))
        ]
    yield Row(
        number="P8",
        work="an answer, to the next line through a worker, both through a server",
        at_most=1.0,
        figures={KITARU: Figure(answers)},
    )
