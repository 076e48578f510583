"""Kitaru as it ships: on its embedded store, on Postgres, or behind a server."""

from __future__ import annotations

import queue
import sys
import tempfile
import time

import kitaru
from benchmarks import flows
from benchmarks.claiming import claims
from benchmarks.crowd import WIDTH, in_threads
from benchmarks.subjects.served import Operation, serve


def in_new_store(directory: str, operation: Operation) -> Operation:
    def do(count: int) -> float:
        kitaru.configure(config_dir=tempfile.mkdtemp(dir=directory))
        try:
            flows.one_step.run(0).wait()  # the store is open then
            return operation(count)
        finally:
            kitaru.configure(config_dir=directory)

    return do


def sequences(count: int) -> float:
    """Make `count` calls in each of `WIDTH` executions at once; return the seconds for each call."""
    began = time.perf_counter()
    handles = [flows.sequence.run(count) for _ in range(WIDTH)]
    for handle in handles:
        handle.wait()
    return (time.perf_counter() - began) / (count * WIDTH)


def crowd(count: int) -> float:
    return in_threads(lambda number: flows.some_steps.run(number).wait(), count)


def operations(directory: str) -> dict[str, Operation]:
    grown: dict[int, kitaru.FlowHandle[None]] = {}

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

    def sequence(count: int) -> float:
        return flows.sequence.run(count).wait() / count

    def fan_out(count: int) -> float:
        return flows.fan_out.run(count, WIDTH).wait() / count

    return {
        "sequence": sequence,
        "first_sequence": in_new_store(directory, sequence),
        "first_executions": in_new_store(directory, executions),
        "first_fan_out": in_new_store(directory, fan_out),
        "async_sequence": lambda count: flows.async_sequence.run(count).wait() / count,
        "executions": executions,
        "sequences": sequences,
        "crowd": crowd,
        "fan_out": fan_out,
        "async_fan_out": lambda count: flows.async_fan_out.run(count, WIDTH).wait() / count,
        "claims": claims,
        "grow": grow,
        **{f"after_{calls}": more_for(calls) for calls in (0, 10, 100, 1_000, 10_000)},
        "end": end,
    }


def main() -> None:
    directory, *url = sys.argv[1:]
    kitaru.configure(config_dir=directory, store_url=url[0] if url else None)
    serve(operations(directory))


if __name__ == "__main__":
    main()
