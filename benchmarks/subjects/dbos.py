"""DBOS Transact as it ships, on a SQLite or a Postgres system database."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.crowd import CHECKPOINTS, in_threads
from benchmarks.subjects.served import serve


def main() -> None:
    # By name, because type checkers run where it is not installed.
    dbos: Any = import_module("dbos").DBOS
    directory, *given = sys.argv[1:]
    url = given[0] if given else f"sqlite:///{Path(directory) / 'dbos.db'}"
    config = {"name": "benchmark", "system_database_url": url, "log_level": "ERROR"}
    dbos(config=config)

    @dbos.step()
    def step(i: int) -> int:
        return i + 1

    @dbos.workflow()
    def sequence(count: int) -> float:
        i = 0
        began = time.perf_counter()
        for _ in range(count):
            i = step(i)
        return time.perf_counter() - began

    @dbos.workflow()
    def one_step(i: int) -> int:
        return step(i)

    @dbos.workflow()
    def some_steps(i: int) -> int:
        for _ in range(CHECKPOINTS):
            i = step(i)
        return i

    def executions(count: int) -> float:
        began = time.perf_counter()
        for i in range(count):
            one_step(i)
        return (time.perf_counter() - began) / count

    dbos.launch()
    serve(
        {
            "sequence": lambda count: sequence(count) / count,
            "executions": executions,
            "crowd": lambda count: in_threads(some_steps, count),
        }
    )
    dbos.destroy()


if __name__ == "__main__":
    main()
