"""LangGraph's functional API with its SQLite saver, as it ships, with `durability="sync"`."""

from __future__ import annotations

import itertools
import sqlite3
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.subjects.served import serve


def main() -> None:
    # By name, because type checkers run where it is not installed.
    functional: Any = import_module("langgraph.func")
    saver: Any = import_module("langgraph.checkpoint.sqlite").SqliteSaver
    connection = sqlite3.connect(Path(sys.argv[1]) / "langgraph.db", check_same_thread=False)
    threads = itertools.count()

    @functional.task
    def step(i: int) -> int:
        return i + 1

    @functional.entrypoint(checkpointer=saver(connection))
    def sequence(count: int) -> float:
        i = 0
        began = time.perf_counter()
        for _ in range(count):
            i = step(i).result()
        return time.perf_counter() - began

    @functional.entrypoint(checkpointer=saver(connection))
    def one_step(i: int) -> int:
        return step(i).result()

    def invoke(entrypoint: Any, argument: int) -> Any:
        config = {"configurable": {"thread_id": str(next(threads))}}
        return entrypoint.invoke(argument, config, durability="sync")

    def executions(count: int) -> float:
        began = time.perf_counter()
        for i in range(count):
            invoke(one_step, i)
        return (time.perf_counter() - began) / count

    serve({"sequence": lambda count: invoke(sequence, count) / count, "executions": executions})


if __name__ == "__main__":
    main()
