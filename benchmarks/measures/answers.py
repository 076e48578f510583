"""P8: from an answer given in one process to the next line of the flow in another.

The flow's process either still holds the flow's stack, or has let it go and runs the flow anew. What is
measured begins before the answer is written and so contains its commit.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import KITARU, ROOT, Bench, Figure, Row, clean_environment
from kitaru.model import ExecutionStatus, Resolution, WaitStatus
from kitaru.settings_rules import sqlite_url
from kitaru.store import open_store
from kitaru.store.contract import Store

_LET_GO_SECONDS = 0.5  # by then a process that does not stay has let the flow's stack go


def measure(bench: Bench) -> list[Row]:
    count = bench.size.rounds
    return [
        Row(
            number="P8",
            work="an answer from another process, to the next line of a flow that stands and waits",
            at_most=0.1,
            figures={KITARU: Figure(_answer(bench, patience=60, count=count, let_go=0.0))},
        ),
        Row(
            number="P8",
            work="the same, of a flow that has left its process and runs anew there",
            at_most=1.0,
            figures={
                KITARU: Figure(_answer(bench, patience=0, count=count, let_go=_LET_GO_SECONDS))
            },
        ),
    ]


def _answer(bench: Bench, *, patience: float, count: int, let_go: float) -> list[float]:
    directory = bench.new_directory()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.answering", str(directory), str(patience), str(count)],
        cwd=ROOT,
        env=clean_environment(),
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
            store = store or open_store(sqlite_url(Path(directory) / "kitaru.db"))
            _until_waiting(store, exec_id)
            time.sleep(let_go)
            began = time.monotonic()
            [wait] = store.list_waits(exec_id)
            answer = Resolution(
                status=WaitStatus.ANSWERED, answer="null", by="benchmark", via="benchmark"
            )
            store.resolve_wait(exec_id, wait.position, answer, now=time.time_ns() // 1_000)
            found.append(float(process.stdout.readline()) - began)
        if store is not None:
            store.close()
    return found


def _until_waiting(store: Store, exec_id: str) -> None:
    while store.get_execution(exec_id).status is not ExecutionStatus.WAITING:
        time.sleep(0.001)
