"""Kitaru as it ships, on its embedded store."""

from __future__ import annotations

import queue
import sys
import tempfile
import time

import kitaru
from benchmarks import flows
from benchmarks.stored import fill
from benchmarks.subjects.served import Operation, serve

WIDTH = 16


def operations(directory: str) -> dict[str, Operation]:
    grown: dict[int, kitaru.FlowHandle[None]] = {}

    def first(count: int) -> float:
        kitaru.configure(config_dir=tempfile.mkdtemp(dir=directory))
        try:
            return flows.sequence.run(count).wait() / count
        finally:
            kitaru.configure(config_dir=directory)

    def executions(count: int) -> float:
        began = time.perf_counter()
        for i in range(count):
            flows.one_step.run(i).wait()
        return (time.perf_counter() - began) / count

    def grow(calls: int) -> float:
        flows.orders[calls] = queue.SimpleQueue()
        grown[calls] = flows.grown.run(calls)
        return flows.answers.get()

    def more(calls: int, count: int) -> float:
        flows.orders[calls].put(count)
        return flows.answers.get() / count

    def end(calls: int) -> float:
        flows.orders[calls].put(0)
        grown.pop(calls).wait()
        return 0.0

    def more_for(calls: int) -> Operation:
        return lambda count: more(calls, count)

    return {
        "sequence": lambda count: flows.sequence.run(count).wait() / count,
        "first": first,
        "async_sequence": lambda count: flows.async_sequence.run(count).wait() / count,
        "executions": executions,
        "fan_out": lambda count: flows.fan_out.run(count, WIDTH).wait() / count,
        "async_fan_out": lambda count: flows.async_fan_out.run(count, WIDTH).wait() / count,
        "fill": fill,
        "grow": grow,
        **{f"after_{calls}": more_for(calls) for calls in (0, 10, 100, 1_000, 10_000)},
        "end": end,
    }


def main() -> None:
    directory = sys.argv[1]
    kitaru.configure(config_dir=directory)
    serve(operations(directory))


if __name__ == "__main__":
    main()
