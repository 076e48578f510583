"""How soon an answer is taken up, by whoever stands and waits for it or has left; on every kind of store.

The flow's process either still holds the flow's stack, or has let it go and runs the flow anew. What is
measured begins before the answer is written and so contains its commit.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import KITARU, ROOT, Bench, Figure, Row, clean_environment
from benchmarks.server import server_on
from kitaru.model import ExecutionStatus, Resolution, WaitStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store
from kitaru.store.contract import Store

_LET_GO_SECONDS = 0.5  # by then a process that does not stay has let the flow's stack go


def measure(bench: Bench) -> list[Row]:
    directory = bench.new_directory()
    return _rows(bench, directory, sqlite_url(directory / "kitaru.db"), "")


def measure_on_postgres(bench: Bench) -> list[Row]:
    return _rows(bench, bench.new_directory(), bench.postgres.migrated(), ", on Postgres")


def measure_through_server(bench: Bench) -> list[Row]:
    directory = bench.new_directory()
    with server_on(bench.postgres.migrated(), directory) as server:
        return _rows(bench, bench.new_directory(), server.url, ", through a server on Postgres")


def _rows(bench: Bench, directory: Path, store_url: str, where: str) -> list[Row]:
    count = bench.size.rounds
    standing = _answer(directory, store_url, patience=60, count=count, let_go=0.0)
    left = _answer(directory, store_url, patience=0, count=count, let_go=_LET_GO_SECONDS)
    return [
        Row(
            number="P8",
            work=f"an answer from another process, to the next line of a flow that stands and waits{where}",
            at_most=0.1,
            figures={KITARU: Figure(standing)},
        ),
        Row(
            number="P8",
            work=f"the same, of a flow that has left its process and runs anew there{where}",
            at_most=1.0,
            figures={KITARU: Figure(left)},
        ),
    ]


def _answer(
    directory: Path, store_url: str, *, patience: float, count: int, let_go: float
) -> list[float]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answering", str(directory), str(patience), str(count)],
        cwd=ROOT,
        env=clean_environment(KITARU_STORE_URL=store_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    found: list[float] = []
    with process:
        store: Store | None = None
        for _ in range(count):
            exec_id = process.stdout.readline().strip()
            store = store or open_store(store_url)
            _until_waiting(store, exec_id)
            time.sleep(let_go)
            began = time.monotonic()
            [wait] = store.list_waits(exec_id)
            answer = Resolution(
                status=WaitStatus.ANSWERED, answer="null", by="benchmark", via="benchmark"
            )
            store.resolve_wait(exec_id, wait.position, answer, now=store.clock.now())
            found.append(float(process.stdout.readline()) - began)
        if store is not None:
            store.close()
    return found


def _until_waiting(store: Store, exec_id: str) -> None:
    while store.get_execution(exec_id).status is not ExecutionStatus.WAITING:
        time.sleep(0.001)
